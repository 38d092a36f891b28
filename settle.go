package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// A Resolution settles a call in doubt.
type Resolution struct {
	As     ResolveAs
	Result json.RawMessage // of ResolveHappened, for replays; nil: not known
	By     string          // who decided
	Reason string
	// Keep makes ResolveForget leave a record of who forgot the call and why, until it runs again: without its key, arguments,
	// error and attempts, and with nothing that counts against Policy.Max. Defaults to false, the record is removed.
	Keep bool
	// Steal settles a call also while its owner lives, by taking its claim over as Force does: the tool's context
	// is cancelled with ErrFenced, and what it returns is not recorded. A tool that ignores its context goes on, and its effect may
	// happen after it was settled. Defaults to false, ErrRunning.
	Steal bool
}

// ResolveAs is what a person or program found out about a call in doubt.
type ResolveAs uint8

// What can be found out.
const (
	ResolveHappened     ResolveAs = iota + 1 // recorded as succeeded
	ResolveDidNotHappen                      // recorded as failed; the next call runs, as another run
	ResolveForget                            // the record is removed, or emptied (Resolution.Keep); the next call runs, as another run
)

var resolveNames = [...]string{"", "happened", "did_not_happen", "forget"}

// String returns "happened", "did_not_happen" or "forget".
func (a ResolveAs) String() string { return enumName(resolveNames[:], uint8(a)) }

// ID returns the identity that the call has in this guard, for Resolve and for reading a store.
func (g *Guard) ID(ctx context.Context, call Call) (ID, error) {
	p, err := g.prepare(ctx, &call)
	if err == nil && !p.policy.Unlimited {
		p.identify()
	}
	p.release()
	return p.id, err
}

// Retry forgets the call, with its counts: the next one runs, with a new
// token. A call that is not recorded is no error. It returns ErrRunning while the call runs.
func (g *Guard) Retry(ctx context.Context, call Call) error {
	id, err := g.ID(ctx, call)
	if err != nil {
		return err
	}
	g.flushFirst(ctx)
	for range maxRounds {
		r, err := g.get(ctx, id)
		if errors.Is(err, ErrNotFound) {
			g.cache.noticed(id)
			g.tallies.forget(id)
			return nil
		}
		if err == nil {
			err = g.delete(ctx, r)
		}
		switch {
		case err == nil || errors.Is(err, ErrNotFound):
			return nil
		case !errors.Is(err, ErrFenced):
			return fmt.Errorf("ledger: retry %s: %w", id, unavailable(err))
		}
	}
	return fmt.Errorf("ledger: retry %s: %w: its record keeps changing; try again", id, ErrUnavailable)
}

func (c *core) get(ctx context.Context, id ID) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	return c.store.Get(ctx, id)
}

func (c *core) delete(ctx context.Context, r Record) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	defer c.cache.noticed(r.ID)
	err := c.store.Delete(ctx, r.ID, r.Version)
	if err == nil || errors.Is(err, ErrNotFound) {
		c.tallies.forget(r.ID)
	}
	return err
}

// flushFirst writes counts before something is deleted: those on their way would
// count for what comes after it. It may fail: a store without space takes
// deletions alone, and needs them; what is deleted then is forgotten with the counts that wait.
func (c *core) flushFirst(ctx context.Context) {
	within := c.opts.StoreTimeout
	if end, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(end)/2) // the deletion needs the rest
	}
	fctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := c.tallies.flush(fctx); err != nil {
		c.opts.Logger.Debug("ledger: counts are not written before a deletion", "error", err)
	}
}

// Resolve settles the call in doubt: it claims it, so that nobody runs it
// meanwhile, then records the resolution with who and why. It returns
// ErrNotFound, ErrRunning while its owner lives (unless res.Steal), and ErrInvalid for a call that is not in doubt.
func (g *Guard) Resolve(ctx context.Context, id ID, res Resolution) (Record, error) {
	r, err := g.resolve(ctx, id, res)
	if err != nil {
		return r, fmt.Errorf("ledger: resolve %s: %w", id, err)
	}
	return r, nil
}

