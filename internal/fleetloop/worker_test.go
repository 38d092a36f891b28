//go:build linux

package fleetloop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// A job is what a worker process is told, as JSON in its environment.
type job struct {
	Endpoints []string
	Prefix    string
	TTL       time.Duration
	Journal   string // a file to which each effect is appended, with one write
}

const jobEnv = "LEDGER_FLEETLOOP_JOB"

// A request is one line to a worker.
type request struct {
	Op   int
	Call *ask   // make a call; it is answered by events with the same Op
	Go   string // let the tool of the call with that key, which is held, go on
}

// An ask is a guarded call.
type ask struct {
	Tool, Key string
	// Held says how the tool goes on once it has done its effect: at once (""),
	// when it is told to ("told"), or when its context is cancelled ("cancelled").
	Held string
	Fail bool // the tool returns an error
}

// An event is one line from a worker.
type event struct {
	Op       int
	Started  bool // the tool has done its effect; else the call is over
	Effect   effect
	Value    string
	Replayed bool
	Err      string
	Is       []string // the names of the sentinels that the error matches
	Cause    string   // with which the tool's context was cancelled
}

func (e *event) is(name string) bool { return slices.Contains(e.Is, name) }

// An effect is one line of the journal.
type effect struct {
	Tool, Key, Token string
	Fence            ledger.Version
	Attempt          int
	PID              int
}

// value is what the tool returns for the effect.
func (e *effect) value() string { return fmt.Sprintf("%s by fence %d", e.Key, e.Fence) }

var sentinels = map[string]error{
	"blocked": ledger.ErrBlocked, "duplicate": ledger.ErrDuplicate, "in progress": ledger.ErrInProgress, "in doubt": ledger.ErrInDoubt,
	"failed": ledger.ErrFailed, "unavailable": ledger.ErrUnavailable, "unrecorded": ledger.ErrUnrecorded, "fenced": ledger.ErrFenced,
	"lease lost": ledger.ErrLeaseLost, "omitted": ledger.ErrResultOmitted, "invalid": ledger.ErrInvalid, "closed": ledger.ErrClosed,
	"not written": ledger.ErrNotWritten,
}

func namesOf(err error) (names []string) {
	for name, s := range sentinels {
		if errors.Is(err, s) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func options() *ledger.Options {
	return &ledger.Options{
		Policies: map[string]ledger.Policy{
			"plain":  {},
			"replay": {Replay: true},
			"wait":   {Replay: true, Wait: 5 * time.Minute},
			"block":  {Replay: true, InDoubt: ledger.DoubtBlock},
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// A worker is the state of a worker process.
type worker struct {
	guard   *ledger.Guard
	journal *os.File

	mu   sync.Mutex
	held map[string]chan struct{} // by key
}

// work obeys the lines on standard input until they end.
func work(ctx context.Context, j job) error {
	store, err := etcdstore.Open(ctx, j.Endpoints, &etcdstore.Options{Prefix: j.Prefix, TTL: j.TTL})
	if err != nil {
		return err
	}
	defer store.Close()
	journal, err := os.OpenFile(j.Journal, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer journal.Close()
	w := &worker{journal: journal, held: map[string]chan struct{}{}}
	if w.guard, err = ledger.New(store, options()); err != nil {
		return err
	}
	var calls sync.WaitGroup
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if r.Call == nil {
			close(w.gate(r.Go))
			continue
		}
		calls.Go(func() { say(w.call(ctx, r.Op, *r.Call)) })
	}
	calls.Wait()
	return w.guard.Close(ctx)
}

func (w *worker) gate(key string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[key] == nil {
		w.held[key] = make(chan struct{})
	}
	return w.held[key]
}

func (w *worker) call(ctx context.Context, op int, a ask) event {
	over := event{Op: op}
	res, err := ledger.Do(ctx, w.guard, ledger.Call{Tool: a.Tool, Key: a.Key}, func(ctx context.Context) (string, error) {
		claim, _ := ledger.ClaimFrom(ctx)
		e := effect{a.Tool, a.Key, claim.Token, claim.Fence, claim.Attempt, os.Getpid()}
		line, err := json.Marshal(e)
		if err != nil {
			return "", err
		}
		if _, err := w.journal.Write(append(line, '\n')); err != nil {
			return "", err
		}
		if a.Held != "" {
			say(event{Op: op, Started: true, Effect: e})
		}
		switch a.Held {
		case "told":
			<-w.gate(a.Key)
		case "cancelled":
			<-ctx.Done()
		}
		if cause := context.Cause(ctx); cause != nil {
			over.Cause = cause.Error()
		}
		over.Effect = e
		if a.Fail {
			return "", errors.New("the downstream said no")
		}
		return e.value(), nil
	})
	over.Value, over.Replayed = res.Value, res.Replayed
	if err != nil {
		over.Err, over.Is = err.Error(), namesOf(err)
	}
	return over
}

// say writes one line, with one write.
func say(e event) {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runWorker is where a test binary that was started again ends.
func runWorker(spec string) int {
	var j job
	if err := json.Unmarshal([]byte(spec), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	if err := work(ctx, j); err != nil {
		fmt.Fprintf(os.Stderr, "worker %d: %v\n", os.Getpid(), err)
		return 1
	}
	return 0
}
