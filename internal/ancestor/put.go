package ancestor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

// caller marks a claim of an import, so that one which was cut short is known.
const caller = "ledger import"

// Stands reports whether r is a record of its own, before which an import steps back; not
// what an import left behind that was cut short between claim and finish.
func Stands(r *ledger.Record) bool {
	return r.State != ledger.StateRunning || r.Alive || r.Owner.Caller != caller || r.InDoubt != ledger.DoubtBlock
}

// Put writes c, unless a record of the call stands: that one wins. It reports whether it
// wrote. After an error of it the call is not written, or written as in doubt and blocked, and putting it again is right.
func Put(ctx context.Context, store ledger.Store, c Carried) (wrote bool, err error) {
	next := c.Record
	next.State, next.Nonce, next.InDoubt, next.Owner.Caller = ledger.StateRunning, rand.Text(), ledger.DoubtBlock, caller
	next.Error, next.Result, next.ResultOmitted, next.Finished = nil, nil, false, time.Time{}
	claim := ledger.Claim{Next: next}
	for range 2 {
		claimed, won, err := store.Claim(ctx, claim)
		switch {
		case err != nil:
			return false, fmt.Errorf("import %s: %w", next.ID, err)
		case !won && Stands(&claimed):
			return false, nil
		case !won:
			claim.Seen = claimed.Version
			continue
		}
		done := c.Record
		done.Version, done.Fence, done.Nonce = claimed.Version, claimed.Fence, claimed.Nonce
		done.Log = []ledger.Attempt{{Fence: done.Fence, Owner: done.Owner, Started: done.Started, Ended: done.Finished, Outcome: ledger.Outcome(done.State)}}
		if err := store.Finish(ctx, done); err != nil {
			return false, fmt.Errorf("import %s: %w", next.ID, err)
		}
		if c.Counts.Attempts == 0 && c.Counts.Blocked == 0 {
			return true, nil
		}
		if err := store.Tally(ctx, []ledger.Tally{c.Counts}); err != nil {
			return true, fmt.Errorf("import %s: its counts: %w", next.ID, err)
		}
		return true, nil
	}
	return false, fmt.Errorf("import %s: %w", next.ID, errors.New("another import writes the same call; let it end, then run this again"))
}
