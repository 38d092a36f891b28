package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ledger-once/ledger/fingerprint"
)

// maxRounds bounds how often a call decides anew because the record changed
// between its decision and its claim.
const maxRounds = 100

// blockedLocally answers a duplicate of a call that this process has seen
// finish, without the store; nil: the store has to be asked, or it is a replay.
func (g *Guard) blockedLocally(p *prepared) *BlockedError {
	if p.policy.Unlimited {
		return nil
	}
	now := time.Now()
	r := g.cache.get(p.sum, now)
	if r == nil {
		return nil
	}
	d := decide(r, p.ask(r, false), now)
	if d.action != actBlock {
		return nil
	}
	return g.blocked(p, r, d.reason)
}

// blocked counts a call that must not run and tells of it.
func (c *core) blocked(p *prepared, r *Record, reason error) *BlockedError {
	c.tallies.add(Tally{ID: r.ID, Attempts: 1, Blocked: 1})
	b := &BlockedError{Record: *r, Reason: reason, ArgsDiffer: p.argsDiffer(r)}
	c.tellBlocked(b, false)
	return b
}

// do carries out a call that blockedLocally did not settle.
func (c *core) do(ctx context.Context, p prepared, t tool, force bool) (Record, bool, error) {
	if !t.valid() {
		return Record{}, false, fmt.Errorf("ledger: %s: %w: %w", p.id.Tool, ErrInvalid, errNoTool)
	}
	if err := c.enter(); err != nil {
		return Record{}, false, err
	}
	defer c.leave()
	if p.policy.Unlimited {
		return c.doUnlimited(ctx, &p, t)
	}
	if err := p.identify(); err != nil {
		return Record{}, false, err
	}
	if err := ctx.Err(); err != nil {
		return Record{}, false, fmt.Errorf("ledger: %s was not started: %w", p.id, err)
	}
	if c.outbox.full() {
		return Record{}, false, fmt.Errorf("ledger: %s was not started: %w: %d outcomes wait to be recorded", p.id, ErrUnavailable, c.opts.MaxUnrecorded)
	}
	x := &exec{c: c, p: &p, t: t, arrived: time.Now()}
	if force {
		return x.force(ctx)
	}
	return x.once(ctx)
}

// exec is one call on its way.
type exec struct {
	c       *core
	p       *prepared
	t       tool
	f       *flight // ours, once we have one
	arrived time.Time
	stored  []byte // what the record keeps of the arguments, once there was a claim
	waited  bool   // for another caller's run: its result is this call's answer
}

// once decides and claims until there is an answer.
func (x *exec) once(ctx context.Context) (Record, bool, error) {
	c, p := x.c, x.p
	now := clock()
	seen := c.cache.get(p.sum, now)
	if seen != nil && decide(seen, p.ask(seen, false), now).action == actReplay {
		r, _, err := x.replayed(seen)
		return x.answer(r, err)
	}
	for {
		f, mine := c.flights.join(p.sum, p.id)
		if mine {
			x.f = f
			return x.lead(ctx, seen)
		}
		r, answered, err := x.follow(ctx, f)
		if answered || err != nil {
			return x.answer(r, err)
		}
		seen = r
	}
}

// answer completes a call that does not run.
func (x *exec) answer(r *Record, err error) (Record, bool, error) {
	if r == nil {
		return Record{}, false, err
	}
	return *r, err == nil, err
}

