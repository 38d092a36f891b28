package explore

import (
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/seam"
)

// Deciders with one decision that is wrong, as a mistake in state.go would be.
type (
	freshTokens       struct{ decider } // each attempt has a token of its own
	freshAfterNotDone struct{ decider } // NotDone ends the token, whatever is in doubt
	neverInDoubt      struct{ decider } // a dead owner's call runs again under any policy
	forgetsPolicy     struct{ decider } // a claim stores its own policy
	forgetsDoubt      struct{ decider } // a claim of a dead owner's call, given back, removes the record
	runsAgain         struct{ decider } // a success is no reason not to run
	otherResult       struct{ decider } // a success is recorded with a result of another attempt
)

func (d freshTokens) Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record {
	r := d.decider.Claim(seen, p, id, token, nonce, now)
	r.Token = token
	return r
}

func (d freshAfterNotDone) Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record {
	r := d.decider.Claim(seen, p, id, token, nonce, now)
	if seen != nil && seen.State == ledger.StateFailed {
		r.Token = token
	}
	return r
}

func (d neverInDoubt) Decide(r *ledger.Record, p *ledger.Policy, now time.Time) (string, error) {
	if r != nil && r.Status() == ledger.StateInDoubt {
		return "run", nil
	}
	return d.decider.Decide(r, p, now)
}

func (d neverInDoubt) Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record {
	if seen == nil || seen.Status() != ledger.StateInDoubt {
		return d.decider.Claim(seen, p, id, token, nonce, now)
	}
	lax, retry := *seen, ledger.Policy{}
	lax.InDoubt = ledger.DoubtRetry
	r := d.decider.Claim(&lax, &retry, id, token, nonce, now)
	r.InDoubt = seen.InDoubt
	return r
}

func (d forgetsPolicy) Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record {
	r := d.decider.Claim(seen, p, id, token, nonce, now)
	r.InDoubt = ledger.DoubtRetry
	return r
}

func (d forgetsDoubt) GiveBack(claimed ledger.Record, _ *ledger.Record) ledger.Record {
	return d.decider.GiveBack(claimed, nil)
}

func (d runsAgain) Decide(r *ledger.Record, p *ledger.Policy, now time.Time) (string, error) {
	if r != nil && r.State == ledger.StateSucceeded {
		return "run", nil
	}
	return d.decider.Decide(r, p, now)
}

func (d runsAgain) Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record {
	if seen != nil && seen.State == ledger.StateSucceeded {
		seen = nil
	}
	return d.decider.Claim(seen, p, id, token, nonce, now)
}

func (d otherResult) Finish(claimed ledger.Record, failure *ledger.Failure, result []byte, settled *ledger.Settlement, now time.Time) ledger.Record {
	if result != nil {
		result = []byte("42")
	}
	return d.decider.Finish(claimed, failure, result, settled, now)
}

func TestWrongDecisions(t *testing.T) {
	some := budget{calls: 3, crashes: 1, pauses: 1, losses: 1, persons: 1}
	real := ledger.StateMachine(seam.Key{})
	for _, tt := range []struct {
		name      string
		decider   decider
		fault     fault
		policy    ledger.DoubtPolicy
		world     worldKind
		invariant string
	}{
		{"fresh tokens", freshTokens{real}, crashAfter, ledger.DoubtRetry, honours, "I5"},
		{"block runs again", neverInDoubt{real}, crashAfter, ledger.DoubtBlock, plain, "I13"},
		{"reconcile runs unasked", neverInDoubt{real}, crashAfter, ledger.DoubtReconcile, plain, "I13"},
		{"policy forgotten", forgetsPolicy{real}, crashAfter, ledger.DoubtBlock, plain, "I13"},
		{"doubt forgotten", forgetsDoubt{real}, partition, ledger.DoubtRetry, honours, "I5"},
		{"success runs again", runsAgain{real}, noFault, ledger.DoubtRetry, plain, "I12"},
		{"other result", otherResult{real}, noFault, ledger.DoubtRetry, plain, "I10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config{fault: tt.fault, policy: tt.policy, world: tt.world, decider: tt.decider, until: tt.invariant, budget: some}
			found, err := c.run(t.Context(), &memory{}, 1_000_000)
			if err != nil {
				t.Fatal(err)
			}
			if !found.saw(tt.invariant) {
				t.Errorf("%s is not noticed in %d states: %+v", tt.invariant, found.states, found.violations)
			}
		})
	}
}