func (g *Guard) resolve(ctx context.Context, id ID, res Resolution) (Record, error) {
	switch {
	case res.As < ResolveHappened || res.As > ResolveForget:
		return Record{}, fmt.Errorf("%w: As is %d; use ResolveHappened, ResolveDidNotHappen or ResolveForget", ErrInvalid, res.As)
	case res.Result != nil && (res.As != ResolveHappened || !json.Valid(res.Result)):
		return Record{}, fmt.Errorf("%w: Result must be JSON, and goes with ResolveHappened only", ErrInvalid)
	case res.Keep && res.As != ResolveForget:
		return Record{}, fmt.Errorf("%w: Keep goes with ResolveForget only", ErrInvalid)
	case len(res.Result) > g.opts.MaxResult:
		return Record{}, fmt.Errorf("%w: Result has %d bytes; at most %d are allowed", ErrInvalid, len(res.Result), g.opts.MaxResult)
	case len(res.By)+len(res.Reason) > maxMessage:
		return Record{}, fmt.Errorf("%w: By and Reason may have %d bytes together", ErrInvalid, maxMessage)
	}
	ctx, v, err := g.enter(ctx)
	if err != nil {
		return Record{}, err
	}
	defer g.leave(v)
	for range maxRounds {
		seen, err := g.get(ctx, id)
		if err != nil {
			return seen, unavailable(err)
		}
		ended := OutcomeLost
		switch seen.Status() {
		case StateRunning:
			if !res.Steal {
				return seen, ErrRunning
			}
			ended = OutcomeForced
		case StateInDoubt:
		default:
			return seen, fmt.Errorf("%w: it is %s; only a call in doubt can be settled (Retry forgets any)", ErrInvalid, seen.Status())
		}
		s := start{id: id, caller: g.caller, inDoubt: seen.InDoubt, token: rand.Text(), nonce: rand.Text(), ended: ended}
		// A claim that starts no attempt, as for a reconciliation.
		claim := Claim{Seen: seen.Version, Next: begin(&seen, s, decision{action: actReconcile}, clock()), Steal: ended == OutcomeForced}
		claimed, won, err := g.claimToSettle(ctx, claim, &seen)
		if err != nil {
			return seen, err
		}
		if !won {
			continue
		}
		e := ending{result: res.Result}
		x := &exec{c: g.core}
		claimed = x.sealed(claimed, &e)
		res.Result = e.result
		if failpoint.On {
			failpoint.Hit(failpoint.GuardResolving)
		}
		done, _ := settle(claimed, res, clock())
		if err := g.finishToSettle(ctx, done); err != nil {
			return done, err
		}
		g.cache.noticed(id)
		return done, nil
	}
	return Record{}, fmt.Errorf("%w: its record keeps changing; try again", ErrUnavailable)
}

// claimToSettle sends the claim until its answer is definite or ctx ends. Left
// behind, it is a claim of a living worker in the eyes of others, so it is not left.
func (c *core) claimToSettle(ctx context.Context, claim Claim, seen *Record) (Record, bool, error) {
	sctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	r, won, err := c.store.Claim(sctx, claim)
	if err != nil && !definite(err) {
		c.outbox.post(&letter{flight: c.flights.detached(seen.ID), what: "a claim to be given back", claim: &claim,
			then: func(claimed Record) Record { return giveBack(claimed, seen) }})
	}
	return r, won, unavailable(err)
}

func (c *core) finishToSettle(ctx context.Context, done Record) error {
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.StoreTimeout)
	defer cancel()
	err := c.store.Finish(sctx, done)
	if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound) {
		return err
	}
	if !c.outbox.post(&letter{flight: c.flights.detached(done.ID), what: "a resolution", outcome: true, done: done}) {
		return fmt.Errorf("%w, and the guard is closed: %v", ErrUnrecorded, err)
	}
	return fmt.Errorf("%w yet; it is kept and sent again: %v", ErrUnrecorded, err)
}

// Reset deletes the records that match, with their counts, and returns how
// many. Calls that are running stay; they are reported by ErrRunning with their number. An empty
// filter is refused with ErrInvalid unless All is set.
func (g *Guard) Reset(ctx context.Context, f Filter) (int, error) {
	if f.empty() && !f.All {
		return 0, fmt.Errorf("ledger: reset: %w: the filter is empty; set All to delete every record", ErrInvalid)
	}
	if g.closed.Load() {
		return 0, fmt.Errorf("ledger: reset: %w: this guard takes no more calls", ErrClosed)
	}
	g.flushFirst(ctx)
	deleted, running := 0, 0
	for r, err := range g.store.List(ctx, f) {
		if err != nil {
			return deleted, fmt.Errorf("ledger: reset: %w", unavailable(err))
		}
		switch err := g.delete(ctx, r); {
		case err == nil:
			deleted++
		case errors.Is(err, ErrRunning):
			running++
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrFenced): // it changed since: it is not what was listed
		default:
			return deleted, fmt.Errorf("ledger: reset: %w", unavailable(err))
		}
	}
	if running > 0 {
		return deleted, fmt.Errorf("ledger: reset: %w: %d calls were left", ErrRunning, running)
	}
	return deleted, nil
}

func (f *Filter) empty() bool {
	return f.Workflow == "" && f.Tool == "" && f.Caller == "" && f.Key == "" && f.Fingerprint == "" && len(f.States) == 0 &&
		f.Since.IsZero() && f.Until.IsZero() && f.After == (ID{})
}
