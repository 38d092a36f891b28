package points

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// A recipe provokes a mutant: it brings about just what the broken rule is there for. Played with the
// rule whole it violates nothing.
type recipe struct {
	mutant string
	store  string // "etcd" or "sqlite"
	tool   trace.Tool
	loose  bool          // the second worker has DoubtRetry
	ttl    time.Duration // of the workers' leases; 0: the lab's
	play   func(context.Context, *scenario) error
}

func plain(inDoubt string) trace.Tool {
	return trace.Tool{Name: toolName, InDoubt: inDoubt, World: trace.WorldPlain, Replay: true}
}

// longTTL outlasts a cut of several seconds, and a disk that stalls for as long: for where no lease is to end.
const longTTL = 20 * time.Second

// recipes are at least one for each mutant, by the names of package failpoint.
var recipes = []recipe{
	{mutant: failpoint.MutantUnconditionalClaim, store: "etcd", tool: plain("retry"), ttl: longTTL, play: overlap},
	{mutant: failpoint.MutantUnconditionalClaim, store: "sqlite", tool: plain("retry"), play: overlap},
	{mutant: failpoint.MutantFinishWithoutFence, store: "etcd", tool: plain("retry"), play: zombie},
	{mutant: failpoint.MutantFinishWithoutFence, store: "sqlite", tool: plain("retry"), play: forced},
	{mutant: failpoint.MutantWallClock, store: "etcd", tool: plain("retry"), ttl: longTTL, play: clockJump},
	{mutant: failpoint.MutantWallClock, store: "sqlite", tool: plain("retry"), play: clockJump},
	{mutant: failpoint.MutantGetDeleteClaim, store: "etcd", tool: plain("retry"), play: twoTakeovers},
	{mutant: failpoint.MutantGetDeleteClaim, store: "sqlite", tool: plain("retry"), play: twoTakeovers},
	{mutant: failpoint.MutantSuccessOnLease, store: "etcd", tool: plain("block"), play: successThenDeath},
	{mutant: failpoint.MutantAmbiguousFinish, store: "etcd", tool: plain("block"), ttl: longTTL, play: lostFinish},
	{mutant: failpoint.MutantLocalFence, store: "etcd", tool: plain("retry"), ttl: longTTL, play: twoFences},
	{mutant: failpoint.MutantLocalFence, store: "sqlite", tool: plain("retry"), play: twoFences},
	{mutant: failpoint.MutantInDoubtLeased, store: "etcd", tool: plain("block"), play: deadInDoubt},
	{mutant: failpoint.MutantAckBeforeCommit, store: "sqlite", tool: plain("block"), play: ackThenDeath},
	{mutant: failpoint.MutantAckBeforeCommit, store: "etcd", tool: plain("block"), play: ackThenDeath},
	{mutant: failpoint.MutantReconcileUnsealed, store: "sqlite", tool: trace.Tool{Name: toolName, InDoubt: "reconcile", World: trace.WorldFence, Replay: true}, play: lateEffect},
	{mutant: failpoint.MutantReconcileUnsealed, store: "etcd", tool: trace.Tool{Name: toolName, InDoubt: "reconcile", World: trace.WorldFence, Replay: true}, play: lateEffect},
	{mutant: failpoint.MutantTimeoutIsFailed, store: "sqlite", tool: trace.Tool{Name: toolName, InDoubt: "block", World: trace.WorldPlain, Replay: true, Timeout: 3 * time.Second}, play: timedOut},
	{mutant: failpoint.MutantPolicyLoosened, store: "sqlite", tool: plain("block"), loose: true, play: looseTakeover},
	{mutant: failpoint.MutantPolicyLoosened, store: "etcd", tool: plain("block"), loose: true, play: looseTakeover},
	{mutant: failpoint.MutantLateCopy, store: "etcd", tool: plain("retry"), ttl: longTTL, play: lateCopy},
}

// running has the victim do its effect and hold there.
func (s *scenario) running(ctx context.Context) (<-chan worker.Note, error) {
	return s.halt(ctx, point.EffectDone, step(trace.Do))
}

