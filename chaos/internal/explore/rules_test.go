package explore

import (
	"slices"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/seam"
)

// Each broken rule is noticed, as a violation of the invariant that it is about.
func TestBrokenRules(t *testing.T) {
	some := budget{calls: 3, crashes: 1, pauses: 1, losses: 1, persons: 1}
	for _, tt := range []struct {
		broken    rule
		fault     fault
		policy    ledger.DoubtPolicy
		world     worldKind
		looser    bool
		invariant string
	}{
		{broken: unconditionalClaim, invariant: "I1"},
		{broken: getDeleteClaim, fault: crashBefore, invariant: "I1"},
		{broken: wallClock, invariant: "I1"},
		{broken: unfencedFinish, fault: pauseLate, invariant: "I4"},
		{broken: unfencedFinish, fault: pauseLate, invariant: "I3"},
		{broken: localFence, fault: crashBefore, invariant: "I11"},
		{broken: leasedSuccess, fault: partition, invariant: "I6"},
		{broken: leasedEvidence, fault: crashAfter, world: honours, invariant: "I5"},
		{broken: leasedEvidence, fault: crashAfter, policy: ledger.DoubtBlock, invariant: "I5"},
		{broken: ackedEarly, fault: crashAfter, invariant: "I6"},
		{broken: ambiguousFailed, fault: partition, world: honours, invariant: "I5"},
		{broken: unsealed, fault: pauseLate, policy: ledger.DoubtReconcile, world: refuses, invariant: "I5"},
		{broken: timeoutFailed, fault: partition, policy: ledger.DoubtBlock, invariant: "I13"},
		{broken: timeoutFailed, fault: partition, policy: ledger.DoubtReconcile, invariant: "I13"},
		{broken: loosenedPolicy, fault: crashBefore, policy: ledger.DoubtBlock, looser: true, invariant: "I13"},
		{broken: lateCopy, fault: partition, invariant: "I7"},
		{broken: blockedRuns, invariant: "I12"},
	} {
		c := config{fault: tt.fault, policy: tt.policy, world: tt.world, looser: tt.looser, broken: tt.broken, budget: some, until: tt.invariant}
		t.Run(ruleNames[tt.broken]+"/"+tt.invariant, func(t *testing.T) {
			found, err := c.run(t.Context(), &memory{}, 1_000_000)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(found.violations, func(v Violation) bool { return v.Invariant == tt.invariant })
			if i < 0 {
				t.Fatalf("%s is not noticed; found %+v", tt.invariant, found.violations)
			}
			v := found.violations[i]
			t.Logf("after %d states: %s: %s\n%s", found.states, v.Invariant, v.Text, strings.Join(v.Trace, "\n"))
			if len(v.Trace) < 3 {
				t.Errorf("the trace has %d steps", len(v.Trace))
			}
		})
	}
}

// The same searches find nothing while the rules are kept.
func TestKeptRules(t *testing.T) {
	some := budget{calls: 3, crashes: 1, pauses: 1, losses: 1, persons: 1}
	for _, looser := range []bool{false, true} {
		c := config{fault: crashAfter, policy: ledger.DoubtBlock, looser: looser, budget: some}
		found, err := c.run(t.Context(), &memory{}, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.violations) > 0 || found.states < 500 {
			t.Errorf("%v: %d states, %+v", c, found.states, found.violations)
		}
	}
}

// NotDone speaks of one attempt. A state machine that takes it for a word about the
// run, and mints a new token although an earlier attempt is in doubt, is noticed by the
// short run itself: the world can not tell the next attempt from another call.
func TestNotDoneAfterDoubt(t *testing.T) {
	var noticed []ledger.DoubtPolicy
	for _, c := range searches(false) {
		if c.fault != partition || c.world != honours || c.policy == ledger.DoubtBlock { // which never runs after a doubt
			continue
		}
		c.decider, c.until = freshAfterNotDone{ledger.StateMachine(seam.Key{})}, "I5"
		found, err := c.run(t.Context(), &memory{}, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		if found.saw("I5") {
			noticed = append(noticed, c.policy)
		}
	}
	if len(noticed) != 2 {
		t.Errorf("it is noticed under %v; want both policies that run again", noticed)
	}
}
