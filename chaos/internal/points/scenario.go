package points

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// Bounds of waiting.
const (
	reachWithin  = 30 * time.Second
	settleWithin = 45 * time.Second // for a call to come to an end: a lease, a new leader and some patience
	callTimeout  = 30 * time.Second
	tryEvery     = 100 * time.Millisecond
	inVain       = 5 // tries of a call whose owner is stopped, on a store that knows that it lives
	memberDown   = time.Second
)

// errNoLease is returned by a cell whose lease ended by itself before it was revoked: a disk that stalls for longer can do that.
var errNoLease = errors.New("the victim has no lease that could be revoked")

const (
	toolName = "act"
	callKey  = "call"
)

// Tool is the cell's.
func tool(c trace.Cell) trace.Tool {
	return trace.Tool{Name: toolName, InDoubt: c.InDoubt, World: c.World, Replay: true}
}

// A scenario is one cell at work: a victim reaches the point, the fault strikes, another worker
// makes the same call until it is settled, and the victim goes on.
type scenario struct {
	site   *lab.Site
	cell   trace.Cell
	id     string // of the call
	victim *lab.Worker
	other  *lab.Worker
	landed bool
	sent   func(context.Context) error // waits for a late request
	events []string                    // for people, if it fails
}

func (s *scenario) note(format string, args ...any) {
	s.events = append(s.events, fmt.Sprintf(format, args...))
}

// idOf returns the ID that the workers' call has.
func idOf(ctx context.Context) (string, error) {
	g, err := ledger.New(ledger.NewMemory(), &ledger.Options{Workflow: worker.Workflow})
	if err != nil {
		return "", err
	}
	defer g.Close(ctx)
	id, err := g.ID(ctx, ledger.Call{Tool: toolName, Key: callKey})
	return id.String(), err
}

func step(kind trace.Kind) worker.Step {
	return worker.Step{Kind: kind, Tool: toolName, Key: callKey, Timeout: callTimeout}
}

// play plays the cell, and returns once all is healed and each call has ended.
func (s *scenario) play(ctx context.Context) (err error) {
	if s.id, err = idOf(ctx); err != nil {
		return err
	}
	p := point.Point(s.cell.Point)
	if s.victim, err = s.site.Start(ctx, worker.Job{Worker: 1, Tools: s.site.Run.Tools}); err != nil {
		return err
	}
	if s.other, err = s.site.Start(ctx, worker.Job{Worker: 2, Tools: s.site.Run.Tools}); err != nil {
		return err
	}
	if s.cell.Fault == trace.FaultRevoke { // a session is opened with the first claim
		warm := step(trace.Do)
		warm.Key = "warm-up"
		within, cancel := context.WithTimeout(ctx, reachWithin)
		defer cancel()
		if err := s.first(within, warm); err != nil {
			return fmt.Errorf("the victim's first call: %w", err)
		}
	}
	call, err := s.reach(ctx, p)
	if err != nil {
		return fmt.Errorf("the victim does not get to %s: %w", p, err)
	}
	s.landed = true
	if err := s.strike(ctx, p); err != nil {
		return err
	}
	if err := errors.Join(s.victim.Go(p), s.victim.Go(point.EffectDone)); err != nil && s.cell.Fault != trace.FaultKill {
		return err
	}
	if s.cell.Fault != trace.FaultKill {
		within, cancel := context.WithTimeout(ctx, settleWithin)
		defer cancel()
		n, err := s.victim.Wait(within, call)
		if err != nil {
			return fmt.Errorf("the victim's call: %w", err)
		}
		s.note("the victim: %s %s %s", n.Outcome, n.Value, n.Err)
	}
	// Whatever happened: it is settled now, and stays so.
	if err := s.settle(ctx, s.other); err != nil {
		return err
	}
	if s.cell.Fault != trace.FaultKill {
		if err := s.victim.Exit(ctx, settleWithin); err != nil {
			return err
		}
	}
	return s.other.Exit(ctx, settleWithin)
}

