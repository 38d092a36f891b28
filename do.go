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

// recall returns what this process remembers of the call, if that answers it:
// blocked or replayed, without the store. nil: the store has to be asked.
func (c *core) recall(p *prepared) (*Record, decision) {
	if p.policy.Unlimited {
		return nil, decision{}
	}
	now := time.Now()
	r := c.cache.get(p.sum, now)
	if r == nil {
		return nil, decision{}
	}
	d := decide(r, p.ask(r, false), now)
	if d.action != actBlock && d.action != actReplay {
		return nil, decision{}
	}
	return r, d
}

// blocked counts a call that must not run and tells of it.
func (c *core) blocked(p *prepared, r *Record, reason error) *BlockedError {
	c.tallies.add(Tally{ID: r.ID, Attempts: 1, Blocked: 1})
	b := &BlockedError{Record: *r, Reason: reason, ArgsDiffer: p.argsDiffer(r)}
	c.tellBlocked(b)
	return b
}

// exec is one call on its way.
type exec struct {
	c       *core
	p       *prepared
	t       tool
	arrived time.Time
	cancel  context.CancelCauseFunc // of the call
	waited  bool                    // for another caller's run: its result is this call's answer
	stored  []byte                  // what the record keeps of the arguments, once there was a claim
	verdict *BlockedError

	f     *flight // ours, once we have one
	over  bool    // the flight is ended, or the outbox's
	held  *Record // the claim, while the tool runs or may run
	seen  *Record // before the first claim
	stage stage
}

// A stage is how far a call with a claim has come.
type stage uint8

const (
	stageClaimed stage = iota // nothing was started
	stageStarted              // the tool, or a reconciliation
	stageDone                 // the tool returned no error
)

// end ends the flight; outcome is what stands now, nil if that is not known.
func (x *exec) end(outcome *Record) {
	x.over = true
	x.c.flights.end(x.f, outcome)
}

// post hands the flight to the outbox. It returns false if the guard was
// closed and the letter could not be sent any more.
func (x *exec) post(l *letter) bool {
	x.over = true
	l.flight = x.f
	return x.c.outbox.post(l)
}

// block is the answer to a call that must not run.
func (x *exec) block(r *Record, reason error) *BlockedError {
	x.verdict = x.c.blocked(x.p, r, reason)
	return x.verdict
}

// do carries out a call that recall did not answer.
func (x *exec) do(ctx context.Context, force bool) (Record, bool, error) {
	c, p := x.c, x.p
	if !x.t.valid() {
		return Record{}, false, fmt.Errorf("ledger: %s: %w: %w", p.id.Tool, ErrInvalid, errNoTool)
	}
	ctx, v, err := c.enter(ctx)
	if err != nil {
		return Record{}, false, err
	}
	defer c.leave(v)
	x.cancel = v.cancel
	if p.policy.Unlimited {
		return c.doUnlimited(ctx, p, x.t)
	}
	p.identify()
	if ctx.Err() != nil {
		return Record{}, false, x.notStarted(ctx, nil)
	}
	if force {
		return x.force(ctx)
	}
	return x.once(ctx)
}

// once decides and claims until there is an answer.
func (x *exec) once(ctx context.Context) (Record, bool, error) {
	c, p := x.c, x.p
	seen := c.cache.get(p.sum, clock())
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
			if within(ctx, p.id) { // a tool that calls itself would wait for itself
				return stands, true, x.block(stands, ErrInProgress)
			}
			ended, err := x.waitFor(ctx, f, x.patience())
			if err != nil {
				return nil, false, err
			}
			if !ended {
				if again, _, _ := c.flights.look(f); again != stands {
					continue
				}
				return stands, true, x.block(stands, ErrInProgress)
			}
			_, _, outcome = c.flights.look(f)
			x.waited = outcome != nil
			return outcome, false, nil
		case actBlock:
			return stands, true, x.block(stands, d.reason)
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
	var outcome *Record
	defer func() {
		if !x.over {
			x.end(outcome)
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
			return *seen, false, x.block(seen, d.reason)
		case actWait:
			r, waited, err := x.waitRemotely(ctx, seen)
			if err != nil {
				return Record{}, false, err
			}
			if !waited {
				return *seen, false, x.block(seen, ErrInProgress)
			}
			seen, x.waited = r, true
			continue
		}
		mark := c.cache.mark()
		claimed, won, err := x.claim(ctx, seen, d, OutcomeLost, false)
		switch {
		case err != nil:
			return Record{}, false, err
		case won:
			return x.run(ctx, claimed, seen, d)
		}
		seen = claimed
		if seen.State == StateNone { // removed in the meantime, says a careless store
			seen = nil
		}
		c.remember(p.sum, seen, mark)
	}
	return Record{}, false, fmt.Errorf("ledger: %s was not started: %w: its record changed %d times while it was being claimed; try again", p.id, ErrUnavailable, maxRounds)
}

