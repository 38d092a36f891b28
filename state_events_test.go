package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func neverReconciled(context.Context, Record) (Verdict, error) { panic("not called") }

var (
	before = noon.Add(-hour)
	dawn   = noon.Add(-6 * hour)
	theID  = ID{"order-42", "charge_card", "00112233445566778899aabbccddeeff"}

	old  = Owner{Session: "s1", Host: "h1", PID: 11, Caller: "agent-A"}
	logs = []Attempt{{Fence: 3, Owner: old, Started: dawn, Ended: dawn, Outcome: OutcomeFailed}}
)

// stood is a record with something in every field, so that what an event
// forgets to carry over, or to clear, shows.
func stood(s State) Record {
	r := Record{
		ID: theID, Key: "k1", State: s, Version: 9, Fence: 7, Token: "token-1", Nonce: "nonce-1", InDoubt: DoubtReconcile,
		Attempt: 2, Spent: 1, Starts: 5, Executed: 3, Takeovers: 1,
		Owner: old, Args: []byte(`{"n":1}`), ArgsDigest: "digest-1", Sealed: true,
		Created: dawn, Started: before, Succeeded: dawn, Log: logs, Attempts: 50, Blocked: 45,
	}
	switch s {
	case StateRunning:
		r.Alive = true
	case StateSucceeded:
		r.Result, r.Finished, r.Settled = []byte(`7`), before, &Settlement{How: "happened", By: "ann"}
	case StateFailed:
		r.Error, r.Finished = &Failure{"declined", ClassPermanent}, before
	case StateInDoubt:
		r.Error, r.Finished = &Failure{"timeout", ClassUncertain}, before
	}
	return r
}

func with(r Record, change func(*Record)) Record {
	change(&r)
	return r
}

func diff(t *testing.T, what string, got, want Record) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