// reach brings the victim to the point, and returns the end of its operation.
func (s *scenario) reach(ctx context.Context, p point.Point) (<-chan worker.Note, error) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	switch p {
	case point.Takeover, point.TakeoverClaimed, point.ReconcileQuery:
		if err := s.die(ctx); err != nil {
			return nil, err
		}
		return s.takeOver(ctx, p)
	case point.DeleteSent, point.DeleteCommitted:
		if err := s.first(ctx, step(trace.Do)); err != nil {
			return nil, fmt.Errorf("the call that is to be forgotten: %w", err)
		}
		return s.halt(ctx, p, step(trace.Forget))
	case point.Renewal: // while the tool runs
		call, err := s.halt(ctx, point.EffectDone, step(trace.Do))
		if err != nil {
			return nil, err
		}
		reached, err := s.victim.Halt(p, "")
		if err == nil {
			err = await(ctx, reached)
		}
		return call, err
	}
	return s.halt(ctx, p, step(trace.Do))
}

// halt begins the operation, and returns once it has halted at the point.
func (s *scenario) halt(ctx context.Context, p point.Point, st worker.Step) (<-chan worker.Note, error) {
	var reached <-chan struct{}
	var err error
	if s.cell.Fault == trace.FaultLate {
		reached, s.sent, err = s.victim.Late(p)
	} else {
		reached, err = s.victim.Halt(p, s.id)
	}
	if err != nil {
		return nil, err
	}
	return s.until(ctx, s.victim, reached, st)
}

// again reports whether an operation did nothing yet, and is to be done again, as callers do: the store did not answer,
// or another's claim stands in the way. A disk that stalls ends leases, and requests.
func again(n worker.Note) bool {
	return n.Outcome == trace.NotStarted || n.Outcome == trace.InProgress || n.Outcome == trace.Running
}

// first has the victim make a call that must succeed.
func (s *scenario) first(ctx context.Context, st worker.Step) error {
	for {
		n, err := s.victim.Do(ctx, st)
		if err != nil {
			return err
		}
		if n.Outcome == trace.OK {
			return nil
		}
		s.note("the victim's first: %s %s", n.Outcome, n.Err)
		if !again(n) || !rest(ctx) {
			return fmt.Errorf("%s %s", n.Outcome, n.Err)
		}
	}
}

