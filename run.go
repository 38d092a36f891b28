package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// run holds the claim. It runs the tool, with further tries where the policy
// has a Backoff, records the outcome, and ends the flight: now, or when the
// outbox has a definite answer.
func (x *exec) run(ctx context.Context, claimed, seen *Record, d decision) (Record, bool, error) {
	c := x.c
	x.held, x.seen = claimed, seen
	defer x.net(ctx)
	if err := x.mayStart(ctx, claimed); err != nil {
		x.settle(ctx, giveBack(*claimed, seen))
		if seen != nil && seen.Alive {
			err = fmt.Errorf("%w; the running call that it was to replace is in doubt now", err)
		}
		return Record{}, false, fmt.Errorf("ledger: %s was not started: %w", x.p.id, err)
	}
	if seen != nil && seen.State == StateRunning && !seen.Alive {
		c.tell("ledger: took over a call of a dead worker", claimed, c.opts.OnTakeover)
	}
	if d.action == actReconcile {
		return x.reconcile(ctx, claimed)
	}
	c.footgun.started(x.p)
	return x.attempts(ctx, claimed)
}

// net is deferred: if a function of the user's other than the tool left by
// runtime.Goexit, or there is a bug, what is known is recorded all the same.
func (x *exec) net(ctx context.Context) {
	if x.over {
		return
	}
	thrown := recover()
	x.c.opts.Logger.Error("ledger: a call was cut short outside of its tool", "call", x.p.id, "type", fmt.Sprintf("%T", thrown))
	switch x.stage {
	case stageClaimed:
		x.settle(ctx, giveBack(*x.held, x.seen))
	case stageStarted:
		done := finish(*x.held, ending{failure: &Failure{Message: "it was cut short", Class: ClassUncertain}}, clock())
		_ = x.record(ctx, &done)
	case stageDone:
		done := finish(*x.held, ending{}, clock())
		_ = x.record(ctx, &done)
	}
	if thrown != nil {
		panic(thrown)
	}
}

// mayStart says why the tool must not start under the claim any more.
func (x *exec) mayStart(ctx context.Context, claimed *Record) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if x.c.flights.isFenced(x.f, claimed.Fence) {
		return ErrFenced
	}
	if x.c.leaser != nil {
		select {
		case <-x.c.leaser.LeaseLost(claimed.Owner.Session):
			return ErrLeaseLost
		default:
		}
	}
	return nil
}

// attempts runs the tool until it needs no further try.
func (x *exec) attempts(ctx context.Context, claimed *Record) (Record, bool, error) {
	c, p := x.c, x.p
	var pauses Backoff
	for {
		if failpoint.On {
			failpoint.Hit(failpoint.GuardStarting)
		}
		err, lost := x.attempt(ctx, claimed, x.t.call)
		if failpoint.On {
			failpoint.Hit(failpoint.GuardReturned)
		}
		if err == nil {
			x.stage = stageDone
			return x.succeeded(ctx, claimed)
		}
		class, stop := c.classOf(err, p.policy)
		failure := &Failure{Message: message(err), Class: class}
		again := !stop && !lost && ctx.Err() == nil && p.policy.Backoff != nil && (class == ClassNotDone || claimed.InDoubt == DoubtRetry)
		pause := time.Duration(-1)
		if again {
			pause = c.pause(&pauses, p.policy)
		}
		if pause < 0 {
			return x.failed(ctx, claimed, failure, err)
		}
		if sleep(ctx, pause); ctx.Err() != nil || c.closed.Load() {
			return x.failed(ctx, claimed, failure, err)
		}
		next, claimErr := x.claimAgain(ctx, claimed, failure)
		if claimErr != nil {
			return *next, false, errors.Join(err, claimErr)
		}
		claimed = next
	}
}

