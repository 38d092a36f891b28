package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/proxy"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// startWithin bounds the start of a worker, which waits for a cluster that may just elect a leader.
const startWithin = 60 * time.Second

// delay is what fault delay adds to each message.
const delay = 150 * time.Millisecond

// A Worker is one worker process.
type Worker struct {
	site *Site
	Name string
	job  worker.Job
	p    *proc.Proc

	proxies []*proxy.Proxy // one for each member
	ready   chan struct{}
	calls   atomic.Uint64

	// busy is held while the process is being hit: one fault at a time.
	busy sync.Mutex
	over bool // it was killed, or has ended as it was told; with busy held

	mu       sync.Mutex
	fatal    string
	progress []uint64
	next     int
	ends     map[int]chan worker.Note
	hits     map[point.Point]chan struct{} // of halts that were asked for
	gates    map[point.Point]chan struct{} // of halts at the world's door
	sent     map[point.Point]chan struct{} // of late requests
}

// Start starts the next process of job.Worker. The site fills in the rest of the job. It returns when
// the worker has opened its store.
func (s *Site) Start(ctx context.Context, job worker.Job) (_ *Worker, err error) {
	s.mu.Lock()
	job.Incarnation = s.next[job.Worker]
	s.next[job.Worker]++
	s.mu.Unlock()
	job.Process = trace.Process(job.Worker, job.Incarnation)
	job.Dir, job.Store, job.World = s.Dir, s.Run.Store, s.World.URL()
	if job.TTL == 0 {
		job.TTL = s.lab.o.TTL
	}
	job.Mutant = s.Run.Mutant
	w := &Worker{site: s, Name: job.Process, ready: make(chan struct{}), progress: slices.Clone(loadBase(&job)),
		ends: map[int]chan worker.Note{}, hits: map[point.Point]chan struct{}{}, gates: map[point.Point]chan struct{}{}, sent: map[point.Point]chan struct{}{}}
	switch s.Run.Store {
	case "etcd":
		job.Prefix = s.prefix()
		if job.Endpoints, err = w.connect(s.lab.cluster.Endpoints()); err != nil {
			return nil, err
		}
	case "sqlite":
		job.Path = s.path()
	}
	w.job = job
	spec, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	w.p, err = s.lab.keeper.Start(proc.Spec{
		Name: w.Name, Argv: s.lab.role(worker.Role), Env: []string{SpecVariable + "=" + string(spec)},
		Stdin: true, Stderr: filepath.Join(s.Dir, w.Name+".err"), OnLine: w.hear,
	})
	if err != nil {
		w.discard()
		return nil, err
	}
	s.mu.Lock()
	s.workers = append(s.workers, w)
	s.mu.Unlock()
	s.Fault(trace.Fault{At: trace.Now(), Kind: trace.FaultStart, Target: w.Name, PID: w.p.PID})
	timer := time.NewTimer(startWithin)
	defer timer.Stop()
	select {
	case <-w.ready:
		return w, nil
	case <-w.p.Done():
		err = fmt.Errorf("worker %s ended as it started: %s", w.Name, w.lastWords())
	case <-timer.C:
		err = fmt.Errorf("worker %s was not ready within %v: %s", w.Name, startWithin, w.lastWords())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, w.Kill(""))
}

func loadBase(job *worker.Job) []uint64 {
	if job.Load == nil {
		return nil
	}
	if job.Load.Base == nil {
		return make([]uint64, job.Load.Callers)
	}
	return job.Load.Base
}

// connect puts a proxy before each endpoint.
func (w *Worker) connect(endpoints []string) (ours []string, err error) {
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil {
			return nil, err
		}
		p, err := proxy.Listen(u.Host)
		if err != nil {
			w.discard()
			return nil, err
		}
		w.proxies = append(w.proxies, p)
		ours = append(ours, u.Scheme+"://"+p.Addr())
	}
	return ours, nil
}

// discard closes what a worker leaves behind.
func (w *Worker) discard() {
	for _, p := range w.proxies {
		_ = p.Close()
	}
}

// lastWords is the end of what the process wrote to standard error.
func (w *Worker) lastWords() string {
	w.mu.Lock()
	fatal := w.fatal
	w.mu.Unlock()
	text, _ := os.ReadFile(filepath.Join(w.site.Dir, w.Name+".err"))
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fatal + " " + string(bytes.TrimSpace(text))
}

// hear takes a line from the worker.
func (w *Worker) hear(line []byte) {
	var n worker.Note
	if err := json.Unmarshal(line, &n); err != nil {
		return // what is no note is for people, such as a panic's text
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case n.Ready:
		close(w.ready)
	case n.Fatal != "":
		w.fatal = n.Fatal
	case n.Hit != "":
		if c := w.hits[n.Hit]; c != nil {
			delete(w.hits, n.Hit)
			close(c)
		}
	case n.Sent != "":
		if c := w.sent[n.Sent]; c != nil {
			delete(w.sent, n.Sent)
			close(c)
		}
	case n.Op != 0:
		if c := w.ends[n.Op]; c != nil {
			delete(w.ends, n.Op)
			c <- n
		}
	default:
		w.calls.Store(n.Calls)
		w.progress = n.Progress
	}
}

