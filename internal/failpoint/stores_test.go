//go:build failpoint

package failpoint_test

import (
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// storeMutants are the mutants that break both stores. open returns two stores on the same, empty
// records; committing is hit between a finish's answer, if that is given too early, and its commit.
func storeMutants(t *testing.T, open func(t *testing.T) (a, b ledger.Store), committing string) {
	shows(t, failpoint.MutantUnconditionalClaim, func(t *testing.T) bool {
		a, b := open(t)
		mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		r, won := claim(t, b, ledger.Claim{Next: running(storeID, "b", ledger.DoubtRetry)})
		if !won && r.Nonce != "a" {
			t.Errorf("%q stands, want a's claim", r.Nonce)
		}
		return won
	})

	shows(t, failpoint.MutantFinishWithoutFence, func(t *testing.T) bool {
		a, b := open(t)
		zombie := mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		r, won := claim(t, b, ledger.Claim{Seen: zombie.Version, Next: running(storeID, "b", ledger.DoubtRetry), Steal: true})
		if !won {
			t.Fatal("the steal was not granted")
		}
		finish(t, b, ended(r, `"b"`))
		err := a.Finish(t.Context(), ended(zombie, `"a"`))
		stands, gerr := b.Get(t.Context(), storeID)
		if gerr != nil {
			t.Fatal(gerr)
		}
		broken := string(stands.Result) == `"a"`
		if broken != (err == nil) {
			t.Errorf("the zombie was told %v, and %s stands", err, stands.Result)
		}
		return broken
	})

	shows(t, failpoint.MutantWallClock, func(t *testing.T) bool {
		a, b := open(t)
		r := mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		if now, err := b.Get(t.Context(), storeID); err != nil || !now.Alive {
			t.Errorf("before the jump: alive is %v, %v", now.Alive, err)
		}
		failpoint.SetClockOffset(time.Hour)
		t.Cleanup(func() { failpoint.SetClockOffset(0) })
		now, err := b.Get(t.Context(), storeID)
		if err != nil {
			t.Fatal(err)
		}
		_, won := claim(t, b, ledger.Claim{Seen: r.Version, Next: running(storeID, "b", ledger.DoubtRetry)})
		if won == now.Alive {
			t.Errorf("alive is %v, and the claim was granted: %v", now.Alive, won)
		}
		return won
	})

	shows(t, failpoint.MutantGetDeleteClaim, func(t *testing.T) bool {
		a, b := open(t)
		stale := notDone(mustClaim(t, a, "first", 0, ledger.DoubtRetry))
		finish(t, a, stale)
		seen, err := b.Get(t.Context(), storeID)
		if err != nil {
			t.Fatal(err)
		}
		reached, may := make(chan struct{}, 1), make(chan struct{})
		arm(t, failpoint.MutantGot, func() {
			select {
			case reached <- struct{}{}: // b, the first one: it has seen what is stale
				<-may
			default:
			}
		})
		won := make(chan bool, 1)
		late := func() {
			_, granted := claim(t, b, ledger.Claim{Seen: seen.Version, Next: running(storeID, "b", ledger.DoubtRetry)})
			won <- granted
		}
		if failpoint.Mutant(failpoint.MutantGetDeleteClaim) {
			go late()
			<-reached
			reached <- struct{}{} // a does not stop
		}
		mustClaim(t, a, "a", seen.Version, ledger.DoubtRetry)
		close(may)
		if !failpoint.Mutant(failpoint.MutantGetDeleteClaim) {
			late()
		}
		return <-won // although a's tool runs
	})

	shows(t, failpoint.MutantAckBeforeCommit, func(t *testing.T) bool {
		a, _ := open(t)
		r := mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		patience := 100 * time.Millisecond // in which a whole store gives no answer
		if failpoint.Mutant(failpoint.MutantAckBeforeCommit) {
			patience = 30 * time.Second
		}
		answered, early := make(chan struct{}), make(chan bool, 1)
		arm(t, committing, func() {
			select {
			case <-answered:
				early <- true
			case <-time.After(patience):
				early <- false
			}
		})
		finish(t, a, ended(r, `"a"`))
		close(answered)
		broken := <-early
		failpoint.Disarm(committing)
		return broken
	})
}
