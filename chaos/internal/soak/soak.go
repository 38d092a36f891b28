package soak

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// CallTimeout is the deadline of one operation of the workload.
const CallTimeout = 15 * time.Second

// Bounds of waiting.
const (
	reachWithin = 3 * time.Second       // for a worker to reach the point at which it is to be hit
	respawnIn   = 50 * time.Millisecond // after a kill
	stopWithin  = 90 * time.Second      // for a worker to finish its calls in the end
	healWithin  = 60 * time.Second      // for the cluster to be whole again
)

// Options of a soak.
type Options struct {
	Config
	Callers  int
	Tools    []trace.Tool
	Code     string
	Path     string // of a registered store
	Progress func(Progress)
}

// Progress is how far a soak is.
type Progress struct {
	Elapsed time.Duration
	Calls   uint64
	Faults  map[string]int
}

// A Result is what a soak did; what it shows is for the checkers to say.
type Result struct {
	Faults  map[string]int // by kind, those that happened
	Beyond  int            // pauses and cuts beyond the lease
	Windows map[string]int // kills and pauses by the point they landed at
	Took    time.Duration  // of the workload
	Calls   uint64
}

// A soak is a run under way.
type soak struct {
	o      *Options
	site   *lab.Site
	events []Event
	slots  []*slot
	late   sync.WaitGroup // messages of dead workers that are still on their way

	mu      sync.Mutex
	faults  map[string]int
	beyond  int
	windows map[string]int
	err     error // the first that makes the run worthless
	cancel  context.CancelCauseFunc
}

// A slot is a worker with its successive processes.
type slot struct {
	n       int
	hitting sync.Mutex // held for as long as a fault has the worker: one at a time
	mu      sync.Mutex
	w       *lab.Worker
	calls   atomic.Uint64 // of the processes before
}

// Run makes the workload and the faults on the site, for the duration. In the end everything is
// healed, and all workers have ended.
func Run(ctx context.Context, site *lab.Site, o *Options) (*Result, error) {
	s := &soak{o: o, site: site, events: Schedule(o.Config), faults: map[string]int{}, windows: map[string]int{}}
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	for n := range o.Workers {
		s.slots = append(s.slots, &slot{n: n})
	}
	if err := s.each(func(sl *slot) error { return s.spawn(ctx, sl) }); err != nil {
		return nil, err
	}
	began := time.Now()
	var hitting sync.WaitGroup
	hitting.Go(func() { s.report(ctx, began) })
	s.play(ctx, began, &hitting)
	sleep(ctx, time.Until(began.Add(o.Duration)))
	took := time.Since(began)
	s.cancel(errOver)
	hitting.Wait()
	s.late.Wait()
	if s.err != nil {
		return nil, s.err
	}
	if ctx := context.Cause(ctx); ctx != errOver {
		return nil, ctx
	}
	r := &Result{Faults: s.faults, Beyond: s.beyond, Windows: s.windows, Took: took, Calls: s.count()}
	return r, s.finish()
}

var errOver = fmt.Errorf("the time is over")

// finish heals everything and ends the workers.
func (s *soak) finish() error {
	ctx, cancel := context.WithTimeout(s.site.Context(), healWithin+stopWithin)
	defer cancel()
	if err := s.site.Heal(ctx); err != nil {
		return err
	}
	return s.each(func(sl *slot) error { return sl.w.Exit(ctx, stopWithin) })
}