func TestBegin(t *testing.T) {
	s := start{
		id: theID, key: "k2", argsDigest: "digest-2", args: []byte(`{"n":2}`), caller: "agent-B",
		inDoubt: DoubtRetry, token: "token-2", nonce: "nonce-2", ended: OutcomeLost,
	}
	// What every claim that starts the tool writes over the record of stood; the table says the rest.
	next := Record{
		ID: theID, Key: "k2", State: StateRunning, Nonce: "nonce-2", InDoubt: DoubtReconcile,
		Starts: 6, Executed: 3, Takeovers: 1, Owner: Owner{Caller: "agent-B"},
		Args: []byte(`{"n":2}`), ArgsDigest: "digest-2", Created: dawn, Started: noon, Succeeded: dawn, Log: logs, Attempts: 50, Blocked: 45,
	}
	logged := func(o Outcome) []Attempt {
		return []Attempt{logs[0], {Fence: 7, Owner: old, Started: before, Outcome: o}}
	}
	for _, c := range []struct {
		state     State // of stood
		word      string
		ended     Outcome
		token     string
		attempt   int
		spent     int
		takeovers int
		log       []Attempt
		doubted   string // what becomes of Doubted
	}{
		// Each state with each lineage that a call, a Force or another try can bring.
		{StateSucceeded, "run", OutcomeLost, "token-2", 1, 1, 1, logs, "cleared"},
		{StateSucceeded, "run!", OutcomeLost, "token-2", 1, 0, 1, logs, "cleared"},
		{StateFailed, "run", OutcomeLost, "token-2", 1, 1, 1, logs, "cleared"},
		{StateFailed, "run!", OutcomeLost, "token-2", 1, 0, 1, logs, "cleared"},
		{StateFailed, "again", OutcomeLost, "token-2", 3, 1, 1, logs, "kept"},
		{StateFailed, "again!", OutcomeLost, "token-2", 3, 0, 1, logs, "kept"},
		{StateFailed, "same", OutcomeLost, "token-1", 3, 1, 1, logs, "kept"},
		{StateFailed, "same!", OutcomeLost, "token-1", 3, 0, 1, logs, "kept"},
		{StateInDoubt, "run", OutcomeLost, "token-2", 1, 1, 1, logs, "cleared"}, // Force
		{StateInDoubt, "same", OutcomeLost, "token-1", 3, 1, 1, logs, "set"},
		{StateRunning, "run", OutcomeForced, "token-2", 1, 1, 1, logged(OutcomeForced), "cleared"}, // Force
		{StateRunning, "run", OutcomeLost, "token-2", 1, 1, 2, logged(OutcomeLost), "cleared"},     // Force over a dead owner
		{StateRunning, "same", OutcomeLost, "token-1", 3, 1, 2, logged(OutcomeLost), "set"},        // takeover
		{StateRunning, "same", OutcomeInDoubt, "token-1", 3, 1, 1, logged(OutcomeInDoubt), "set"},  // another try
		{StateRunning, "again", OutcomeFailed, "token-2", 3, 1, 1, logged(OutcomeFailed), "kept"},  // another try
		{StateRunning, "same", OutcomeFailed, "token-1", 3, 1, 1, logged(OutcomeFailed), "kept"},   // another try, after one in doubt
		{StateRunning, "same", OutcomeSettled, "token-1", 3, 1, 1, logged(OutcomeSettled), "kept"}, // reconciled: it did not happen
		{"hibernating", "run", OutcomeForced, "token-2", 1, 1, 1, logs, "cleared"},                 // Force
		{StateNone, "run", OutcomeForced, "token-2", 1, 1, 1, logs, "cleared"},                     // not reachable: counters are not claimed
	} {
		for _, doubted := range []bool{false, true} {
			what := fmt.Sprintf("%s, %s, %s, doubted %v", c.state, c.word, c.ended, doubted)
			left := with(stood(c.state), func(r *Record) { r.Doubted = doubted })
			seen := left
			s.ended = c.ended
			want := with(next, func(r *Record) {
				r.Token, r.Attempt, r.Spent, r.Takeovers, r.Log = c.token, c.attempt, c.spent, c.takeovers, c.log
				r.Doubted = c.doubted == "set" || c.doubted == "kept" && doubted
			})
			diff(t, what, begin(&seen, s, decisionWords[c.word], noon), want)
			diff(t, what+": the record seen", seen, left)
		}
	}

	s.ended = OutcomeLost
	want := with(next, func(r *Record) {
		r.InDoubt, r.Token, r.Attempt, r.Starts, r.Executed = DoubtRetry, "token-2", 1, 1, 0
		r.Takeovers, r.Created, r.Succeeded, r.Log, r.Attempts, r.Blocked = 0, noon, time.Time{}, nil, 0, 0
	})
	diff(t, "no record", begin(nil, s, decisionWords["run"], noon), want)

	// The stored in-doubt policy is never loosened; a missing token is minted.
	s.inDoubt = DoubtBlock
	seen := with(stood(StateInDoubt), func(r *Record) { r.Token = "" })
	got := begin(&seen, s, decisionWords["same"], noon)
	if got.InDoubt != DoubtBlock || got.Token != "token-2" {
		t.Errorf("policy %v, token %q, want block, token-2", got.InDoubt, got.Token)
	}
}

// A claim to reconcile, or to resolve, starts no attempt: what the earlier
// ones left stays readable for the one who decides.
func TestBeginToReconcile(t *testing.T) {
	s := start{id: theID, key: "k2", argsDigest: "digest-2", args: []byte(`{"n":2}`), caller: "agent-B",
		inDoubt: DoubtBlock, token: "token-2", nonce: "nonce-2", ended: OutcomeLost}
	for _, state := range []State{StateInDoubt, StateRunning} {
		seen := stood(state)
		want := with(stood(state), func(r *Record) {
			r.State, r.Version, r.Fence, r.Nonce, r.InDoubt, r.Alive = StateRunning, 0, 0, "nonce-2", DoubtBlock, false
			r.Owner, r.Started, r.Finished, r.Doubted = Owner{Caller: "agent-B"}, noon, time.Time{}, true
			if state == StateRunning {
				r.Takeovers, r.Log = 2, []Attempt{logs[0], {Fence: 7, Owner: old, Started: before, Outcome: OutcomeLost}}
			}
		})
		diff(t, string(state), begin(&seen, s, decision{action: actReconcile}, noon), want)
	}
}