// goOn lets the victim go on from the point, and waits for its call's end.
func (s *scenario) goOn(ctx context.Context, p point.Point, call <-chan worker.Note) error {
	if err := s.victim.Go(p); err != nil {
		return err
	}
	n, err := s.victim.Wait(ctx, call)
	if err != nil {
		return err
	}
	s.note("the victim: %s %s %s", n.Outcome, n.Value, n.Err)
	return nil
}

// tries has a worker make the call, and again only where it was not started.
func (s *scenario) tries(ctx context.Context, w *lab.Worker, st worker.Step) error {
	for {
		n, err := w.Do(ctx, st)
		if err != nil {
			return err
		}
		s.note("%s: %s %s %s", w.Name, n.Outcome, n.Value, n.Err)
		if n.Outcome != trace.NotStarted {
			return nil
		}
		if !rest(ctx) {
			return context.Cause(ctx)
		}
	}
}

// overlap: a second worker calls while the first one's tool runs.
func overlap(ctx context.Context, s *scenario) error {
	call, err := s.running(ctx)
	if err != nil {
		return err
	}
	if err := s.tries(ctx, s.other, step(trace.Do)); err != nil {
		return err
	}
	return s.goOn(ctx, point.EffectDone, call)
}

// zombie: a worker that was stopped for longer than its lease records its outcome after the one who took over.
func zombie(ctx context.Context, s *scenario) error {
	call, err := s.halt(ctx, point.EffectAnswered, step(trace.Do))
	if err != nil {
		return err
	}
	var settled error
	err = s.victim.Pause(point.EffectAnswered, func() { settled = s.settle(ctx, s.other) })
	if err = errors.Join(err, settled); err != nil {
		return err
	}
	_, err = s.victim.Wait(ctx, call)
	return err
}

// forced: the same with a claim that was stolen.
func forced(ctx context.Context, s *scenario) error {
	call, err := s.running(ctx)
	if err != nil {
		return err
	}
	if err := s.tries(ctx, s.other, step(trace.Force)); err != nil {
		return err
	}
	return s.goOn(ctx, point.EffectDone, call)
}

// clockJump: a worker whose clock has jumped calls while another's tool runs.
func clockJump(ctx context.Context, s *scenario) error {
	if err := s.other.Clock(time.Hour); err != nil {
		return err
	}
	return overlap(ctx, s)
}

// twoTakeovers: two workers have seen a dead worker's claim; one is held up until the other's tool runs.
func twoTakeovers(ctx context.Context, s *scenario) error {
	if err := s.die(ctx); err != nil {
		return err
	}
	// With the rule whole the point within the mutant is not reached: halt where the decision is made.
	at := point.Takeover
	if s.site.Run.Mutant != "" {
		at = failpoint.MutantGot
	}
	slow, err := s.takeOver(ctx, at)
	if err != nil {
		return err
	}
	running, err := s.other.Halt(point.EffectDone, s.id)
	if err != nil {
		return err
	}
	quick, err := s.until(ctx, s.other, running, step(trace.Do))
	if err != nil {
		return err
	}
	if err := s.goOn(ctx, at, slow); err != nil {
		return err
	}
	if err := s.other.Go(point.EffectDone); err != nil {
		return err
	}
	_, err = s.other.Wait(ctx, quick)
	return err
}

// successThenDeath: a worker dies after its success was recorded and told.
func successThenDeath(ctx context.Context, s *scenario) error {
	if err := s.tries(ctx, s.victim, step(trace.Do)); err != nil {
		return err
	}
	if err := s.victim.Kill(""); err != nil {
		return err
	}
	return s.site.Expired(ctx, s.victim)
}

// lostFinish: an outcome can not be sent for longer than the guard waits for the store.
func lostFinish(ctx context.Context, s *scenario) error {
	call, err := s.halt(ctx, point.EffectAnswered, step(trace.Do))
	if err != nil {
		return err
	}
	var told error
	s.victim.Cut(trace.FaultCut, func() { told = s.goOn(ctx, point.EffectAnswered, call) })
	if told != nil {
		return told
	}
	return s.settle(ctx, s.other)
}

