package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger"
)

// tries returns a Backoff with pauses of a second, for so many further tries.
func tries(n uint64) func() ledger.Backoff {
	return func() ledger.Backoff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), n)
	}
}

var (
	notDone   = ledger.NotDone(errTool)
	permanent = ledger.Permanent(errTool)
)

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		what    string
		policy  ledger.Policy
		outcome []error // of the tries; more are not made
		state   ledger.State
		minted  []int // by try: which token it had, from 0
	}{
		{"the third succeeds", ledger.Policy{Backoff: tries(5)}, []error{notDone, notDone, nil}, ledger.StateSucceeded, []int{0, 1, 2}},
		{"uncertain ones keep the token", ledger.Policy{Backoff: tries(5)}, []error{errTool, errTool, nil}, ledger.StateSucceeded, []int{0, 0, 0}},
		{"an uncertain one keeps the token for good", ledger.Policy{Backoff: tries(6)}, []error{notDone, notDone, errTool, notDone, notDone, errTool, nil}, ledger.StateSucceeded, []int{0, 1, 2, 2, 2, 2, 2}},
		{"it gives up", ledger.Policy{Backoff: tries(2)}, []error{errTool, errTool, errTool}, ledger.StateInDoubt, []int{0, 0, 0}},
		{"it gives up, not done", ledger.Policy{Backoff: tries(1)}, []error{notDone, notDone}, ledger.StateFailed, []int{0, 1}},
		{"permanent stops", ledger.Policy{Backoff: tries(5)}, []error{notDone, permanent}, ledger.StateFailed, []int{0, 1}},
		{"backoff.Permanent stops", ledger.Policy{Backoff: tries(5)}, []error{backoff.Permanent(errTool)}, ledger.StateFailed, []int{0}},
		{"backoff.Permanent stops what is not done", ledger.Policy{Backoff: tries(5)}, []error{backoff.Permanent(notDone)}, ledger.StateFailed, []int{0}},
		{"Block does not retry uncertain errors", ledger.Policy{Backoff: tries(5), InDoubt: ledger.DoubtBlock}, []error{errTool}, ledger.StateInDoubt, []int{0}},
		{"Block retries what is not done", ledger.Policy{Backoff: tries(5), InDoubt: ledger.DoubtBlock}, []error{notDone, nil}, ledger.StateSucceeded, []int{0, 1}},
		{"none", ledger.Policy{}, []error{notDone}, ledger.StateFailed, []int{0}},
		{"a nil one", ledger.Policy{Backoff: func() ledger.Backoff { return nil }}, []error{notDone}, ledger.StateFailed, []int{0}},
		{"one that stops at once", ledger.Policy{Backoff: func() ledger.Backoff { return &backoff.StopBackOff{} }}, []error{notDone}, ledger.StateFailed, []int{0}},
		{"no pause", ledger.Policy{Backoff: func() ledger.Backoff { return &backoff.ZeroBackOff{} }}, []error{notDone, nil}, ledger.StateSucceeded, []int{0, 1}},
		{"an exponential one", ledger.Policy{Backoff: func() ledger.Backoff { return backoff.NewExponentialBackOff() }}, []error{notDone, errTool, nil}, ledger.StateSucceeded, []int{0, 1, 1}},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				g, other := newGuard(t, m.Session(), withPolicy(c.policy)), newGuard(t, m.Session(), nil)
				res, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
					_, err := ledger.Do(context.WithoutCancel(t.Context()), other, charge, func(context.Context) (int, error) { t.Error("ran beside it"); return 0, nil })
					blocked(t, err, ledger.ErrInProgress)
					i := n.effect(ctx) - 1
					if claim, _ := ledger.ClaimFrom(ctx); claim.Attempt != i+1 {
						t.Errorf("try %d is attempt %d", i+1, claim.Attempt)
					}
					if i >= len(c.outcome) {
						t.Errorf("try %d", i+1)
						return i, nil
					}
					return i + 1, c.outcome[i]
				})
				wantErr(t, err, c.outcome[len(c.outcome)-1])
				wantCount(t, "value", res.Value, len(c.outcome))
				wantCount(t, "tries", n.count(), len(c.outcome))
				if !slices.IsSortedFunc(n.fences, func(a, b ledger.Version) int { return int(a-b) | 1 }) {
					t.Errorf("the fences do not grow: %v", n.fences)
				}
				for i := range n.tokens {
					for j := range n.tokens {
						if (n.tokens[i] == n.tokens[j]) != (c.minted[i] == c.minted[j]) {
							t.Errorf("tokens of tries %d and %d: %q, %q", i+1, j+1, n.tokens[i], n.tokens[j])
						}
					}
				}
				r := stored(t, m, g, charge)
				if r.State != c.state || r.Starts != int64(len(c.outcome)) || r.Attempt != len(c.outcome) || len(r.Log) != len(c.outcome) || r.Takeovers != 0 {
					t.Errorf("%s, starts %d, attempt %d, %d log entries, %d takeovers", r.State, r.Starts, r.Attempt, len(r.Log), r.Takeovers)
				}
			})
		})
	}
}

// Pauses are the caller's: it can leave, and Max and hooks see one call.
func TestBackoffPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		var outcomes []ledger.State
		hook := func(r ledger.Record) { outcomes = append(outcomes, r.State) }
		g := newGuard(t, m, &ledger.Options{Default: ledger.Policy{Backoff: tries(100)}, OnSuccess: hook, OnFailure: hook, OnInDoubt: hook})
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := ledger.Do(ctx, g, charge, n.fails(notDone))
		wantErr(t, err, errTool)
		if took := time.Since(start); took != 2500*time.Millisecond {
			t.Errorf("took %v, want 2.5s", took)
		}
		wantCount(t, "tries", n.count(), 3)
		if got := fmt.Sprint(outcomes); got != "[failed]" {
			t.Errorf("hooks told of %v, want one failure", got)
		}
		if r := stored(t, m, g, charge); r.State != ledger.StateFailed {
			t.Errorf("state %s, want failed", r.State)
		}
	})
}

// Unlimited tools are tried again, too.
func TestBackoffUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			backoff func() ledger.Backoff
			err     error
			want    int
		}{
			{tries(2), errTool, 3}, {tries(2), notDone, 3}, {tries(2), permanent, 1}, {tries(2), backoff.Permanent(errTool), 1},
			{nil, errTool, 1}, {func() ledger.Backoff { return nil }, errTool, 1},
		} {
			n := &counter{}
			g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Unlimited: true, Backoff: c.backoff}))
			_, err := ledger.Do(t.Context(), g, charge, n.fails(c.err))
			wantErr(t, err, errTool)
			wantCount(t, "tries", n.count(), c.want)
			s, err := g.Stats(t.Context(), ledger.Filter{})
			if want := (ledger.Stats{Attempts: int64(c.want)}); err != nil || s != want {
				t.Errorf("got %+v, %v; want %+v", s, err, want)
			}
		}
		g, n := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Unlimited: true, Backoff: tries(9)})), &counter{}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, err := ledger.Do(ctx, g, charge, n.fails(errTool))
		wantErr(t, err, errTool)
		wantCount(t, "tries of a caller who left", n.count(), 2)
	})
}