// claimAgain claims the next try of a call whose claim is held: a new fence, and
// after a failure that certainly did nothing a new token, unless an earlier try
// is in doubt. failure is nil after a reconciliation. With an error the call is over.
func (x *exec) claimAgain(ctx context.Context, held *Record, failure *Failure) (*Record, error) {
	d := decision{action: actRun, lineage: sameRun}
	ended := OutcomeInDoubt
	switch {
	case failure == nil:
		ended = OutcomeSettled
	case failure.Class == ClassNotDone:
		d.lineage, ended = afterNotDone(held), OutcomeFailed
	}
	if err := x.mayStart(ctx, held); err != nil {
		return x.keepFailure(ctx, held, failure, err)
	}
	s, err := x.start(ended)
	if err != nil {
		return x.keepFailure(ctx, held, failure, err)
	}
	claim := Claim{Seen: held.Version, Next: begin(held, s, d, clock()), Steal: true}
	x.c.flights.claiming(x.f, s.nonce)
	if failpoint.On {
		failpoint.Hit(failpoint.GuardClaimAgain)
	}
	sctx, cancel := context.WithTimeout(ctx, x.c.opts.StoreTimeout)
	defer cancel()
	r, won, err := x.c.store.Claim(sctx, claim)
	switch {
	case err == nil && won:
		r.Alive = true
		if err := x.mayStart(ctx, &r); err != nil {
			return x.keepFailure(ctx, withFence(held, &r), failure, err)
		}
		x.held = &r
		return &r, nil
	case err == nil:
		x.end(nil)
		return held, x.notRetried(failure, ErrFenced)
	case definite(err):
		return x.keepFailure(ctx, held, failure, unavailable(err))
	}
	// The claim may have landed, or may still: settle it, then write under it what is known.
	x.c.flights.doubt(x.f)
	x.post(&letter{what: "an outcome", outcome: failure != nil, claim: &claim, then: func(r Record) Record {
		return known(withFence(held, &r), failure)
	}})
	return held, x.notRetried(failure, unavailable(err))
}

// notRetried is the error of a call whose next try could not be claimed.
func (x *exec) notRetried(failure *Failure, err error) error {
	if failure == nil {
		return fmt.Errorf("ledger: %s was not started: %w", x.p.id, err)
	}
	if errors.Is(err, ErrFenced) {
		return fmt.Errorf("ledger: %s: %w: it is not tried again: %w", x.p.id, ErrUnrecorded, ErrFenced)
	}
	return unrecorded(x.p.id, "yet; it is kept and sent again, and the call is not tried again", err)
}

// unrecorded is the error of a tool that ran. It must not match ErrUnavailable or
// ErrNotWritten: to a caller these say that nothing happened.
func unrecorded(id ID, what string, cause error) error {
	return fmt.Errorf("ledger: %s: %w %s: %v", id, ErrUnrecorded, what, cause)
}

// known is the record to write for a claim that is not used for another try:
// the last try's failure, or in doubt after a reconciliation.
func known(held *Record, failure *Failure) Record {
	if failure == nil {
		return giveBack(*held, held)
	}
	return finish(*held, ending{failure: failure}, clock())
}

// keepFailure writes what is known when there can be no further try.
func (x *exec) keepFailure(ctx context.Context, held *Record, failure *Failure, cause error) (*Record, error) {
	done := known(held, failure)
	if failure == nil {
		x.settle(ctx, done)
		return &done, fmt.Errorf("ledger: %s was not started: %w", x.p.id, cause)
	}
	err := fmt.Errorf("ledger: %s is not tried again: %v", x.p.id, cause)
	for _, told := range []error{ErrFenced, ErrLeaseLost, ErrClosed} {
		if errors.Is(cause, told) {
			err = fmt.Errorf("ledger: %s is not tried again: %w", x.p.id, told)
		}
	}
	recErr := x.record(ctx, &done)
	if recErr == nil {
		x.c.told(&done)
	}
	return &done, errors.Join(err, recErr)
}

func withFence(held, claimed *Record) *Record {
	with := *held
	with.Fence, with.Nonce = claimed.Fence, claimed.Nonce
	return &with
}

