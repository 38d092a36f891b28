package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// asks is a Reconcile that counts and answers.
type asks struct {
	n       int
	verdict ledger.Verdict
	err     error
	seen    ledger.Record
	claim   ledger.ClaimInfo
}

func (a *asks) policy() ledger.Policy {
	return ledger.Policy{InDoubt: ledger.DoubtReconcile, Replay: true, Reconcile: func(ctx context.Context, r ledger.Record) (ledger.Verdict, error) {
		a.n++
		a.seen = r
		a.claim, _ = ledger.ClaimFrom(ctx)
		return a.verdict, a.err
	}}
}

// Who left the call in doubt stores its policy; the stricter of that and the next caller's wins.
func TestStricterDoubtPolicyWins(t *testing.T) {
	const retry, reconcile, block = ledger.DoubtRetry, ledger.DoubtReconcile, ledger.DoubtBlock
	policy := func(d ledger.DoubtPolicy, a *asks) ledger.Policy {
		if d == reconcile {
			return a.policy()
		}
		return ledger.Policy{InDoubt: d}
	}
	for _, dead := range []bool{false, true} {
		for _, c := range []struct {
			stored, own ledger.DoubtPolicy
			does        string
		}{
			{retry, retry, "runs"}, {retry, reconcile, "asks"}, {retry, block, "blocks"},
			{reconcile, retry, "blocks"}, // it does not know whom to ask
			{reconcile, reconcile, "asks"}, {reconcile, block, "blocks"},
			{block, retry, "blocks"}, {block, reconcile, "blocks"}, {block, block, "blocks"},
		} {
			what := fmt.Sprintf("stored %v, own %v, dead %v", c.stored, c.own, dead)
			m, n, a := ledger.NewMemory(), &counter{}, &asks{verdict: ledger.DidNotHappen()}
			first, second := newGuard(t, m.Session(), withPolicy(policy(c.stored, a))), newGuard(t, m.Session(), withPolicy(policy(c.own, a)))
			if dead {
				abandon(t, m, first, charge, c.stored)
			} else {
				_, err := ledger.Do(t.Context(), first, charge, n.fails(errTool))
				wantErr(t, err, errTool)
			}
			before, left := n.count(), stored(t, m, first, charge)
			_, err := ledger.Do(t.Context(), second, charge, n.run)
			if c.does == "blocks" {
				b := blocked(t, err, ledger.ErrInDoubt)
				if b.Record.Status() != ledger.StateInDoubt {
					t.Errorf("%s: blocked by a record that is %s", what, b.Record.Status())
				}
				wantCount(t, what+": runs", n.count()-before, 0)
				continue
			}
			wantErr(t, err)
			wantCount(t, what+": runs", n.count()-before, 1)
			wantCount(t, what+": questions", a.n, map[string]int{"asks": 1}[c.does])
			r := stored(t, m, first, charge)
			if n.tokens[before] != left.Token || r.InDoubt != max(c.stored, c.own) {
				t.Errorf("%s: token %q, was %q; policy %v", what, n.tokens[before], left.Token, r.InDoubt)
			}
			wantCount(t, what+": takeovers", r.Takeovers, map[bool]int{true: 1}[dead])
		}
	}
}

// A TTL never makes a call in doubt run.
func TestDoubtOutlivesTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, n := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{TTL: time.Hour, InDoubt: ledger.DoubtBlock})), &counter{}
		_, err := ledger.Do(t.Context(), g, charge, n.fails(errTool))
		wantErr(t, err, errTool)
		time.Sleep(1000 * time.Hour)
		_, err = ledger.Do(t.Context(), g, charge, n.run)
		blocked(t, err, ledger.ErrInDoubt)
	})
}