// claim sends one claim. It returns the record that stands, and whether it is
// the claim's. A claim whose answer is unknown goes to the outbox, with the flight.
func (x *exec) claim(ctx context.Context, seen *Record, d decision, ended Outcome, steal bool) (_ *Record, won bool, _ error) {
	c, p := x.c, x.p
	if c.outbox.full() {
		return nil, false, fmt.Errorf("ledger: %s was not started: %w: %d outcomes wait to be recorded", p.id, ErrUnavailable, c.opts.MaxUnrecorded)
	}
	s, err := x.start(ended)
	if err != nil {
		return nil, false, err
	}
	claim := Claim{Next: begin(seen, s, d, clock()), Steal: steal}
	if seen != nil {
		claim.Seen = seen.Version
	}
	c.flights.claiming(x.f, s.nonce)
	within := &timeout{Context: ctx, deadline: time.Now().Add(c.opts.StoreTimeout)}
	defer within.end()
	r, won, err := c.store.Claim(within, claim)
	if err == nil {
		if won {
			r.Alive = true
			c.watch()
			c.cache.forget(p.sum)
		}
		return &r, won, nil
	}
	if !definite(err) {
		c.flights.doubt(x.f)
		lost := claim // in memory of its own
		x.post(&letter{what: "a claim to be given back", claim: &lost, then: func(claimed Record) Record { return giveBack(claimed, seen) }})
	}
	return nil, false, x.notStarted(ctx, err)
}

// notStarted is the error of a call whose tool did not run; err may be nil where ctx has ended.
func (x *exec) notStarted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("ledger: %s was not started: %w", x.p.id, cause)
	}
	return fmt.Errorf("ledger: %s was not started: %w", x.p.id, unavailable(err))
}

// unavailable makes a store's error match ErrUnavailable, unless it tells more.
func unavailable(err error) error {
	for _, e := range []error{nil, ErrUnavailable, ErrInvalid, ErrNotFound, ErrRunning, ErrFenced} {
		if errors.Is(err, e) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
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
		told := x.awaitChange(wctx, seen.Version, pause)
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
		if told && r.Version == seen.Version {
			sleep(wctx, jittered(pause)) // a watch that tells too much must not make this spin
		}
		seen = &r
	}
}

// awaitChange returns when the record may have changed, or after a while; told: a watch said so.
func (x *exec) awaitChange(ctx context.Context, seen Version, pause time.Duration) (told bool) {
	if x.c.watcher == nil {
		sleep(ctx, jittered(pause))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, jittered(pollNet))
	defer cancel()
	err := x.c.watcher.Await(ctx, x.p.id, seen)
	if err != nil && ctx.Err() == nil {
		sleep(ctx, jittered(pause))
	}
	return err == nil
}

func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}

// replayed answers with the recorded result.
func (x *exec) replayed(r *Record) (*Record, bool, error) {
	if x.verdict = x.c.replay(x.p, x.t, r); x.verdict != nil {
		return r, true, x.verdict
	}
	return r, true, nil
}

// replay decodes the recorded result into the tool's value. It returns a
// BlockedError if that can not be done.
func (c *core) replay(p *prepared, t tool, r *Record) *BlockedError {
	readable, err := *r, error(nil)
	if r.Sealed {
		readable, err = c.open(*r)
	}
	if err == nil {
		err = t.decode(readable.Result)
	}
	if err != nil {
		c.opts.Logger.Warn("ledger: a recorded result can not be replayed: it does not decode into the tool's result, or can not be unsealed", "call", r.ID)
		return c.blocked(p, r, ErrResultOmitted)
	}
	c.tallies.add(Tally{ID: r.ID, Attempts: 1, Blocked: 1})
	c.tellReplayed(p, r)
	return nil
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
	defer func() {
		if !x.over { // it did not get to run: what runs here can be told of again
			c.flights.restore(f, old)
			x.end(nil)
		}
	}()
	for range maxRounds {
		r, err := c.get(ctx, p.id)
		seen := &r
		if errors.Is(err, ErrNotFound) {
			seen, err = nil, nil
		}
		if err != nil {
			return Record{}, false, x.notStarted(ctx, err)
		}
		ended := OutcomeForced
		if seen != nil && !seen.Alive {
			ended = OutcomeLost
		}
		d := decision{action: actRun, lineage: newRun}
		claimed, won, err := x.claim(ctx, seen, d, ended, true)
		if err != nil {
			return Record{}, false, err
		}
		if won {
			if old != nil {
				c.flights.seen(old, claimed, claimed.Fence-1)
			}
			return x.run(ctx, claimed, seen, d)
		}
	}
	return Record{}, false, fmt.Errorf("ledger: %s was not started: %w: its record changed %d times while it was being forced", p.id, ErrUnavailable, maxRounds)
}
