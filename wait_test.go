package ledger_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// Waiters, in this process and in another, get the outcome of the run they waited for.
func TestWait(t *testing.T) {
	for _, where := range []string{"local", "remote"} {
		for _, c := range []struct {
			what    string
			policy  ledger.Policy
			outcome error // of the run waited for
			want    error // of the waiters; nil: the value
			value   int
			effects int // in the end, of 1 + 3 calls
		}{
			{"success", ledger.Policy{Wait: time.Hour}, nil, nil, 1, 1},
			{"success, with Replay", ledger.Policy{Wait: time.Hour, Replay: true}, nil, nil, 1, 1},
			{"success below Max", ledger.Policy{Wait: time.Hour, Max: 9}, nil, nil, 1, 1},
			{"not done: each decides anew", ledger.Policy{Wait: time.Hour}, ledger.NotDone(errTool), nil, 2, 2},
			{"in doubt: each decides anew", ledger.Policy{Wait: time.Hour}, errTool, nil, 2, 2},
			{"in doubt, blocked", ledger.Policy{Wait: time.Hour, InDoubt: ledger.DoubtBlock}, errTool, ledger.ErrInDoubt, 0, 1},
			{"permanent", ledger.Policy{Wait: time.Hour}, ledger.Permanent(errTool), ledger.ErrFailed, 0, 1},
			{"patience ends", ledger.Policy{Wait: 30 * time.Second}, nil, ledger.ErrInProgress, 0, 1},
			{"no patience", ledger.Policy{}, nil, ledger.ErrInProgress, 0, 1},
		} {
			t.Run(where+"/"+c.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, n := ledger.NewMemory(), &counter{}
					runner := newGuard(t, m.Session(), withPolicy(c.policy))
					waiter := runner
					if where == "remote" {
						waiter = newGuard(t, m.Session(), withPolicy(c.policy))
					}
					ran := make(chan error)
					go func() {
						_, err := ledger.Do(t.Context(), runner, charge, func(ctx context.Context) (int, error) {
							time.Sleep(time.Minute)
							return n.effect(ctx), c.outcome
						})
						ran <- err
					}()
					synctest.Wait()
					type answer struct {
						res ledger.Result[int]
						err error
					}
					answers, start := make(chan answer), time.Now()
					for range 3 {
						go func() {
							res, err := ledger.Do(t.Context(), waiter, charge, func(ctx context.Context) (int, error) {
								time.Sleep(time.Second)
								return n.run(ctx)
							})
							answers <- answer{res, err}
						}()
					}
					fresh := 0
					for range 3 {
						a := <-answers
						if c.want != nil {
							blocked(t, a.err, c.want)
							continue
						}
						if a.err != nil || a.res.Value != c.value {
							t.Errorf("got %d, %v; want %d", a.res.Value, a.err, c.value)
						}
						if !a.res.Replayed {
							fresh++
						}
					}
					if took := time.Since(start); c.want == ledger.ErrInProgress && took != c.policy.Wait {
						t.Errorf("blocked after %v, want %v", took, c.policy.Wait)
					}
					wantErr(t, <-ran, c.outcome)
					wantCount(t, "effects", n.count(), c.effects)
					if c.want == nil {
						wantCount(t, "waiters that ran themselves", fresh, c.effects-1)
					}
				})
			})
		}
	}
}

// A waiter whose runner dies takes the call over.
func TestWaitForTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		mortal := m.Session()
		policy := withPolicy(ledger.Policy{Wait: time.Hour})
		g, waiter := newGuard(t, mortal, policy), newGuard(t, m.Session(), policy)
		ended := make(chan error)
		go func() {
			_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
				n.effect(ctx)
				time.Sleep(time.Minute)
				mortal.Expire()
				time.Sleep(time.Hour)
				return 0, errTool
			})
			ended <- err
		}()
		synctest.Wait()
		start := time.Now()
		res, err := ledger.Do(t.Context(), waiter, charge, n.run)
		if err != nil || res.Value != 2 || res.Record.Takeovers != 1 || n.tokens[0] != n.tokens[1] || time.Since(start) != time.Minute {
			t.Errorf("got %d, %v, %d takeovers, tokens %v after %v", res.Value, err, res.Record.Takeovers, n.tokens, time.Since(start))
		}
		wantErr(t, <-ended, errTool, ledger.ErrFenced)
	})
}

// A waiter whose call is deleted, or given back, meanwhile decides anew.
func TestWaitForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		policy := withPolicy(ledger.Policy{Wait: time.Hour})
		g, waiter := newGuard(t, store, policy), newGuard(t, m.Session(), policy)
		ctx, cancel := context.WithCancel(t.Context())
		store.on("claim", func(ctx context.Context, do func(context.Context) error) error {
			defer cancel()
			return do(ctx)
		})
		store.on("finish", func(ctx context.Context, do func(context.Context) error) error { // the claim given back
			time.Sleep(time.Second)
			return do(ctx)
		})
		go func() {
			_, err := ledger.Do(ctx, g, charge, n.run)
			wantErr(t, err, context.Canceled)
		}()
		synctest.Wait()
		_, err := ledger.Do(t.Context(), waiter, charge, n.run)
		wantErr(t, err)
		wantCount(t, "effects", n.count(), 1)
	})
}

// A waiter that other arguments brought sees that, and Strict does not wait at all.
func TestWaitArgsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, strict := range []bool{false, true} {
			g, n := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Wait: time.Second, Strict: strict})), &counter{}
			_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Key: "k", Args: 1}, func(ctx context.Context) (int, error) {
				start := time.Now()
				_, err := ledger.Do(context.WithoutCancel(t.Context()), g, ledger.Call{Tool: "t", Key: "k", Args: 2}, n.run)
				b := blocked(t, err, map[bool]error{false: ledger.ErrInProgress, true: ledger.ErrKeyReused}[strict])
				if took := time.Since(start); !b.ArgsDiffer || took != map[bool]time.Duration{false: time.Second}[strict] {
					t.Errorf("strict %v: differ %v, after %v", strict, b.ArgsDiffer, took)
				}
				return n.run(ctx)
			})
			wantErr(t, err)
		}
	})
}

// The flight's leader leaves: its local followers are not taken along.
func TestLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		g := newGuard(t, store, withPolicy(ledger.Policy{Wait: time.Hour}))
		remote := newGuard(t, m.Session(), nil)
		go func() {
			_, err := ledger.Do(t.Context(), remote, charge, func(ctx context.Context) (int, error) {
				time.Sleep(time.Minute)
				return n.effect(ctx), ledger.NotDone(errTool)
			})
			wantErr(t, err, errTool)
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			_, err := ledger.Do(ctx, g, charge, n.run)
			wantErr(t, err, context.DeadlineExceeded)
		}()
		synctest.Wait()
		res, err := ledger.Do(t.Context(), g, charge, n.run)
		if err != nil || res.Value != 2 {
			t.Errorf("the follower got %d, %v", res.Value, err)
		}
	})
}