func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		what    string
		verdict ledger.Verdict
		err     error
		want    []error
		value   int
		runs    int
		state   ledger.State
	}{
		{"happened", ledger.Happened(7), nil, nil, 7, 0, ledger.StateSucceeded},
		{"happened, the result is not known", ledger.Happened(nil), nil, []error{ledger.ErrResultOmitted}, 0, 0, ledger.StateSucceeded},
		{"happened, the result does not fit", ledger.Happened("seven"), nil, []error{ledger.ErrResultOmitted}, 0, 0, ledger.StateSucceeded},
		{"happened, the result is no JSON", ledger.Happened(make(chan int)), nil, []error{ledger.ErrResultOmitted}, 0, 0, ledger.StateSucceeded},
		{"did not happen", ledger.DidNotHappen(), nil, nil, 1, 1, ledger.StateSucceeded},
		{"unknown", ledger.Unknown(), nil, []error{ledger.ErrInDoubt, ledger.ErrBlocked}, 0, 0, ledger.StateInDoubt},
		{"no verdict", ledger.Verdict{}, nil, []error{ledger.ErrInDoubt}, 0, 0, ledger.StateInDoubt},
		{"an error", ledger.Verdict{}, errTool, []error{ledger.ErrInDoubt, errTool}, 0, 0, ledger.StateInDoubt},
		{"an error beats its verdict", ledger.DidNotHappen(), errTool, []error{ledger.ErrInDoubt, errTool}, 0, 0, ledger.StateInDoubt},
	} {
		for _, dead := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/dead=%v", c.what, dead), func(t *testing.T) {
				m, n, a := ledger.NewMemory(), &counter{}, &asks{verdict: c.verdict, err: c.err}
				g := newGuard(t, m, withPolicy(a.policy()))
				if dead {
					abandon(t, m, g, charge, ledger.DoubtRetry)
				} else {
					_, err := ledger.Do(t.Context(), g, charge, (&counter{}).fails(errTool))
					wantErr(t, err, errTool)
				}
				left := stored(t, m, g, charge)
				res, err := ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err, c.want...)
				wantCount(t, "value", res.Value, c.value)
				wantCount(t, "runs", n.count(), c.runs)
				if a.n != 1 || a.claim.Fence <= left.Fence || a.claim.Token != left.Token || a.seen.Token != left.Token || a.seen.Attempt != left.Attempt {
					t.Errorf("asked %d times, with %+v, about %+v; the record was %+v", a.n, a.claim, a.seen, left)
				}
				r := stored(t, m, g, charge)
				if r.State != c.state || r.Token != left.Token || r.Starts != left.Starts+int64(c.runs) {
					t.Errorf("%s, token kept %v, %d starts; want %s", r.State, r.Token == left.Token, r.Starts, c.state)
				}
				if c.runs > 0 && (n.fences[0] <= a.claim.Fence || n.tokens[0] != left.Token) {
					t.Errorf("run with fence %d and another token; asked with fence %d", n.fences[0], a.claim.Fence)
				}
				if (c.what == "happened") != (r.Settled != nil && res.Replayed) && c.state == ledger.StateSucceeded && c.runs == 0 && c.want == nil {
					t.Errorf("settled %+v, replayed %v", r.Settled, res.Replayed)
				}
			})
		}
	}
}

