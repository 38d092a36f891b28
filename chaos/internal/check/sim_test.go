package check_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A sim is a small chaos run of the real guard over the store in memory, in virtual
// time: sessions expire, workers are killed, answers are lost, writes and messages land late.
type sim struct {
	t      testing.TB
	dir    string
	store  *ledger.Memory
	world  *simWorld
	faults *trace.Writer

	mu     sync.Mutex
	last   int64
	rnd    *rand.Rand
	calm   bool   // no faults any more
	mutant string // what is broken
	uses   map[string]bool
}

// now is the virtual time, made unique.
func (s *sim) now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, time.Now().UnixNano())
	return s.last
}

func (s *sim) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

// broken is true now and then, in a run with that mutant.
func (s *sim) broken(mutant string) bool { return s.mutant == mutant && s.disturbed(10) }

// disturbed is true once in so many times, as long as there are faults.
func (s *sim) disturbed(oneIn int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.calm && s.rnd.IntN(oneIn) == 0
}

// pause waits for up to d; it returns early when ctx ends.
func (s *sim) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(time.Duration(s.roll(int(d)) + 1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

var simTools = []trace.Tool{
	{Name: "retry", InDoubt: "retry", World: trace.WorldPlain, Replay: true},
	{Name: "token", InDoubt: "retry", World: trace.WorldToken, Replay: true},
	{Name: "block", InDoubt: "block", World: trace.WorldPlain, Wait: 20 * time.Millisecond},
	{Name: "fence", InDoubt: "reconcile", World: trace.WorldFence, Replay: true},
	{Name: "ask", InDoubt: "reconcile", World: trace.WorldPlain, Replay: true},
	{Name: "twice", InDoubt: "retry", World: trace.WorldPlain, Replay: true, Max: 2},
	{Name: "quiet", InDoubt: "retry", World: trace.WorldToken},
	{Name: "tries", InDoubt: "retry", World: trace.WorldPlain, Replay: true},
}

// A worker is one process, as far as the histories can tell.
type worker struct {
	s     *sim
	name  string
	store *recorded
	guard *ledger.Guard

	mu   sync.Mutex
	dead bool
	file *trace.Writer
	n    uint64
}

func (s *sim) worker(name string) *worker {
	file, err := trace.Create(filepath.Join(s.dir, trace.HistoryFile(name)), false)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &worker{s: s, name: name, file: file}
	w.store = &recorded{Memory: s.store.Session(), w: w, flying: map[string]chan struct{}{}}
	policies := map[string]ledger.Policy{}
	for i := range simTools {
		tool := &simTools[i]
		p := ledger.Policy{Replay: tool.Replay, Wait: tool.Wait, Max: tool.Max}
		if err := p.InDoubt.UnmarshalText([]byte(tool.InDoubt)); err != nil {
			s.t.Fatal(err)
		}
		if tool.InDoubt == "reconcile" {
			p.Reconcile = func(ctx context.Context, _ ledger.Record) (ledger.Verdict, error) { return w.query(ctx, tool) }
		}
		if tool.Name == "tries" {
			p.Backoff = func() ledger.Backoff { return &threeTries{} }
		}
		policies[tool.Name] = p
	}
	w.guard, err = ledger.New(w.store, &ledger.Options{Policies: policies, StoreTimeout: 50 * time.Millisecond, Logger: quiet})
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

type threeTries struct{ n int }

func (b *threeTries) Reset() { b.n = 0 }
func (b *threeTries) NextBackOff() time.Duration {
	if b.n++; b.n > 2 {
		return -1
	}
	return 2 * time.Millisecond
}

// line writes a line, unless the worker was killed; n is 0 for a first line.
func (w *worker) line(n uint64, l trace.Line) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n == 0 {
		w.n++
		n = w.n
	} else {
		l.End = true
	}
	if w.dead {
		return n
	}
	l.N, l.At = n, w.s.now()
	if err := w.file.Write(l); err != nil {
		w.s.t.Error(err)
	}
	return n
}

// fault writes a fault that hits the worker now.
func (w *worker) fault(kind string) {
	if err := w.s.faults.Write(trace.Fault{At: w.s.now(), Kind: kind, Target: w.name}); err != nil {
		w.s.t.Error(err)
	}
}

// kill lets the worker do nothing any more.
func (w *worker) kill() {
	w.mu.Lock()
	w.dead = true
	w.fault(trace.FaultKill)
	w.mu.Unlock()
	w.end()
}

func (w *worker) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// end closes all that the worker has.
func (w *worker) end() {
	if w.gone() {
		_ = w.store.Memory.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.guard.Close(ctx) // of a killed one it fails
	_ = w.store.Memory.Close()
	if err := w.file.Close(); err != nil {
		w.s.t.Error(err)
	}
	if !w.gone() {
		w.fault(trace.FaultExit)
	}
}

type opKey struct{}

func (w *worker) query(ctx context.Context, tool *trace.Tool) (ledger.Verdict, error) {
	c, _ := ledger.ClaimFrom(ctx)
	in, _ := ctx.Value(opKey{}).(uint64)
	n := w.line(0, trace.Line{Kind: trace.Query, In: in, ID: c.ID.String(), Tool: tool.Name, Fence: int64(c.Fence), Token: c.Token})
	w.s.pause(ctx, 2*time.Millisecond)
	if w.gone() {
		return ledger.Unknown(), errOld
	}
	result, happened, err := w.s.world.request(tool, c, w.name, true, false)
	w.line(n, trace.Line{Kind: trace.Query, Value: result})
	switch {
	case err != nil || w.s.disturbed(20):
		return ledger.Unknown(), err
	case happened:
		return ledger.Happened(result), nil
	}
	return ledger.DidNotHappen(), nil
}

// act is the tool.
func (w *worker) act(ctx context.Context, tool *trace.Tool, ran *error) (result string, err error) {
	c, _ := ledger.ClaimFrom(ctx)
	in, _ := ctx.Value(opKey{}).(uint64)
	n := w.line(0, trace.Line{Kind: trace.Attempt, In: in, ID: c.ID.String(), Tool: tool.Name, Fence: int64(c.Fence), Token: c.Token, Attempt: c.Attempt})
	defer func() {
		*ran = err
		l := trace.Line{Kind: trace.Attempt, Outcome: trace.OK}
		if err != nil {
			l.Outcome, l.Value = trace.ToolFailed, classOf(err)
		} else {
			text, _ := json.Marshal(result)
			l.Value = string(text)
		}
		w.line(n, l)
	}()
	w.s.pause(ctx, 6*time.Millisecond)
	if ctx.Err() != nil && w.s.roll(2) == 0 {
		return "", context.Cause(ctx) // else it does not look at its context
	}
	if w.gone() {
		return "", errFailed
	}
	if w.s.disturbed(12) { // its message lands late
		go func() {
			w.s.pause(context.Background(), 40*time.Millisecond)
			_, _, _ = w.s.world.request(tool, c, w.name, false, false)
		}()
		return "", errFailed
	}
	result, _, err = w.s.world.request(tool, c, w.name, false, w.s.disturbed(8))
	switch {
	case errors.Is(err, errOld):
		return "", err
	case err != nil && w.s.roll(4) == 0:
		return "", ledger.Permanent(errForGood)
	case err != nil:
		return "", ledger.NotDone(err)
	}
	w.s.pause(ctx, 3*time.Millisecond)
	if w.s.disturbed(8) {
		return "", errFailed
	}
	return result, nil
}

func classOf(err error) string {
	switch {
	case errors.Is(err, errForGood):
		return "permanent"
	case errors.Is(err, errDenied):
		return "not_done"
	}
	return "uncertain"
}

// do makes one operation of the guard.
func (w *worker) do(ctx context.Context, kind trace.Kind, tool *trace.Tool, key string) (outcome string) {
	call := ledger.Call{Tool: tool.Name, Key: key}
	id, err := w.guard.ID(ctx, call)
	if err != nil {
		return ""
	}
	as := []ledger.ResolveAs{ledger.ResolveHappened, ledger.ResolveDidNotHappen, ledger.ResolveForget}[w.s.roll(3)]
	first := trace.Line{Kind: kind, ID: id.String(), Tool: tool.Name, Key: key}
	if kind == trace.Resolve {
		first.As = as.String()
	}
	n := w.line(0, first)
	ctx = context.WithValue(ctx, opKey{}, n)
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var ran error
	started := false
	run := func(ctx context.Context) (string, error) {
		started = true
		return w.act(ctx, tool, &ran)
	}
	var res ledger.Result[string]
	switch kind {
	case trace.Do:
		res, err = ledger.Do(ctx, w.guard, call, run)
	case trace.Force:
		res, err = ledger.Force(ctx, w.guard, call, run)
	case trace.Forget:
		err = w.guard.Retry(ctx, call)
	case trace.Resolve:
		_, err = w.guard.Resolve(ctx, id, ledger.Resolution{As: as, By: "sim"})
	}
	l := trace.Line{Kind: kind, Outcome: outcomeOf(err, res.Replayed, started, ran)}
	switch l.Outcome {
	case trace.OK, trace.Replayed, trace.Unrecorded, trace.Fenced:
		if kind == trace.Do || kind == trace.Force {
			text, _ := json.Marshal(res.Value)
			l.Value = string(text)
		}
	case trace.ToolFailed:
		l.Value = classOf(ran)
	}
	if err != nil {
		l.Err = err.Error()
	}
	w.line(n, l)
	return l.Outcome
}

func outcomeOf(err error, replayed, started bool, ran error) string {
	is := func(e error) bool { return errors.Is(err, e) }
	switch {
	case err == nil && replayed:
		return trace.Replayed
	case err == nil:
		return trace.OK
	case started && ran != nil:
		return trace.ToolFailed
	case is(ledger.ErrUnrecorded) && is(ledger.ErrFenced):
		return trace.Fenced
	case is(ledger.ErrUnrecorded):
		return trace.Unrecorded
	case is(ledger.ErrDuplicate):
		return trace.Duplicate
	case is(ledger.ErrInProgress):
		return trace.InProgress
	case is(ledger.ErrInDoubt):
		return trace.InDoubt
	case is(ledger.ErrFailed):
		return trace.Failed
	case is(ledger.ErrResultOmitted):
		return trace.Omitted
	case is(ledger.ErrRunning):
		return trace.Running
	case is(ledger.ErrNotFound):
		return trace.NotFound
	case is(ledger.ErrInvalid):
		return trace.Invalid
	case started:
		return trace.Unknown
	case is(ledger.ErrUnavailable), is(ledger.ErrClosed), is(context.DeadlineExceeded), is(context.Canceled), is(ledger.ErrLeaseLost), is(ledger.ErrFenced):
		return trace.NotStarted
	}
	return trace.Unknown
}
