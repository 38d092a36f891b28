package ledger

import (
	"fmt"
	"testing"
)

// A run's token over all sequences of endings of its attempts: it changes after
// an attempt that certainly did nothing, as long as none before that one is in doubt.
func TestTokenOfARun(t *testing.T) {
	failure := func(c Class) *Failure { return &Failure{Class: c} }
	endings := map[string]struct {
		doubt  bool
		record func(r Record) Record // what the next caller finds
	}{
		"not done":  {false, func(r Record) Record { return finish(r, ending{failure: failure(ClassNotDone)}, noon) }},
		"uncertain": {true, func(r Record) Record { return finish(r, ending{failure: failure(ClassUncertain)}, noon) }},
		"dead":      {true, func(r Record) Record { r.Alive = false; return r }},
		"given back, dead": {true, func(r Record) Record { // somebody took it over, and gave it back
			r.Alive = false
			return giveBack(begin(&r, start{token: "unused", ended: OutcomeLost}, decide(&r, ask{policy: &Policy{}}, noon), noon), &r)
		}},
		"given back, stolen": {true, func(r Record) Record {
			return giveBack(begin(&r, start{token: "unused", ended: OutcomeForced}, decision{action: actRun, lineage: newRun}, noon), &r)
		}},
		"in doubt, reconciled, not done": {true, func(r Record) Record {
			r = finish(r, ending{failure: failure(ClassUncertain)}, noon)
			asking := begin(&r, start{token: "unused", ended: OutcomeLost}, decision{action: actReconcile}, noon)
			again := begin(&asking, start{token: "unused", ended: OutcomeSettled}, decision{action: actRun, lineage: sameRun}, noon)
			return finish(again, ending{failure: failure(ClassNotDone)}, noon)
		}},
	}
	minted := 0
	claim := func(seen *Record) Record {
		minted++
		s := start{id: theID, token: fmt.Sprint("token-", minted), ended: OutcomeLost}
		r := begin(seen, s, decide(seen, ask{policy: &Policy{}}, noon), noon)
		r.Alive = true
		return r
	}
	var walk func(path string, r Record, doubted bool, depth int)
	walk = func(path string, r Record, doubted bool, depth int) {
		if r.Doubted != doubted {
			t.Errorf("%s: doubted %v, want %v", path, r.Doubted, doubted)
		}
		if depth == 0 {
			return
		}
		for what, e := range endings {
			left := e.record(r)
			next := claim(&left)
			if kept := next.Token == r.Token; kept != (doubted || e.doubt) {
				t.Errorf("%s, %s: the token is kept: %v", path, what, kept)
			}
			walk(path+", "+what, next, doubted || e.doubt, depth-1)
		}
		// Whatever ends the run, the next one is not in doubt.
		for what, left := range map[string]Record{
			"succeeded":      finish(r, ending{}, noon),
			"failed":         finish(r, ending{failure: failure(ClassPermanent)}, noon),
			"did not happen": finish(r, ending{failure: failure(ClassNotDone), settled: &Settlement{}}, noon),
		} {
			d := decide(&left, ask{policy: &Policy{TTL: 1, Max: 2}}, noon.Add(hour))
			next := begin(&left, start{token: "other", ended: OutcomeLost}, d, noon.Add(hour))
			if next.Doubted || next.Token != "other" || next.Attempt != 1 {
				t.Errorf("%s, %s: the next run has doubted %v, token %s, attempt %d", path, what, next.Doubted, next.Token, next.Attempt)
			}
		}
	}
	walk("claimed", claim(nil), false, 4)
}

// A record in doubt that was written before there was Doubted counts as well.
func TestDoubtedIsInferred(t *testing.T) {
	r := Record{ID: theID, State: StateInDoubt, Token: "token-1"}
	for _, a := range []action{actRun, actReconcile} {
		if next := begin(&r, start{ended: OutcomeLost}, decision{action: a, lineage: sameRun}, noon); !next.Doubted {
			t.Errorf("action %d: not doubted", a)
		}
	}
}