func TestFinish(t *testing.T) {
	how := &Settlement{How: "happened", By: "reconcile", At: noon}
	tests := []struct {
		what    string
		ending  ending
		state   State
		outcome Outcome
		success bool
		result  []byte
		omitted bool
	}{
		{"success", ending{result: []byte(`8`)}, StateSucceeded, OutcomeSucceeded, true, []byte(`8`), false},
		{"success with null", ending{result: []byte(`null`)}, StateSucceeded, OutcomeSucceeded, true, []byte(`null`), false},
		{"success, result omitted", ending{}, StateSucceeded, OutcomeSucceeded, true, nil, true},
		{"success, settled", ending{result: []byte(`8`), settled: how}, StateSucceeded, OutcomeSettled, true, []byte(`8`), false},
		{"not done", ending{failure: &Failure{"busy", ClassNotDone}}, StateFailed, OutcomeFailed, false, nil, false},
		{"permanent", ending{failure: &Failure{"declined", ClassPermanent}}, StateFailed, OutcomeFailed, false, nil, false},
		{"uncertain", ending{failure: &Failure{"timeout", ClassUncertain}}, StateInDoubt, OutcomeInDoubt, false, nil, false},
		{"uncertain, a failure's result is dropped", ending{failure: &Failure{"timeout", ClassUncertain}, result: []byte(`8`)}, StateInDoubt, OutcomeInDoubt, false, nil, false},
		{"not done, settled", ending{failure: &Failure{"no", ClassNotDone}, settled: how}, StateFailed, OutcomeSettled, false, nil, false},
	}
	for i, c := range append(tests, tests...) {
		claimed := with(stood(StateRunning), func(r *Record) { r.Doubted = i < len(tests) })
		r := claimed
		want := with(claimed, func(r *Record) {
			r.State, r.Finished, r.Alive = c.state, noon, false
			r.Doubted = r.Doubted || c.state == StateInDoubt
			r.Error, r.Settled, r.Result, r.ResultOmitted = c.ending.failure, c.ending.settled, c.result, c.omitted
			if c.success {
				r.Executed, r.Spent, r.Succeeded = 4, 2, noon
			}
			r.Log = []Attempt{logs[0], {Fence: 7, Owner: old, Started: before, Ended: noon, Outcome: c.outcome}}
		})
		diff(t, c.what, finish(r, c.ending, noon), want)
		diff(t, c.what+": the record given", r, claimed)
	}
}

func TestGiveBack(t *testing.T) {
	claimed := with(stood(StateRunning), func(r *Record) {
		r.Version, r.Fence, r.Nonce, r.InDoubt, r.Token, r.Takeovers = 12, 12, "nonce-2", DoubtBlock, "token-2", 2
		r.Log = append(logs[:1:1], Attempt{Fence: 7, Outcome: OutcomeLost})
	})
	diff(t, "nothing was stored", giveBack(claimed, nil), Record{ID: theID, Fence: 12, Nonce: "nonce-2"})

	for i, state := range []State{StateSucceeded, StateFailed, StateInDoubt, StateRunning, "hibernating", StateRunning} {
		stolen := i == 5
		seen := with(stood(state), func(r *Record) { r.Alive = stolen })
		want := with(seen, func(r *Record) { // token, result, counts, owner and times are those seen
			r.Version, r.Fence, r.Nonce, r.InDoubt = 0, 12, "nonce-2", DoubtBlock
			if state == StateRunning {
				r.State, r.Doubted, r.Takeovers, r.Log = StateInDoubt, true, 2, claimed.Log
				r.Error = &Failure{"its worker died while it was running", ClassUncertain}
				if r.Alive = false; stolen {
					r.Error.Message = "its claim was stolen while it was running"
				}
			}
		})
		diff(t, string(state), giveBack(claimed, &seen), want)
	}
}