// twoFences: each of two workers runs the call, after a failure that did nothing.
func twoFences(ctx context.Context, s *scenario) error {
	denied := step(trace.Do)
	denied.Ask = "deny"
	if err := s.tries(ctx, s.victim, denied); err != nil {
		return err
	}
	return s.settle(ctx, s.other)
}

// deadInDoubt: a worker dies after the effect; the call comes again after its lease.
func deadInDoubt(ctx context.Context, s *scenario) error {
	if _, err := s.running(ctx); err != nil {
		return err
	}
	if err := s.victim.Kill(point.EffectDone); err != nil {
		return err
	}
	return s.settle(ctx, s.other)
}

// ackThenDeath: a worker dies when its finish is on its way to the disk, or to the cluster. With the rule
// whole its caller has no answer then.
func ackThenDeath(ctx context.Context, s *scenario) error {
	reached, err := s.victim.Halt(point.FinishSent, "")
	if err != nil {
		return err
	}
	call, err := s.victim.Begin(step(trace.Do))
	if err == nil {
		err = await(ctx, reached)
	}
	if err != nil {
		return err
	}
	if s.site.Run.Mutant != "" {
		if _, err := s.victim.Wait(ctx, call); err != nil {
			return fmt.Errorf("the caller has no answer yet: %w", err)
		}
	}
	if err := s.victim.Kill(point.FinishSent); err != nil {
		return err
	}
	return s.settle(ctx, s.other)
}

// lateEffect: a worker dies while its message to the downstream is on its way; it lands after another
// has asked the downstream, and before that one acts.
func lateEffect(ctx context.Context, s *scenario) error {
	if _, err := s.halt(ctx, point.EffectSent, step(trace.Do)); err != nil {
		return err
	}
	if err := s.victim.Kill(point.EffectSent); err != nil {
		return err
	}
	asked, err := s.other.Halt(point.ReconcileQuery, "")
	if err != nil {
		return err
	}
	settled := make(chan error, 1)
	go func() { settled <- s.settle(ctx, s.other) }()
	if err := await(ctx, asked); err != nil {
		return errors.Join(err, <-settled)
	}
	if err := s.victim.Go(point.EffectSent); err != nil {
		return errors.Join(err, <-settled)
	}
	for s.site.World.Requests(s.id) < 1 {
		if !rest(ctx) {
			return errors.Join(context.Cause(ctx), <-settled)
		}
	}
	return errors.Join(s.other.Go(point.ReconcileQuery), <-settled)
}

// timedOut: a tool obeys its Timeout after its effect; the call comes again.
func timedOut(ctx context.Context, s *scenario) error {
	call, err := s.running(ctx)
	if err != nil {
		return err
	}
	n, err := s.victim.Wait(ctx, call) // its time runs out while it holds
	if err != nil {
		return err
	}
	s.note("the victim: %s %s", n.Outcome, n.Err)
	if err := s.victim.Go(point.EffectDone); err != nil {
		return err
	}
	return s.tries(ctx, s.other, step(trace.Do))
}

// looseTakeover: what a worker with DoubtBlock left in doubt is called by one with DoubtRetry.
func looseTakeover(ctx context.Context, s *scenario) error {
	if _, err := s.running(ctx); err != nil {
		return err
	}
	if err := s.victim.Kill(point.EffectDone); err != nil {
		return err
	}
	return s.settle(ctx, s.other)
}

// lateCopy: the first copy of a claim is held back, the second one is granted, the call ends and is
// forgotten, and the first one lands.
func lateCopy(ctx context.Context, s *scenario) error {
	held, sent, err := s.victim.Late(point.ClaimSent)
	if err != nil {
		return err
	}
	call, err := s.victim.Begin(step(trace.Do))
	if err == nil {
		err = await(ctx, held)
	}
	if err != nil {
		return err
	}
	if _, err := s.victim.Wait(ctx, call); err != nil {
		return err
	}
	if err := s.tries(ctx, s.victim, step(trace.Forget)); err != nil {
		return err
	}
	if err := s.victim.Go(point.ClaimSent); err != nil {
		return err
	}
	return sent(ctx)
}
