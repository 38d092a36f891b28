package ledger_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// untilCancelled is a tool that has its effect, then waits for the end of its context and fails with it.
func (c *counter) untilCancelled(entered chan<- struct{}) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		c.effect(ctx)
		close(entered)
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
}

// A lost lease cancels the tool. Its outcome is recorded all the same, as long
// as nobody else claimed the call.
func TestLeaseLost(t *testing.T) {
	for _, c := range []struct {
		what  string
		end   error // of the tool, beside the cause of its context
		state ledger.State
	}{
		{"it succeeded", nil, ledger.StateSucceeded},
		{"it stopped", errTool, ledger.StateInDoubt},
		{"it had done nothing", ledger.NotDone(errTool), ledger.StateFailed},
	} {
		t.Run(c.what, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			session := m.Session()
			g := newGuard(t, session, &ledger.Options{Default: ledger.Policy{Backoff: func() ledger.Backoff { return noPause{} }}})
			_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
				session.Expire()
				<-ctx.Done()
				if cause := context.Cause(ctx); cause != ledger.ErrLeaseLost {
					t.Errorf("cause %v, want ErrLeaseLost", cause)
				}
				return n.effect(ctx), c.end
			})
			if c.end == nil {
				wantErr(t, err)
			} else {
				wantErr(t, err, errTool, ledger.ErrLeaseLost)
			}
			wantCount(t, "tries with a claim that may be another's", n.count(), 1)
			if r := stored(t, m, g, charge); r.State != c.state {
				t.Errorf("state %s, want %s", r.State, c.state)
			}
			// The next call is made under the new session.
			_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "charge_card", Args: 2}, n.run)
			wantErr(t, err)
		})
	}
}

type noPause struct{}

func (noPause) NextBackOff() time.Duration { return 0 }
func (noPause) Reset()                     {}

// Whoever forces a call cancels the tool that runs it, wherever that is, and
// the outcome of the forced one stands.
func TestForcedElsewhere(t *testing.T) {
	for _, c := range []struct {
		what string
		warm bool // the guard has finished a call before
		same bool // forced through the same guard
	}{
		{"by another worker", true, false},
		{"by this worker", false, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { forcedElsewhere(t, c.warm, c.same) })
		})
	}
}

func forcedElsewhere(t *testing.T, warm, same bool) {
	m, n := ledger.NewMemory(), &counter{}
	g := newGuard(t, m.Session(), nil)
	other := g
	if !same {
		other = newGuard(t, m.Session(), nil)
	}
	if warm {
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "warm"}, n.run)
		wantErr(t, err)
		synctest.Wait() // its watch of what others do has begun
	}
	n = &counter{}
	entered, ended := make(chan struct{}), make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := ledger.Do(ctx, g, charge, n.untilCancelled(entered))
		ended <- err
	}()
	<-entered
	start := time.Now()
	res, err := ledger.Force(t.Context(), other, charge, n.run)
	wantErr(t, err)
	wantCount(t, "value", res.Value, 2)
	wantErr(t, <-ended, ledger.ErrFenced, ledger.ErrUnrecorded)
	if took := time.Since(start); took != 0 {
		t.Errorf("the tool was cancelled after %v, not by the force", took)
	}
	r := stored(t, m, g, charge)
	if r.State != ledger.StateSucceeded || r.Executed != 1 || r.Starts != 2 || r.Takeovers != 0 {
		t.Errorf("%s, executed %d, starts %d, takeovers %d; want succeeded, 1, 2, 0", r.State, r.Executed, r.Starts, r.Takeovers)
	}
	if r.Log[0].Outcome != ledger.OutcomeForced || n.tokens[0] == n.tokens[1] || n.fences[0] >= n.fences[1] {
		t.Errorf("log %v, tokens %v, fences %v", r.Log, n.tokens, n.fences)
	}
	_, err = ledger.Do(t.Context(), g, charge, n.run)
	blocked(t, err, ledger.ErrDuplicate)
}