// attempt runs fn once under the claim; lost reports whether the claim may be
// another's by now. A panic or runtime.Goexit in fn is recorded as uncertain and goes on.
func (x *exec) attempt(ctx context.Context, claimed *Record, fn func(context.Context) error) (err error, lost bool) {
	c, p := x.c, x.p
	outer, _ := ctx.Value(frameKey).(*frame)
	info := &ClaimInfo{ID: p.id, Fence: claimed.Fence, Attempt: claimed.Attempt, Token: claimed.Token}
	if failpoint.On && failpoint.Mutant(failpoint.MutantLocalFence) {
		info.Fence = Version(failpoint.Count())
	}
	tctx, cancel := context.Context(toolContext{ctx, info, &frame{p.id, outer}}), x.cancel
	if p.policy.Timeout > 0 {
		var stop context.CancelFunc
		tctx, stop = context.WithTimeout(tctx, p.policy.Timeout)
		defer stop()
		late := time.AfterFunc(p.policy.Timeout+time.Second, func() {
			c.opts.Logger.Warn("ledger: a tool goes on after its Timeout; its claim is held and its caller waits until it returns", "call", p.id, "timeout", p.policy.Timeout)
		})
		defer late.Stop()
	}
	c.flights.stand(x.f, claimed, cancel)
	defer c.underLease(x.f, claimed.Owner.Session)()
	x.stage = stageStarted
	returned := false
	defer func() {
		if returned {
			return
		}
		thrown := recover()
		what := "the tool called runtime.Goexit"
		if thrown != nil {
			what = "the tool panicked: " + sprint(thrown)
			c.opts.Logger.Error("ledger: a tool panicked; the call is in doubt", "call", p.id, "type", fmt.Sprintf("%T", thrown))
		}
		c.flights.stand(x.f, claimed, nil)
		_, _, _ = x.failed(ctx, claimed, &Failure{Message: cut(what), Class: ClassUncertain}, nil)
		if thrown != nil {
			panic(thrown)
		}
	}()
	err = fn(tctx)
	returned = true
	c.flights.stand(x.f, claimed, nil)
	if cause := context.Cause(tctx); err != nil && (cause == ErrLeaseLost || cause == ErrFenced || cause == ErrClosed) {
		err, lost = fmt.Errorf("%w (the context was cancelled: %w)", err, cause), true
	}
	return err, lost
}

// succeeded records that the tool returned no error.
func (x *exec) succeeded(ctx context.Context, claimed *Record) (Record, bool, error) {
	var e ending
	if x.p.policy.keepsResult() {
		e.result = x.t.encode(x.c.opts.MaxResult, &x.c.plain)
		if e.result == nil {
			x.c.opts.Logger.Warn("ledger: a result is not recorded: it does not survive encoding/json, or is too large", "call", x.p.id, "limit", x.c.opts.MaxResult)
		}
	}
	done := finish(x.sealed(*claimed, &e), e, clock())
	err := x.record(ctx, &done)
	if err == nil {
		x.c.told(&done)
	}
	return done, false, err
}

// sealed seals a result, and the arguments of an earlier attempt where those were not.
func (x *exec) sealed(r Record, e *ending) Record {
	sealer := x.c.opts.Sealer
	if sealer == nil {
		if r.Sealed {
			e.result = nil // another worker seals; we can not
		}
		return r
	}
	var err, argsErr error
	if !r.Sealed {
		r.Args, r.Sealed, argsErr = x.c.seal(r.ID, r.Args)
	}
	e.result, _, err = x.c.seal(r.ID, e.result)
	if err = errors.Join(err, argsErr); err != nil {
		e.result = nil
		x.c.opts.Logger.Warn("ledger: a result is not recorded", "call", r.ID, "error", err)
	}
	return r
}

