package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore"
)

// The coordinator and its workers exchange lines of JSON: instructions on a
// worker's standard input, messages on its standard output.

// An instruction is a start, once, or a step.
type instruction struct {
	Start *start `json:"start,omitempty"`
	Step  *step  `json:"step,omitempty"`
}

type start struct {
	Name    string     `json:"name"`
	Service string     `json:"service"`
	Ledger  string     `json:"ledger,omitempty"` // URL of the store; its credentials come with the environment
	Etcd    *etcdStart `json:"etcd,omitempty"`   // or where the embedded server is. With neither the tools are called as they are
	Bypass  bool       `json:"bypass,omitempty"` // see Options.BreakGuard
}

// An etcdStart names the demo's own server, to which nothing in the environment applies.
type etcdStart struct {
	Endpoints []string      `json:"endpoints"`
	TTL       time.Duration `json:"ttl"`
}

// A message has one field set.
type message struct {
	Ready  bool    `json:"ready,omitempty"`
	Event  *event  `json:"event,omitempty"`
	Answer *answer `json:"answer,omitempty"`
}

// An event is worth a line of progress; it counts for nothing.
type event struct {
	Kind     string `json:"kind"`
	Tool     string `json:"tool"`
	Workflow string `json:"workflow,omitempty"`
	Call     int    `json:"call,omitempty"`
	Happened bool   `json:"happened,omitempty"`

	Fingerprint string `json:"fingerprint,omitempty"` // of a takeover
}

const (
	eventTakeover = "takeover" // the call of a dead worker was claimed
	eventRefused  = "refused"  // 503: certainly not done
	eventTimeout  = "timeout"  // 504: nobody knows whether the effect happened
	eventDeduped  = "deduped"  // the service answered from memory, by idempotency key
	eventAsked    = "asked"    // the service said whether a mail was sent
)

// An answer acknowledges a step: one outcome a call.
type answer struct {
	Step     int       `json:"step"`
	Outcomes []outcome `json:"outcomes"`
}

// An outcome is how a call looked to the agent.
type outcome string

const (
	outcomeRan      outcome = "ran"      // the tool was started and returned a result
	outcomeReplayed outcome = "replayed" // answered with a recorded result
	outcomeBlocked  outcome = "blocked"
	outcomeFailed   outcome = "failed" // the agent got an error
)

// closeWithin bounds the end of a worker.
const closeWithin = 20 * time.Second

// Work is the role of a worker process: it calls tools as it is told until in
// ends. It ends early when ctx does, and returns an error if it could not start
// or could not record what it did.
func Work(ctx context.Context, in io.Reader, out, logs io.Writer) (err error) {
	dec := json.NewDecoder(in)
	var first instruction
	if err := dec.Decode(&first); err != nil {
		return fmt.Errorf("demo worker: read the start instruction: %w", err)
	}
	if first.Start == nil {
		return errors.New("demo worker: the first instruction is not a start; this command is for the demo's own use")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worksite{start: *first.Start, out: json.NewEncoder(out)}
	w.client = newClient(w.Service, w.Name, w.tell)
	defer w.client.close()
	if w.Ledger != "" || w.Etcd != nil {
		if err := w.open(ctx, logs); err != nil {
			return fmt.Errorf("demo worker: %w", err)
		}
		defer func() { err = errors.Join(err, w.close()) }()
	}

	steps := make(chan step)
	go func() {
		defer close(steps)
		defer cancel() // the coordinator is done, or dead: so are we
		for {
			var i instruction
			if dec.Decode(&i) != nil || i.Step == nil {
				return
			}
			select {
			case steps <- *i.Step:
			case <-ctx.Done():
				return
			}
		}
	}()
	w.send(message{Ready: true})
	for s := range steps {
		w.send(message{Answer: &answer{Step: s.Index, Outcomes: w.do(ctx, s)}})
	}
	return nil
}

// A worksite is what a worker works with.
type worksite struct {
	start
	client *client
	store  ledger.Store
	guard  *ledger.Guard // nil without Ledger

	mu  sync.Mutex
	out *json.Encoder
}

func (w *worksite) open(ctx context.Context, logs io.Writer) (err error) {
	logger := slog.New(slog.NewTextHandler(logs, nil))
	if w.Etcd != nil {
		w.store, err = etcdstore.Open(ctx, w.Etcd.Endpoints, &etcdstore.Options{TTL: w.Etcd.TTL, Logger: logger})
	} else {
		w.store, err = connect.Open(ctx, w.Ledger)
	}
	if err != nil {
		return err
	}
	w.guard, err = ledger.New(w.store, &ledger.Options{
		Caller:   w.Name,
		Policies: w.client.policies(),
		Logger:   logger,
		OnTakeover: func(r ledger.Record) {
			w.tell(event{Kind: eventTakeover, Tool: r.ID.Tool, Workflow: r.ID.Workflow, Fingerprint: r.ID.Fingerprint})
		},
	})
	return err
}

func (w *worksite) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	err := w.guard.Close(ctx)
	if c, ok := w.store.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// do makes the calls of one step, together, as agents do.
func (w *worksite) do(ctx context.Context, s step) []outcome {
	tools := w.client.tools()
	if w.guard != nil && !w.Bypass {
		tools = w.guard.Workflow(s.Workflow).WrapTools(tools, &ledger.WrapOptions{BlockedReturn: blockedReturn})
	}
	outcomes := make([]outcome, len(s.Calls))
	var wg sync.WaitGroup
	for i, c := range s.Calls {
		wg.Go(func() {
			d := &delivery{call: c}
			result, err := tools[c.Tool].Call(context.WithValue(ctx, deliveryKey{}, d), json.RawMessage(c.Arguments))
			switch {
			case err != nil:
				outcomes[i] = outcomeFailed
			case d.ran.Load():
				outcomes[i] = outcomeRan
			case bytes.Equal(result, blockedReturn):
				outcomes[i] = outcomeBlocked
			default:
				outcomes[i] = outcomeReplayed
			}
		})
	}
	wg.Wait()
	return outcomes
}

func (w *worksite) tell(e event) { w.send(message{Event: &e}) }

// send can only fail if the coordinator is gone, which ends the input too.
func (w *worksite) send(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(m)
}