// A finished call is remembered, without the store, until another worker
// deletes, retries or forces it.
func TestRememberedUntilNoticed(t *testing.T) {
	for what, change := range map[string]func(context.Context, *ledger.Guard) error{
		"retry": func(ctx context.Context, g *ledger.Guard) error { return g.Retry(ctx, charge) },
		"reset": func(ctx context.Context, g *ledger.Guard) error {
			_, err := g.Reset(ctx, ledger.Filter{Tool: charge.Tool})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				store := newScripted(m.Session())
				g, other := newGuard(t, store, nil), newGuard(t, m.Session(), nil)
				_, err := ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err)
				time.Sleep(2 * time.Second) // the watch has begun, and what was remembered before is forgotten
				_, err = ledger.Do(t.Context(), g, charge, n.run)
				blocked(t, err, ledger.ErrDuplicate)
				claims := store.called("claim")
				time.Sleep(24 * time.Hour)
				_, err = ledger.Do(t.Context(), g, charge, n.run)
				blocked(t, err, ledger.ErrDuplicate)
				wantCount(t, "claims for a call that is remembered", store.called("claim")-claims, 0)

				wantErr(t, change(t.Context(), other))
				synctest.Wait()
				_, err = ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err)
				wantCount(t, "effects", n.count(), 2)
			})
		})
	}
}

// Without a Watcher a record is remembered for a second; while the watch is broken, at most that.
func TestRememberedForASecond(t *testing.T) {
	for what, wrap := range map[string]func(*scripted) ledger.Store{
		"no watcher":     func(s *scripted) ledger.Store { return unwatched{s} },
		"a broken watch": func(s *scripted) ledger.Store { return &brokenWatch{scripted: s} },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				store := newScripted(m.Session())
				g, other := newGuard(t, wrap(store), nil), newGuard(t, m.Session(), nil)
				_, err := ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err)
				if what == "no watcher" {
					time.Sleep(999 * time.Millisecond)
					claims := store.called("claim")
					_, err = ledger.Do(t.Context(), g, charge, n.run)
					blocked(t, err, ledger.ErrDuplicate)
					wantCount(t, "claims within the second", store.called("claim")-claims, 0)
				}
				wantErr(t, other.Retry(t.Context(), charge)) // a stale memory blocks, and no more
				time.Sleep(time.Second)
				_, err = ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err)
				wantCount(t, "effects", n.count(), 2)
			})
		})
	}
}

// brokenWatch tells of nothing.
type brokenWatch struct {
	*scripted
	watches atomic.Int64
}

func (b *brokenWatch) Watch(context.Context, ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	return func(yield func(ledger.Change, error) bool) {
		b.watches.Add(1)
		yield(ledger.Change{}, errors.New("watch: connection refused"))
	}
}

func (b *brokenWatch) Await(context.Context, ledger.ID, ledger.Version) error { return errLost }

// A waiter whose store can not watch, or fails to, polls.
func TestWaitWithoutWatch(t *testing.T) {
	for what, wrap := range map[string]func(*scripted) ledger.Store{
		"no watcher":     func(s *scripted) ledger.Store { return unwatched{s} },
		"a broken watch": func(s *scripted) ledger.Store { return &brokenWatch{scripted: s} },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				policy := withPolicy(ledger.Policy{Wait: time.Hour})
				g, other := newGuard(t, m.Session(), policy), newGuard(t, wrap(newScripted(m.Session())), policy)
				entered := make(chan struct{})
				go func() {
					_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
						close(entered)
						time.Sleep(10 * time.Minute)
						return n.run(ctx)
					})
					wantErr(t, err)
				}()
				<-entered
				res, err := ledger.Do(t.Context(), other, charge, n.run)
				if err != nil || res.Value != 1 || !res.Replayed {
					t.Errorf("got %d, replayed %v, %v; want the other's value", res.Value, res.Replayed, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // the store goes away while it waits
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		policy := withPolicy(ledger.Policy{Wait: time.Hour})
		g, other := newGuard(t, m.Session(), policy), newGuard(t, store, policy)
		_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
			store.always("get", down)
			_, err := ledger.Do(t.Context(), other, charge, n.run)
			wantErr(t, err, ledger.ErrUnavailable)
			store.always("get", nil)
			return n.run(ctx)
		})
		wantErr(t, err)
		wantCount(t, "effects", n.count(), 1)
	})
}
