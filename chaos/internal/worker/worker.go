package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/world"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/sqlitestore"
)

// An Open opens a store of somebody else's. path is what the harness was given for it.
type Open func(ctx context.Context, path string) (ledger.Store, error)

// A Code stands between the guard and the downstream, as a team's own tool does. act makes
// the request, and may be called again with the same token.
type Code func(ctx context.Context, key string, act func(context.Context) (json.RawMessage, error)) (json.RawMessage, error)

// A Registry holds what the binary brings along.
type Registry struct {
	Stores map[string]Open
	Tools  map[string]Code
}

// Workflow is that of all calls.
const Workflow = "chaos"

// stopGrace is how long a worker that was told to stop waits for its last calls.
const stopGrace = 60 * time.Second

// A worker is the state of the process.
type worker struct {
	job   Job
	reg   Registry
	guard *ledger.Guard
	store ledger.Store // what guard has: recorded
	world *world.Client
	// person asks the downstream by the fence of the attempt in doubt, which is somebody else's.
	person *world.Client
	h      *history
	halts  *halts

	outMu sync.Mutex
	out   io.Writer

	calls    atomic.Uint64
	progress []atomic.Uint64
}

// Serve is the role: it does the job until it is told to stop, or the orders end. What it
// says goes to out, a JSON line each.
func Serve(ctx context.Context, spec string, reg Registry, in io.Reader, out io.Writer) error {
	w := &worker{reg: reg, out: out}
	if err := json.Unmarshal([]byte(spec), &w.job); err != nil {
		return fmt.Errorf("the job: %w", err)
	}
	err := w.serve(ctx, in)
	if err != nil {
		w.say(Note{Fatal: err.Error()})
	}
	return err
}

func (w *worker) serve(ctx context.Context, in io.Reader) error {
	lines, err := trace.Create(filepath.Join(w.job.Dir, trace.HistoryFile(w.job.Process)), false)
	if err != nil {
		return err
	}
	defer lines.Close()
	w.h = &history{w: lines, fail: func(err error) {
		fmt.Fprintln(os.Stderr, "the history can not be written:", err)
		os.Exit(3)
	}}
	w.halts = newHalts(w.job.Halts, w.say)
	if err := w.arm(); err != nil {
		return err
	}
	w.world = &world.Client{URL: w.job.World, Worker: w.job.Process}
	defer w.world.Close()
	w.person = &world.Client{URL: w.job.World, Worker: trace.Person}
	defer w.person.Close()
	store, err := w.open(ctx)
	if err != nil {
		return err
	}
	if c, ok := store.(io.Closer); ok {
		defer c.Close()
	}
	w.store = record(store, w.h, w.halts)
	w.guard, err = ledger.New(w.store, w.options())
	if err != nil {
		return err
	}
	w.say(Note{Ready: true})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	stop := make(chan struct{})
	if w.job.Load != nil {
		w.progress = make([]atomic.Uint64, w.job.Load.Callers)
		running.Go(func() { w.load(ctx, stop) })
		running.Go(func() { w.report(stop) })
	}
	err = w.obey(ctx, in, &running)
	close(stop)
	w.halts.releaseAll()
	defer w.halts.sending.Wait() // before the store is closed
	grace := time.AfterFunc(stopGrace, cancel)
	defer grace.Stop()
	running.Wait()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer done()
	return errors.Join(err, w.guard.Close(closing))
}

// arm switches on what lives under the build tag failpoint.
func (w *worker) arm() error {
	if w.job.Mutant == "" {
		return w.armPoints()
	}
	if !failpoint.On {
		return errors.New("this binary holds no mutants; build it with: go build -tags failpoint")
	}
	return errors.Join(w.armPoints(), failpoint.Enable(w.job.Mutant))
}

// obey carries out orders until there are no more, or one says stop.
func (w *worker) obey(ctx context.Context, in io.Reader, running *sync.WaitGroup) error {
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var o Order
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("an order: %w", err)
		}
		switch {
		case o.Stop:
			return nil
		case o.Halt != nil:
			w.halts.arm(*o.Halt)
		case o.Go != "":
			w.halts.release(o.Go)
		case o.Clock != 0:
			failpoint.SetClockOffset(o.Clock)
		case o.Do != nil:
			running.Go(func() {
				end := w.do(ctx, *o.Do)
				w.say(Note{Op: o.Op, Outcome: end.Outcome, Value: end.Value, Err: end.Err})
			})
		}
	}
}

func (w *worker) say(n Note) {
	line, err := json.Marshal(n)
	if err != nil {
		return // unreachable unless program bug: a Note is plain
	}
	w.outMu.Lock()
	defer w.outMu.Unlock()
	_, _ = w.out.Write(append(line, '\n')) // the harness is gone: then so are we
}

// open opens the store of the job.
func (w *worker) open(ctx context.Context) (ledger.Store, error) {
	switch w.job.Store {
	case "etcd":
		return etcdstore.Open(ctx, w.job.Endpoints, &etcdstore.Options{
			Prefix: w.job.Prefix, TTL: w.job.TTL, DialOptions: intercept(w.halts, w.job.Prefix),
			DialTimeout: 20 * time.Second, RequestTimeout: 2 * time.Second,
		})
	case "sqlite":
		return sqlitestore.Open(ctx, w.job.Path, nil)
	}
	open, ok := w.reg.Stores[w.job.Store]
	if !ok {
		return nil, fmt.Errorf("this binary has no store %q", w.job.Store)
	}
	return open(ctx, w.job.Path)
}

func (w *worker) options() *ledger.Options {
	o := &ledger.Options{
		Workflow: Workflow, Caller: w.job.Process, Policies: map[string]ledger.Policy{},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), StoreTimeout: 5 * time.Second,
	}
	for _, t := range w.job.Tools {
		o.Policies[t.Name] = w.policy(t)
	}
	return o
}

func (w *worker) policy(t trace.Tool) ledger.Policy {
	p := ledger.Policy{Replay: t.Replay, Wait: t.Wait, Max: t.Max, Timeout: t.Timeout}
	switch t.InDoubt {
	case "block":
		p.InDoubt = ledger.DoubtBlock
	case "reconcile":
		p.InDoubt = ledger.DoubtReconcile
		p.Reconcile = func(ctx context.Context, r ledger.Record) (ledger.Verdict, error) { return w.query(ctx, t, r) }
	}
	return p
}