func TestSettle(t *testing.T) {
	claimed := with(stood(StateRunning), func(r *Record) { r.Doubted = true })
	entry := Attempt{Fence: 7, Owner: old, Started: before, Ended: noon, Outcome: OutcomeSettled}
	for _, c := range []struct {
		res  Resolution
		keep bool
		want Record
	}{
		{Resolution{As: ResolveHappened, Result: []byte(`8`), By: "ann", Reason: "seen on the statement"}, true, with(claimed, func(r *Record) {
			r.State, r.Finished, r.Alive, r.Succeeded, r.Result, r.Executed, r.Spent = StateSucceeded, noon, false, noon, []byte(`8`), 4, 2
			r.Settled = &Settlement{How: "happened", By: "ann", Reason: "seen on the statement", At: noon}
		})},
		{Resolution{As: ResolveHappened, By: "ann"}, true, with(claimed, func(r *Record) {
			r.State, r.Finished, r.Alive, r.Succeeded, r.ResultOmitted, r.Executed, r.Spent = StateSucceeded, noon, false, noon, true, 4, 2
			r.Settled = &Settlement{How: "happened", By: "ann", At: noon}
		})},
		{Resolution{As: ResolveDidNotHappen, By: "ann", Reason: "no trace"}, true, with(claimed, func(r *Record) {
			r.State, r.Finished, r.Alive = StateFailed, noon, false
			r.Error = &Failure{"settled: it did not happen: no trace", ClassNotDone}
			r.Settled = &Settlement{How: "did_not_happen", By: "ann", Reason: "no trace", At: noon}
		})},
		{Resolution{As: ResolveForget, By: "ann"}, false, Record{ID: theID, Fence: 7, Nonce: "nonce-1"}},
		{Resolution{As: ResolveForget, By: "ann", Reason: "a test", Keep: true}, true, with(claimed, func(r *Record) {
			r.State, r.Finished, r.Alive = StateFailed, noon, false
			r.Key, r.Args, r.ArgsDigest, r.Sealed, r.Spent, r.Succeeded = "", nil, "", false, 0, time.Time{}
			r.Error = &Failure{"forgotten: a test", ClassNotDone}
			r.Settled = &Settlement{How: "forget", By: "ann", Reason: "a test", At: noon}
		})},
	} {
		want := c.want
		if c.keep && !c.res.Keep {
			want.Log = []Attempt{logs[0], entry}
		}
		if c.res.Keep {
			want.Log = nil
		}
		got, keep := settle(claimed, c.res, noon)
		if keep != c.keep {
			t.Errorf("%v: keep %v, want %v", c.res.As, keep, c.keep)
		}
		diff(t, c.res.As.String(), got, want)
	}
}

func TestIllegalPairsPanic(t *testing.T) {
	for _, action := range []action{actReplay, actWait, actBlock} {
		for _, state := range []State{StateRunning, StateSucceeded, StateFailed, StateInDoubt, "hibernating"} {
			seen := stood(state)
			panics(t, fmt.Sprintf("begin, action %d, %s", action, state), "begin after decision", func() { begin(&seen, start{}, decision{action: action}, noon) })
		}
	}
	for _, state := range []State{StateNone, StateSucceeded, StateFailed, StateInDoubt, "hibernating"} {
		r := stood(state)
		for what, e := range map[string]ending{"success": {}, "failure": {failure: &Failure{}}} {
			panics(t, fmt.Sprintf("finish, %s, %s", state, what), "finish of a record that is "+string(state), func() { finish(r, e, noon) })
		}
		for _, as := range []ResolveAs{ResolveHappened, ResolveDidNotHappen} {
			panics(t, fmt.Sprintf("settle, %s, %v", state, as), "finish of a record", func() { settle(r, Resolution{As: as}, noon) })
		}
	}
	for _, as := range []ResolveAs{0, ResolveForget + 1} {
		panics(t, fmt.Sprintf("settle as %d", as), "settle as", func() { settle(stood(StateRunning), Resolution{As: as}, noon) })
	}
}

func panics(t *testing.T, what, message string, f func()) {
	t.Helper()
	defer func() {
		if got := recover(); got == nil || !strings.Contains(fmt.Sprint(got), message) {
			t.Errorf("%s: panic %v, want one with %q", what, got, message)
		}
	}()
	f()
}

// The log is bounded, and never shares memory with the record it came from.
func TestLogIsBounded(t *testing.T) {
	r := stood(StateRunning)
	r.Log = nil
	for i := range 3 * MaxLog {
		r.Fence = Version(i)
		done := finish(r, ending{}, noon)
		r.Log = done.Log
		if got, want := len(r.Log), min(i+1, MaxLog); got != want {
			t.Fatalf("after %d attempts the log has %d, want %d", i+1, got, want)
		}
		if last := r.Log[len(r.Log)-1].Fence; last != Version(i) {
			t.Fatalf("the last is of fence %d, want %d", last, i)
		}
	}
	a, b := finish(r, ending{}, noon), finish(r, ending{failure: &Failure{}}, noon)
	if a.Log[MaxLog-1].Outcome != OutcomeSucceeded || b.Log[MaxLog-1].Outcome != OutcomeInDoubt {
		t.Error("two logs share memory")
	}
}