// A panic in Reconcile leaves the call in doubt; a crash is just another takeover.
func TestReconcileCrashes(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	session := m.Session()
	a := &asks{verdict: ledger.Happened(7)}
	crash := ledger.Policy{InDoubt: ledger.DoubtReconcile, Reconcile: func(context.Context, ledger.Record) (ledger.Verdict, error) { panic("boom") }}
	g, sane := newGuard(t, session, withPolicy(crash)), newGuard(t, m.Session(), withPolicy(a.policy()))
	token := abandon(t, m, g, charge, ledger.DoubtReconcile).Token
	func() {
		defer func() {
			if thrown := recover(); thrown != "boom" {
				t.Errorf("recovered %v", thrown)
			}
		}()
		_, _ = ledger.Do(t.Context(), g, charge, n.run)
	}()
	r := stored(t, m, g, charge)
	if r.State != ledger.StateInDoubt || r.Token != token || r.Starts != 1 {
		t.Errorf("%s, %d starts; want in doubt, 1", r.State, r.Starts)
	}

	// The worker dies while it asks.
	entered, leave := make(chan struct{}), make(chan struct{})
	hung := newGuard(t, session, withPolicy(ledger.Policy{InDoubt: ledger.DoubtReconcile, Reconcile: func(ctx context.Context, _ ledger.Record) (ledger.Verdict, error) {
		close(entered)
		<-leave
		return ledger.DidNotHappen(), nil
	}}))
	ended := make(chan error)
	go func() {
		_, err := ledger.Do(t.Context(), hung, charge, n.run)
		ended <- err
	}()
	<-entered
	session.Expire()
	res, err := ledger.Do(t.Context(), sane, charge, n.run)
	if err != nil || res.Value != 7 || !res.Replayed {
		t.Errorf("got %d, %v; want what the downstream knows", res.Value, err)
	}
	close(leave)
	// Whichever it heard of first: its lease is lost, and another has the call.
	if err := <-ended; !errors.Is(err, ledger.ErrLeaseLost) && !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrLeaseLost or ErrFenced", err)
	}
	wantCount(t, "runs", n.count(), 0)
	if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || r.Token != token || r.Takeovers != 2 {
		t.Errorf("%s, %d takeovers; want succeeded, 2", r.State, r.Takeovers)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		res   ledger.Resolution
		state ledger.State
		next  error // of the next call; nil: it runs
	}{
		{ledger.Resolution{As: ledger.ResolveHappened, Result: []byte(`7`), By: "ann", Reason: "on the statement"}, ledger.StateSucceeded, ledger.ErrDuplicate},
		{ledger.Resolution{As: ledger.ResolveHappened, By: "ann"}, ledger.StateSucceeded, ledger.ErrResultOmitted},
		{ledger.Resolution{As: ledger.ResolveDidNotHappen, By: "ann", Reason: "no trace of it"}, ledger.StateFailed, nil},
		{ledger.Resolution{As: ledger.ResolveForget, By: "ann"}, ledger.StateNone, nil},
		{ledger.Resolution{As: ledger.ResolveForget, By: "ann", Reason: "a test", Keep: true}, ledger.StateFailed, nil},
	} {
		for _, dead := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v/dead=%v", c.res.As, dead), func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				g := newGuard(t, m.Session(), withPolicy(ledger.Policy{InDoubt: ledger.DoubtBlock, Replay: true}))
				if dead {
					abandon(t, m, g, charge, ledger.DoubtBlock)
				} else {
					_, err := ledger.Do(t.Context(), g, charge, (&counter{}).fails(errTool))
					wantErr(t, err, errTool)
				}
				left := stored(t, m, g, charge)
				_, err := ledger.Do(t.Context(), g, charge, n.run)
				blocked(t, err, ledger.ErrInDoubt)

				desk := newGuard(t, m.Session(), nil) // a tool of people, that knows no policies
				_, err = desk.Resolve(t.Context(), left.ID, c.res)
				wantErr(t, err)
				r := stored(t, m, g, charge)
				if r.State != c.state {
					t.Errorf("state %s, want %s", r.State, c.state)
				}
				if c.state != ledger.StateNone && (r.Settled == nil || r.Settled.By != "ann" || r.Settled.Reason != c.res.Reason || r.Settled.How != c.res.As.String() || r.Settled.At.IsZero()) {
					t.Errorf("settled %+v, want who, how and why", r.Settled)
				}
				res, err := ledger.Do(t.Context(), g, charge, n.run)
				switch {
				case c.next == nil:
					wantErr(t, err)
					if n.tokens[0] == left.Token {
						t.Error("the next run has the old token")
					}
				case c.res.Result != nil:
					if err != nil || res.Value != 7 || !res.Replayed {
						t.Errorf("got %d, %v; want the resolution's result", res.Value, err)
					}
				default:
					blocked(t, err, c.next)
				}
			})
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	m := ledger.NewMemory()
	g := newGuard(t, m.Session(), nil)
	happened := ledger.Resolution{As: ledger.ResolveHappened}
	id, err := g.ID(t.Context(), charge)
	wantErr(t, err)
	_, err = g.Resolve(t.Context(), id, happened)
	wantErr(t, err, ledger.ErrNotFound)
	_, err = ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
		_, err := newGuard(t, m.Session(), nil).Resolve(ctx, id, happened)
		wantErr(t, err, ledger.ErrRunning)
		return 0, nil
	})
	wantErr(t, err)
	_, err = g.Resolve(t.Context(), id, happened)
	if !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("a call that is not in doubt: %v", err)
	}
	abandon(t, m, g, ledger.Call{Tool: "t"}, 0)
	id, _ = g.ID(t.Context(), ledger.Call{Tool: "t"})
	for what, res := range map[string]ledger.Resolution{
		"no As":              {},
		"unknown As":         {As: 9},
		"result of a no":     {As: ledger.ResolveDidNotHappen, Result: []byte(`1`)},
		"result is not JSON": {As: ledger.ResolveHappened, Result: []byte(`{`)},
		"result too large":   {As: ledger.ResolveHappened, Result: fmt.Appendf(nil, `"%0300000d"`, 1)},
		"a long reason":      {As: ledger.ResolveHappened, Reason: fmt.Sprintf("%05000d", 1)},
	} {
		if _, err := g.Resolve(t.Context(), id, res); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	if r := stored(t, m, g, ledger.Call{Tool: "t"}); r.Status() != ledger.StateInDoubt {
		t.Errorf("state %s, want in doubt still", r.Status())
	}
}

// A resolution whose answer is lost is settled like any other write.
func TestResolveOnFailingStore(t *testing.T) {
	for op, want := range map[string]error{"get": ledger.ErrUnavailable, "claim": ledger.ErrUnavailable, "finish": ledger.ErrUnrecorded} {
		for name, st := range map[string]step{"down": down, "answer lost": answerLost} {
			t.Run(op+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := ledger.NewMemory()
					store := newScripted(m.Session())
					g := newGuard(t, store, nil)
					id := abandon(t, m, g, charge, ledger.DoubtBlock).ID
					store.on(op, st)
					_, err := g.Resolve(t.Context(), id, ledger.Resolution{As: ledger.ResolveHappened, By: "ann"})
					if name == "down" {
						wantErr(t, err, want)
					} else if err == nil {
						t.Error("no error")
					}
					time.Sleep(settled)
					r, err := m.Get(t.Context(), id)
					wantErr(t, err)
					state := map[bool]ledger.State{true: ledger.StateSucceeded, false: ledger.StateInDoubt}[op == "finish"]
					if r.Status() != state || r.Token != "dead-token" {
						t.Errorf("%s, want %s", r.Status(), state)
					}
				})
			})
		}
	}
}
