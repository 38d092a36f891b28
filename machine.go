package ledger

import (
	"time"

	"github.com/ledger-once/ledger/internal/seam"
)

// StateMachine is not for users: only this module can name a [seam.Key]. It hands the
// pure functions of state.go to the explorer of package chaos, in the
// combinations in which a guard calls them.
func StateMachine(seam.Key) machine { return machine{} }

type machine struct{}

// Decide says what a call under p does when it finds r (nil: no record): "run",
// "reconcile", "replay", "wait" or "block", the last for the reason.
func (machine) Decide(r *Record, p *Policy, now time.Time) (action string, reason error) {
	d := decide(r, ask{policy: p}, now)
	return [...]string{actRun: "run", actReconcile: "reconcile", actReplay: "replay", actWait: "wait", actBlock: "block"}[d.action], d.reason
}

// Claim returns the record that a call writes after Decide said run or reconcile.
func (machine) Claim(seen *Record, p *Policy, id ID, token, nonce string, now time.Time) Record {
	return begin(seen, start{id: id, inDoubt: p.InDoubt, token: token, nonce: nonce, ended: OutcomeLost}, decide(seen, ask{policy: p}, now), now)
}

// ClaimAgain returns the record that a call writes over its own claim, to run
// the tool after its reconciliation found that nothing had happened.
func (machine) ClaimAgain(held *Record, p *Policy, token, nonce string, now time.Time) Record {
	s := start{id: held.ID, inDoubt: p.InDoubt, token: token, nonce: nonce, ended: OutcomeSettled}
	return begin(held, s, decision{action: actRun, lineage: sameRun}, now)
}

// ClaimToSettle returns the record that a resolution writes before Settle.
func (machine) ClaimToSettle(seen *Record, token, nonce string, now time.Time) Record {
	s := start{id: seen.ID, inDoubt: seen.InDoubt, token: token, nonce: nonce, ended: OutcomeLost}
	return begin(seen, s, decision{action: actReconcile}, now)
}

// Settle returns the record that ends a claim of ClaimToSettle; its zero state: removed.
func (machine) Settle(claimed Record, res Resolution, now time.Time) Record {
	r, _ := settle(claimed, res, now)
	return r
}

// Finish returns the record that ends a claim: with a failure, or with a
// result, which a reconciliation may have settled.
func (machine) Finish(claimed Record, failure *Failure, result []byte, settled *Settlement, now time.Time) Record {
	return finish(claimed, ending{failure: failure, result: result, settled: settled}, now)
}

// GiveBack returns the record that ends an unused claim; its zero state: removed.
func (machine) GiveBack(claimed Record, seen *Record) Record { return giveBack(claimed, seen) }