// follow looks at another local flight of the same call. It returns what is
// known when that is over: the record, whether it answers the call, and an error.
func (x *exec) follow(ctx context.Context, f *flight) (*Record, bool, error) {
	c, p := x.c, x.p
	select {
	case <-f.known:
	case <-ctx.Done():
		return nil, false, x.gaveUp(ctx)
	}
	for {
		stands, unsure, outcome := c.flights.look(f)
		switch {
		case unsure:
			ended, err := x.waitFor(ctx, f, c.opts.StoreTimeout)
			if err != nil {
				return nil, false, err
			}
			if !ended {
				return nil, false, fmt.Errorf("ledger: %s was not started: %w: an earlier claim of it is not settled yet", p.id, ErrUnavailable)
			}
			return nil, false, nil
		case stands == nil:
			return outcome, false, nil // it ended without running; decide anew
		}
		d := decide(stands, p.ask(stands, x.waited), clock())
		switch d.action {
		case actReplay:
			return x.replayed(stands)
		case actWait:
			if own, ok := ctx.Value(claimKey).(*ClaimInfo); ok && own != nil && own.ID == p.id {
				return nil, true, c.blocked(p, stands, ErrInProgress) // a tool that calls itself would wait for itself
			}
			ended, err := x.waitFor(ctx, f, x.patience())
			if err != nil {
				return nil, false, err
			}
			if !ended {
				if again, _, _ := c.flights.look(f); again != stands {
					continue
				}
				return stands, true, c.blocked(p, stands, ErrInProgress)
			}
			_, _, outcome = c.flights.look(f)
			x.waited = outcome != nil
			return outcome, false, nil
		case actBlock:
			return stands, true, c.blocked(p, stands, d.reason)
		default:
			// The outcome is known here but not recorded, and would let the call
			// run again: that needs the record first.
			ended, err := x.waitFor(ctx, f, c.opts.StoreTimeout)
			if err != nil || ended {
				return nil, false, err
			}
			return nil, false, fmt.Errorf("ledger: %s was not started: %w: the outcome of its last attempt is not recorded yet", p.id, ErrUnavailable)
		}
	}
}

// patience is what is left of the policy's Wait.
func (x *exec) patience() time.Duration { return x.p.policy.Wait - time.Since(x.arrived) }

func (x *exec) gaveUp(ctx context.Context) error {
	return fmt.Errorf("ledger: %s was not started: waiting for another caller's run of it: %w", x.p.id, context.Cause(ctx))
}

func (x *exec) waitFor(ctx context.Context, f *flight, d time.Duration) (ended bool, err error) {
	if d <= 0 {
		return false, nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.done:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, x.gaveUp(ctx)
	}
}

// lead asks the store: this caller has the flight. seen is what is known of the record.
func (x *exec) lead(ctx context.Context, seen *Record) (Record, bool, error) {
	c, p := x.c, x.p
	over := false
	var outcome *Record
	defer func() {
		if !over {
			c.flights.end(x.f, outcome)
		}
	}()
	for range maxRounds {
		now := clock()
		d := decide(seen, p.ask(seen, x.waited), now)
		switch d.action {
		case actReplay:
			outcome = seen
			r, _, err := x.replayed(seen)
			return x.answer(r, err)
		case actBlock:
			outcome = seen
			return *seen, false, c.blocked(p, seen, d.reason)
		case actWait:
			r, waited, err := x.waitRemotely(ctx, seen)
			if err != nil {
				return Record{}, false, err
			}
			if !waited {
				return *seen, false, c.blocked(p, seen, ErrInProgress)
			}
			seen, x.waited = r, true
			continue
		}
		mark := c.cache.mark()
		claimed, won, posted, err := x.claim(ctx, seen, d, OutcomeLost, false)
		switch {
		case err != nil:
			over = posted
			return Record{}, false, err
		case won:
			over = true
			return x.run(ctx, claimed, seen, d)
		}
		seen = &claimed
		if seen.State == StateNone { // removed in the meantime, says a careless store
			seen = nil
		}
		c.remember(p.sum, seen, mark)
	}
	return Record{}, false, fmt.Errorf("ledger: %s was not started: %w: its record changed %d times while it was being claimed; try again", p.id, ErrUnavailable, maxRounds)
}

// claim sends one claim. It returns the record that stands, and whether it is
// the claim's. A claim whose answer is unknown is posted to the outbox, which then ends the flight.
func (x *exec) claim(ctx context.Context, seen *Record, d decision, ended Outcome, steal bool) (_ Record, won, posted bool, _ error) {
	c, p := x.c, x.p
	s, err := x.start(ended)
	if err != nil {
		return Record{}, false, false, err
	}
	claim := Claim{Next: begin(seen, s, d, clock()), Steal: steal}
	if seen != nil {
		claim.Seen = seen.Version
	}
	c.flights.claiming(x.f, s.nonce)
	sctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	r, won, err := c.store.Claim(sctx, claim)
	if err == nil {
		if won {
			r.Alive = true
			c.watch()
			c.cache.forget(p.sum)
		}
		return r, won, false, nil
	}
	if posted = !definite(err); posted {
		c.flights.doubt(x.f)
		c.outbox.post(&letter{flight: x.f, claim: &claim, then: func(claimed Record) (Record, bool) { return giveBack(claimed, seen), false }})
	}
	return Record{}, false, posted, x.notStarted(ctx, err)
}