// until has the worker do the step until it has halted where reached says, and returns the end of that operation. What
// it finds in doubt under DoubtBlock it resolves: then it is the resolution that halts.
func (s *scenario) until(ctx context.Context, w *lab.Worker, reached <-chan struct{}, st worker.Step) (<-chan worker.Note, error) {
	for {
		call, err := w.Begin(st)
		if err != nil {
			return nil, err
		}
		select {
		case <-reached:
			return call, nil
		case n := <-call:
			switch {
			case again(n):
			case n.Outcome == trace.InDoubt:
				st.Kind = trace.Resolve
			default:
				return nil, fmt.Errorf("its operation is over before: %s %s", n.Outcome, n.Err)
			}
			s.note("%s, before: %s %s", w.Name, n.Outcome, n.Err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		rest(ctx)
	}
}

// die leaves the call behind as a worker does that is killed after the effect.
func (s *scenario) die(ctx context.Context) error {
	first, err := s.site.Start(ctx, worker.Job{Worker: 0, Tools: s.site.Run.Tools})
	if err != nil {
		return err
	}
	reached, err := first.Halt(point.EffectDone, s.id)
	if err == nil {
		_, err = s.until(ctx, first, reached, step(trace.Do))
	}
	return errors.Join(err, first.Kill(point.EffectDone))
}

// takeOver has the victim call until the dead worker's claim is free, and halt at the point of the takeover. Under
// DoubtBlock it is the resolution that takes over.
func (s *scenario) takeOver(ctx context.Context, p point.Point) (<-chan worker.Note, error) {
	reached, err := s.victim.Halt(p, "")
	if err != nil {
		return nil, err
	}
	return s.until(ctx, s.victim, reached, step(trace.Do))
}

// strike lets the fault happen, and the other worker make the call meanwhile.
func (s *scenario) strike(ctx context.Context, p point.Point) error {
	var err error
	began := time.Now()
	between := func() { err = s.settle(ctx, s.other) }
	beyond := func() { // it lasts longer than the lease, also where the other had nothing to wait for
		between()
		sleep(ctx, time.Until(began.Add(2*s.site.Run.TTL+time.Second)))
	}
	freed := func() { // where the lease may live on, the other waits for the tool as well
		if p == point.Renewal {
			err = s.victim.Go(point.EffectDone)
		}
		if err == nil {
			between()
		}
	}
	switch s.cell.Fault {
	case trace.FaultKill:
		err = s.victim.Kill(p)
		if err == nil {
			between()
		}
	case trace.FaultPause:
		if s.cell.Store == "sqlite" {
			between = func() { err = s.inVain(ctx) }
		}
		return errors.Join(s.victim.Pause(p, beyond), err)
	case trace.FaultLate:
		err = s.late(ctx, p)
	case trace.FaultCut, trace.FaultCutIn, trace.FaultCutOut:
		s.victim.Cut(s.cell.Fault, func() {
			if err = s.victim.Go(p); err == nil { // the request leaves while the connection is cut
				beyond()
			}
		})
	case trace.FaultMember, trace.FaultLeader:
		killErr := s.site.KillMember(ctx, s.cell.Fault, 0, func() {
			err = s.victim.Go(p)
			sleep(ctx, memberDown)
		})
		if err = errors.Join(killErr, err); err == nil {
			freed()
		}
	case trace.FaultCompact:
		if err = s.site.Compact(ctx); err == nil {
			err = s.victim.Go(p)
		}
		if err == nil {
			freed()
		}
	case trace.FaultRevoke:
		var done bool
		if done, err = s.victim.Revoke(ctx); err == nil && !done {
			err = errNoLease
		}
		if err == nil {
			err = s.victim.Go(p)
		}
		if err == nil {
			between()
		}
	}
	return err
}

// late lets the sender go on without its request, and the call be settled and, unless the
// request is a finish, forgotten; then the request arrives.
func (s *scenario) late(ctx context.Context, p point.Point) error {
	f := trace.Fault{At: trace.Now(), Kind: trace.FaultLate, Target: s.victim.Name, Point: string(p)}
	if err := s.settle(ctx, s.other); err != nil {
		return err
	}
	if p != point.FinishSent {
		n, err := s.other.Do(ctx, step(trace.Forget))
		if err != nil {
			return err
		}
		s.note("%s forgets: %s %s", s.other.Name, n.Outcome, n.Err)
		if n.Outcome != trace.OK {
			return fmt.Errorf("the call is not forgotten before the late request: %s %s", n.Outcome, n.Err)
		}
	}
	err := s.victim.Go(p)
	if err == nil {
		err = s.sent(ctx)
	}
	f.Until = trace.Now()
	s.site.Fault(f)
	return err
}

// settle has the worker make the call until it is decided: done, replayed, refused for good, or resolved.
func (s *scenario) settle(ctx context.Context, w *lab.Worker) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	last := ""
	for {
		n, err := w.Do(ctx, step(trace.Do))
		if err != nil {
			return fmt.Errorf("the call is not settled (%s): %w", last, err)
		}
		if n.Outcome != last {
			s.note("%s: %s %s %s", w.Name, n.Outcome, n.Value, n.Err)
			last = n.Outcome
		}
		switch n.Outcome {
		case trace.OK, trace.Replayed, trace.Duplicate, trace.Failed, trace.Omitted:
			return nil
		case trace.InDoubt:
			n, err := w.Do(ctx, step(trace.Resolve))
			if err != nil {
				return fmt.Errorf("the call is not resolved: %w", err)
			}
			s.note("%s resolves: %s %s", w.Name, n.Outcome, n.Err)
		}
		if !rest(ctx) {
			return fmt.Errorf("the call is not settled within %v: %s %s", settleWithin, n.Outcome, n.Err)
		}
	}
}

// inVain tries the call of a worker that is stopped, and alive to the store.
func (s *scenario) inVain(ctx context.Context) error {
	for range inVain {
		n, err := s.other.Do(ctx, step(trace.Do))
		if err != nil {
			return err
		}
		s.note("%s: %s %s", s.other.Name, n.Outcome, n.Err)
		rest(ctx)
	}
	return nil
}

func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func rest(ctx context.Context) bool { return sleep(ctx, tryEvery) }

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