// failed records why the tool did not succeed, and returns err with what
// went wrong in recording.
func (x *exec) failed(ctx context.Context, claimed *Record, failure *Failure, err error) (Record, bool, error) {
	e := ending{failure: failure}
	var mark *classified
	if failure.Class == ClassPermanent && errors.As(err, &mark) && mark.class == failure.Class && x.p.policy.keepsResult() && len(mark.result) <= x.c.opts.MaxResult {
		e.result = mark.result
	}
	r := *claimed
	if e.result != nil {
		r = x.sealed(r, &e)
	}
	done := finish(r, e, clock())
	if recErr := x.record(ctx, &done); recErr != nil {
		if err == nil {
			return done, false, recErr
		}
		return done, false, fmt.Errorf("%w (%w)", err, recErr)
	}
	x.c.told(&done)
	return done, false, err
}

// record writes an outcome in a context of its own: a caller who walked away
// must not erase a done effect. It ends the flight, or leaves that to the outbox. done is written to no more.
func (x *exec) record(ctx context.Context, done *Record) error {
	c := x.c
	mark := c.cache.mark()
	err := c.finish(c.deadlines.without(ctx, c.opts.StoreTimeout), done)
	switch {
	case err == nil:
		c.remember(x.p.sum, done, mark)
		x.end(done)
		return nil
	case errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound):
		c.cache.forget(x.p.sum)
		x.end(nil)
		c.opts.Logger.Error("ledger: an outcome can not be recorded: the call was claimed or changed by another since", "call", done.ID, "outcome", done.State)
		return fmt.Errorf("ledger: %s: %w: %w", done.ID, ErrUnrecorded, ErrFenced)
	}
	if failpoint.On && failpoint.Mutant(failpoint.MutantAmbiguousFinish) {
		done.State, done.Result, done.Error = StateFailed, nil, &Failure{Message: message(err), Class: ClassNotDone}
	}
	c.flights.stand(x.f, done, nil)
	if !x.post(&letter{what: "an outcome", outcome: true, done: *done}) {
		c.opts.Logger.Error("ledger: an outcome is not recorded, and the guard is closed; the call is in doubt", "call", done.ID, "outcome", done.State, "error", err)
		return unrecorded(done.ID, "and the guard is closed: the call will be found in doubt", err)
	}
	c.opts.Logger.Error("ledger: an outcome is not recorded yet; it is kept and sent again", "call", done.ID, "outcome", done.State, "error", err)
	return unrecorded(done.ID, "yet; it is kept and sent again", err)
}

// settle writes what ends a claim without an outcome of a tool.
func (x *exec) settle(ctx context.Context, back Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.c.opts.StoreTimeout)
	defer cancel()
	err := x.c.store.Finish(ctx, back)
	if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound) {
		x.end(nil)
		return
	}
	x.c.flights.doubt(x.f)
	x.post(&letter{what: "a claim to be given back", done: back})
}