// Calls is how many operations of the workload are over, as far as the worker has told.
func (w *Worker) Calls() uint64 { return w.calls.Load() }

// Progress is the number of each caller's next operation, as far as the worker has told.
func (w *Worker) Progress() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.progress)
}

// Gone is closed when the process has ended.
func (w *Worker) Gone() <-chan struct{} { return w.p.Done() }

func (w *Worker) order(o worker.Order) error { return w.p.Send(o) }

// Begin lets the worker make a call, and returns where its end is told.
func (w *Worker) Begin(s worker.Step) (<-chan worker.Note, error) {
	w.mu.Lock()
	w.next++
	op := w.next
	c := make(chan worker.Note, 1)
	w.ends[op] = c
	w.mu.Unlock()
	return c, w.order(worker.Order{Op: op, Do: &s})
}

// Do makes a call and waits for its end.
func (w *Worker) Do(ctx context.Context, s worker.Step) (worker.Note, error) {
	c, err := w.Begin(s)
	if err != nil {
		return worker.Note{}, err
	}
	return w.Wait(ctx, c)
}

// Wait waits for the end of what Begin began.
func (w *Worker) Wait(ctx context.Context, c <-chan worker.Note) (worker.Note, error) {
	select {
	case n := <-c:
		return n, nil
	case <-w.p.Done():
		select {
		case n := <-c: // its last words
			return n, nil
		default:
			return worker.Note{}, fmt.Errorf("worker %s is gone: %s", w.Name, w.lastWords())
		}
	case <-ctx.Done():
		return worker.Note{}, fmt.Errorf("worker %s does not answer: %w", w.Name, context.Cause(ctx))
	}
}

// Halt has the next call that reaches the point halt there, of that call alone if id is given.
// The channel is closed when it does.
func (w *Worker) Halt(p point.Point, id string) (<-chan struct{}, error) {
	reached := make(chan struct{})
	w.mu.Lock()
	w.hits[p] = reached
	w.mu.Unlock()
	if p == point.EffectDone || p == point.EffectSent {
		gate := make(chan struct{})
		w.mu.Lock()
		w.gates[p] = gate
		w.mu.Unlock()
		hold := func(ctx context.Context) {
			w.hear([]byte(`{"hit":"` + string(p) + `"}`))
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		a := Aim{Process: w.Name, ID: id, After: hold}
		if p == point.EffectSent {
			a.Before, a.After = hold, nil
		}
		w.site.Aim(a)
		return reached, nil
	}
	return reached, w.order(worker.Order{Halt: &worker.Halt{Point: p}})
}

// Late has the next request that leaves at the point held back: its sender is told that it failed, and it leaves when Go
// says so. The channel is closed when it is held, the function waits until it was sent.
func (w *Worker) Late(p point.Point) (held <-chan struct{}, sent func(context.Context) error, err error) {
	c, done := make(chan struct{}), make(chan struct{})
	w.mu.Lock()
	w.hits[p], w.sent[p] = c, done
	w.mu.Unlock()
	return c, func(ctx context.Context) error {
		select {
		case <-done:
			return nil
		case <-w.p.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, w.order(worker.Order{Halt: &worker.Halt{Point: p, Late: true}})
}

// Go lets what halted at the point go on.
func (w *Worker) Go(p point.Point) error {
	if p == "" {
		return nil
	}
	w.mu.Lock()
	gate := w.gates[p]
	delete(w.gates, p)
	w.mu.Unlock()
	if gate != nil {
		close(gate)
		return nil
	}
	return w.order(worker.Order{Go: p})
}

// Clock lets the worker's wall clock jump, as far as mutants go by it.
func (w *Worker) Clock(d time.Duration) error { return w.order(worker.Order{Clock: d}) }

// Exit has the worker finish its calls and end.
func (w *Worker) Exit(ctx context.Context, within time.Duration) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	w.heal()
	select {
	case <-w.p.Done():
		if !w.over {
			return fmt.Errorf("worker %s ended by itself: %s", w.Name, w.lastWords())
		}
		return nil // it was killed
	default:
	}
	_ = w.order(worker.Order{Stop: true}) // an error says that it is gone
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-w.p.Done():
	case <-timer.C:
		return errors.Join(fmt.Errorf("worker %s does not end: it has not finished its calls within %v", w.Name, within), w.kill(""))
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), w.kill(""))
	}
	exit, err := w.p.Wait(ctx)
	if err == nil && (exit.Code != 0 || exit.Err != nil) {
		err = fmt.Errorf("exit code %d %s: %w", exit.Code, exit.Signal, exit.Err)
	}
	if err != nil {
		return fmt.Errorf("worker %s: %w: %s", w.Name, err, w.lastWords())
	}
	w.over = true
	w.site.Fault(trace.Fault{At: trace.Now(), Kind: trace.FaultExit, Target: w.Name, PID: w.p.PID})
	return nil
}