func (x *exec) notStarted(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("ledger: %s was not started: %w", x.p.id, err)
}

// waitRemotely waits for a run in another process to end. It returns the
// record that stands then (nil: none), or false when patience ends.
func (x *exec) waitRemotely(ctx context.Context, seen *Record) (*Record, bool, error) {
	c, p := x.c, x.p
	if x.patience() <= 0 {
		return nil, false, nil
	}
	c.flights.stand(x.f, seen, nil)
	wctx, cancel := context.WithTimeout(ctx, x.patience())
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		x.awaitChange(wctx, seen.Version, pause)
		pause = min(2*pause, time.Second)
		if ctx.Err() != nil {
			return nil, false, x.gaveUp(ctx)
		}
		gctx, gcancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
		r, err := c.store.Get(gctx, p.id)
		gcancel()
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, true, nil
		case err != nil:
			return nil, false, x.notStarted(ctx, err)
		case r.Status() != StateRunning:
			return &r, true, nil
		case wctx.Err() != nil:
			return nil, false, nil
		}
		seen = &r
	}
}

// awaitChange returns when the record may have changed, or after a while.
func (x *exec) awaitChange(ctx context.Context, seen Version, pause time.Duration) {
	jitter := 0.75 + rand.Float64()/2
	if x.c.watcher == nil {
		sleep(ctx, time.Duration(float64(pause)*jitter))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(float64(pollNet)*jitter))
	defer cancel()
	if err := x.c.watcher.Await(ctx, x.p.id, seen); err != nil && ctx.Err() == nil {
		sleep(ctx, time.Duration(float64(pause)*jitter))
	}
}

// replayed answers with the recorded result.
func (x *exec) replayed(r *Record) (*Record, bool, error) {
	readable, err := x.c.open(*r)
	if err == nil {
		err = x.t.decode(readable.Result)
	}
	if err != nil {
		x.c.opts.Logger.Warn("ledger: a recorded result can not be replayed", "call", r.ID, "error", err)
		return r, true, x.c.blocked(x.p, r, ErrResultOmitted)
	}
	x.c.tallies.add(Tally{ID: r.ID, Attempts: 1, Blocked: 1})
	x.c.tellBlocked(&BlockedError{Record: *r, Reason: ErrDuplicate, ArgsDiffer: x.p.argsDiffer(r)}, true)
	return r, true, nil
}

// remember keeps a finished record.
func (c *core) remember(sum fingerprint.Sum, r *Record, mark uint64) {
	c.watch()
	c.cache.add(sum, r, mark)
}

// watch follows what others do to records that are remembered or running here.
func (c *core) watch() {
	if c.watcher == nil || c.watches.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.watches.Load() {
		c.watches.Store(c.goBackground(c.watchNotices))
	}
}

// force claims whatever stands, and runs.
func (x *exec) force(ctx context.Context) (Record, bool, error) {
	c, p := x.c, x.p
	f, old := c.flights.replace(p.sum, p.id)
	x.f = f
	for range maxRounds {
		gctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
		r, err := c.store.Get(gctx, p.id)
		cancel()
		seen := &r
		if errors.Is(err, ErrNotFound) {
			seen, err = nil, nil
		}
		if err != nil {
			c.flights.end(f, nil)
			return Record{}, false, x.notStarted(ctx, err)
		}
		d := decision{action: actRun, lineage: newRun}
		ended := OutcomeForced
		if seen != nil && !seen.Alive {
			ended = OutcomeLost
		}
		claimed, won, posted, err := x.claim(ctx, seen, d, ended, true)
		if err != nil {
			if !posted {
				c.flights.end(f, nil)
			}
			return Record{}, false, err
		}
		if won {
			if old != nil {
				c.flights.abort(old, ErrFenced)
			}
			return x.run(ctx, claimed, seen, d)
		}
	}
	c.flights.end(f, nil)
	return Record{}, false, fmt.Errorf("ledger: %s was not started: %w: its record changed %d times while it was being forced", p.id, ErrUnavailable, maxRounds)
}