// reconcile asks the downstream, under the claim, whether the call in doubt
// happened; then records it or runs the tool.
func (x *exec) reconcile(ctx context.Context, claimed *Record) (Record, bool, error) {
	c, p := x.c, x.p
	asked, err := c.open(*claimed)
	var v Verdict
	if err == nil {
		told := claimed
		if failpoint.On && failpoint.Mutant(failpoint.MutantReconcileUnsealed) {
			told = withFence(claimed, x.seen)
			asked.Fence = x.seen.Fence
		}
		if failpoint.On {
			failpoint.Hit(failpoint.GuardReconciling)
		}
		err, _ = x.attempt(ctx, told, func(ctx context.Context) (err error) {
			v, err = p.policy.Reconcile(ctx, asked)
			return err
		})
		if failpoint.On {
			failpoint.Hit(failpoint.GuardReconciled)
		}
	}
	if err != nil || !v.known {
		back := giveBack(*claimed, x.seen)
		x.settle(ctx, back)
		if err == nil {
			err = errors.New("the downstream does not know")
		}
		return back, false, fmt.Errorf("%w: reconcile: %w", x.block(&back, ErrInDoubt), err)
	}
	if !v.happened {
		next, err := x.claimAgain(ctx, claimed, nil)
		if err != nil {
			return *next, false, err
		}
		return x.attempts(ctx, next)
	}
	x.stage = stageDone
	e := ending{settled: &Settlement{How: ResolveHappened.String(), By: "reconcile", At: clock()}}
	if p.policy.keepsResult() && v.result != nil {
		if len(v.result) <= c.opts.MaxResult && x.t.fits(v.result) {
			e.result = v.result
		} else {
			c.opts.Logger.Warn("ledger: a reconciled result is not recorded: it does not decode into the tool's result, or is too large", "call", p.id, "limit", c.opts.MaxResult)
		}
	}
	done := finish(x.sealed(*claimed, &e), e, clock())
	if err := x.record(ctx, &done); err != nil {
		return done, false, err
	}
	c.told(&done)
	q := p.ask(&done, p.policy.keepsResult()) // this caller stands for the run: it takes its result
	switch d := decide(&done, q, clock()); d.action {
	case actReplay:
		r, _, err := x.replayed(&done)
		return x.answer(r, err)
	case actBlock:
		return done, false, x.block(&done, d.reason)
	default:
		return done, false, x.block(&done, ErrDuplicate)
	}
}

// doUnlimited runs a tool that is only counted.
func (c *core) doUnlimited(ctx context.Context, p *prepared, t tool) (Record, bool, error) {
	n := Tally{ID: p.id, Attempts: 1}
	r := Record{ID: p.id, Owner: Owner{Caller: p.caller}, Started: clock()}
	returned := false
	defer func() {
		if !returned {
			c.tallies.add(n)
		}
	}()
	var pauses Backoff
	for {
		tctx, cancel := context.Context(toolContext{ctx, nil, nil}), context.CancelFunc(func() {})
		if p.policy.Timeout > 0 {
			tctx, cancel = context.WithTimeout(tctx, p.policy.Timeout)
		}
		err := func() error { defer cancel(); return t.call(tctx) }()
		r.Finished = clock()
		if err == nil {
			returned, n.Executed = true, 1
			c.tallies.add(n)
			c.tell("ledger: done", &r, c.opts.OnSuccess)
			return r, false, nil
		}
		class, stop := c.classOf(err, p.policy)
		pause := time.Duration(-1)
		if p.policy.Backoff != nil && !stop && ctx.Err() == nil {
			pause = c.pause(&pauses, p.policy)
		}
		if pause >= 0 {
			if sleep(ctx, pause); ctx.Err() == nil {
				n.Attempts++
				continue
			}
		}
		returned = true
		c.tallies.add(n)
		r.Error = &Failure{Message: message(err), Class: class}
		c.tell("ledger: failed", &r, c.opts.OnFailure)
		return r, false, err
	}
}

// pause asks the policy's Backoff for the next pause; negative: none.
func (c *core) pause(b *Backoff, p *compiled) time.Duration {
	pause := time.Duration(-1)
	c.harmless("Backoff", func() {
		if *b == nil {
			if *b = p.Backoff(); *b == nil {
				return
			}
			(*b).Reset()
		}
		pause = (*b).NextBackOff()
	})
	return pause
}

// classOf is classOf of errors.go; an error or Classify that panics tells nothing.
func (c *core) classOf(err error, p *compiled) (class Class, stop bool) {
	if failpoint.On && failpoint.Mutant(failpoint.MutantTimeoutIsFailed) && errors.Is(err, context.DeadlineExceeded) {
		return ClassNotDone, false
	}
	c.harmless("Classify", func() { class, stop = classOf(err, p.Classify) })
	return class, stop
}

// sprint is for values whose methods may panic.
func sprint(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("a value of type %T", v)
		}
	}()
	return fmt.Sprint(v)
}

// message is what a record keeps of an error.
func message(err error) string { return cut(sprint(err)) }

func cut(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