func (s *soak) each(f func(*slot) error) error {
	errs := make(chan error, len(s.slots))
	for _, sl := range s.slots {
		go func() { errs <- f(sl) }()
	}
	var first error
	for range s.slots {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// spawn starts the next process of a worker, which goes on where the one before was.
func (s *soak) spawn(ctx context.Context, sl *slot) error {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	load := &worker.Load{Seed: s.o.Seed, Callers: s.o.Callers, Timeout: CallTimeout}
	if sl.w != nil {
		load.Base = sl.w.Progress()
		sl.calls.Add(sl.w.Calls())
	}
	w, err := s.site.Start(ctx, worker.Job{Worker: sl.n, Tools: s.o.Tools, Code: s.o.Code, Path: s.o.Path, Load: load})
	if err != nil {
		return err
	}
	sl.w = w
	return nil
}

func (sl *slot) worker() *lab.Worker {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.w
}

// play lets each event happen at its time.
func (s *soak) play(ctx context.Context, began time.Time, hitting *sync.WaitGroup) {
	hitting.Go(func() {
		for _, e := range s.events {
			if !sleep(ctx, time.Until(began.Add(e.At))) {
				return
			}
			hitting.Go(func() {
				if err := s.hit(ctx, e); err != nil && context.Cause(ctx) == nil {
					s.fail(fmt.Errorf("%s of worker %d: %w", e.Kind, e.Worker, err))
				}
			})
		}
	})
}

func (s *soak) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.cancel(err)
}

// hit carries out one event.
func (s *soak) hit(ctx context.Context, e Event) error {
	if e.Worker >= 0 {
		sl := s.slots[e.Worker]
		sl.hitting.Lock()
		defer sl.hitting.Unlock()
	}
	switch e.Kind {
	case trace.FaultKill:
		return s.kill(ctx, e)
	case trace.FaultPause:
		return s.pause(ctx, e)
	case trace.FaultMember, trace.FaultLeader:
		if err := s.site.KillMember(ctx, e.Kind, e.Member, func() { s.happened(e, "", false); sleep(ctx, e.For) }); err != nil {
			return err
		}
		return nil
	case trace.FaultCompact:
		if err := s.site.Compact(ctx); err != nil {
			return nil // no quorum just now: it is counted only if it happened
		}
	case trace.FaultRevoke:
		if done, err := s.slots[e.Worker].worker().Revoke(ctx); err != nil || !done {
			return nil // it has no session just now
		}
	default:
		w := s.slots[e.Worker].worker()
		whole := false // the run's end cuts it short
		w.Cut(e.Kind, func() { whole = sleep(ctx, e.For) })
		s.happened(e, "", whole && e.For > s.o.TTL+time.Second)
		return nil
	}
	s.happened(e, "", false)
	return nil
}

// reach brings the worker to the event's point, if it gets there in time.
func (s *soak) reach(ctx context.Context, w *lab.Worker, e Event) (at point.Point) {
	if e.Point == "" {
		return ""
	}
	reached, err := w.Halt(e.Point, "")
	if err != nil {
		return "" // it is gone
	}
	wait, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	select {
	case <-reached:
		return e.Point
	case <-w.Gone():
	case <-wait.Done():
	}
	return ""
}

func (s *soak) kill(ctx context.Context, e Event) error {
	sl := s.slots[e.Worker]
	w := sl.worker()
	at := s.reach(ctx, w, e)
	if err := w.Kill(at); err != nil {
		return err
	}
	s.happened(e, at, false)
	sleep(ctx, respawnIn)
	if err := s.spawn(s.site.Context(), sl); err != nil { // also when the run is over: it ends its workers
		return err
	}
	if at == point.EffectSent { // what the dead worker had sent lands after others have taken over
		s.late.Go(func() {
			sleep(ctx, 3*s.o.TTL)
			_ = w.Go(at) // a gate in the harness: it has no way to fail
		})
	}
	return nil
}

func (s *soak) pause(ctx context.Context, e Event) error {
	w := s.slots[e.Worker].worker()
	at := s.reach(ctx, w, e)
	beyond := false
	err := w.Pause(at, func() { beyond = sleep(ctx, e.For) && e.For > s.o.TTL+time.Second })
	if err == nil && at == "" { // a halt that was asked for and not reached would hold a later call for good
		err = w.Go(e.Point)
	}
	if err != nil {
		return err
	}
	s.happened(e, at, beyond)
	return nil
}

func (s *soak) happened(e Event, at point.Point, beyond bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e.Kind]++
	if beyond && (e.Kind == trace.FaultPause || e.Kind == trace.FaultCut || e.Kind == trace.FaultCutIn || e.Kind == trace.FaultCutOut) {
		s.beyond++
	}
	if e.Kind == trace.FaultKill || e.Kind == trace.FaultPause {
		name := string(at)
		if name == "" {
			name = "anywhere"
		}
		s.windows[e.Kind+" "+name]++
	}
}

func (s *soak) count() uint64 {
	var n uint64
	for _, sl := range s.slots {
		n += sl.calls.Load() + sl.worker().Calls()
	}
	return n
}

func (s *soak) report(ctx context.Context, began time.Time) {
	if s.o.Progress == nil {
		return
	}
	for sleep(ctx, time.Second) {
		s.mu.Lock()
		p := Progress{Elapsed: time.Since(began), Faults: map[string]int{}}
		for k, n := range s.faults {
			p.Faults[k] = n
		}
		s.mu.Unlock()
		p.Calls = s.count()
		s.o.Progress(p)
	}
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
