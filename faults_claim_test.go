package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

// settled is longer than the guard needs to send again what had no definite answer.
const settled = time.Minute

// Without a definite claim the tool does not run, and the claim, wherever it
// may have got to, does not stand in the way of the next call.
func TestClaimFails(t *testing.T) {
	var land func() error
	for _, c := range []struct {
		what  string
		steps []step
		want  []error
	}{
		{"down", []step{down}, []error{ledger.ErrUnavailable}},
		{"down for long", []step{down, down, down, down}, []error{ledger.ErrUnavailable}},
		{"an error without a name", []step{refuse(errLost)}, []error{ledger.ErrUnavailable, errLost}},
		{"certainly not written", []step{refuse(fmt.Errorf("%w: disk full", ledger.ErrNotWritten))}, []error{ledger.ErrUnavailable, ledger.ErrNotWritten}},
		{"closed", []step{refuse(ledger.ErrClosed)}, []error{ledger.ErrUnavailable, ledger.ErrClosed}},
		{"refused", []step{refuse(ledger.ErrInvalid)}, []error{ledger.ErrInvalid}},
		{"landed, answer lost", []step{answerLost}, []error{ledger.ErrUnavailable}},
		{"landed, answers lost", []step{answerLost, answerLost, hang}, []error{ledger.ErrUnavailable}},
		{"lands later", []step{landsLater(&land), func(context.Context, func(context.Context) error) error { return errors.Join(land(), errLost) }}, []error{ledger.ErrUnavailable}},
		{"hangs", []step{hang}, []error{ledger.ErrUnavailable, context.DeadlineExceeded}},
	} {
		for _, before := range []string{"none", "failed", "dead"} {
			t.Run(c.what+"/"+before, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, n := ledger.NewMemory(), &counter{}
					store := newScripted(m.Session())
					g, other := newGuard(t, store, nil), newGuard(t, m.Session(), nil)
					token := ""
					switch before {
					case "failed":
						_, err := ledger.Do(t.Context(), g, charge, (&counter{}).fails(ledger.NotDone(errTool)))
						wantErr(t, err, errTool)
						time.Sleep(settled) // out of the cache
					case "dead":
						token = abandon(t, m, g, charge, ledger.DoubtRetry).Token
						// The first claim finds the record, the next one takes over.
						store.on("claim", func(ctx context.Context, do func(context.Context) error) error { return do(ctx) })
					}
					was := stored(t, m, g, charge)
					store.on("claim", c.steps...)

					start := time.Now()
					_, err := ledger.Do(t.Context(), g, charge, n.run)
					wantErr(t, err, c.want...)
					wantCount(t, "effects of the call that failed", n.count(), 0)
					if c.what == "hangs" && time.Since(start) != 10*time.Second {
						t.Errorf("gave up after %v, want 10s", time.Since(start))
					}

					time.Sleep(settled)
					is := stored(t, m, g, charge)
					if is.State == ledger.StateRunning && is.Alive {
						t.Fatal("the claim still stands")
					}
					if is.Token != was.Token || is.Starts != was.Starts || is.State != was.State && is.State != ledger.StateInDoubt {
						t.Errorf("the record is %+v, was %+v", is, was)
					}
					_, err = ledger.Do(t.Context(), other, charge, n.run)
					wantErr(t, err)
					wantCount(t, "effects", n.count(), 1)
					if token != "" && n.tokens[0] != token {
						t.Errorf("token %q, want that of the dead worker's run, %q", n.tokens[0], token)
					}
				})
			})
		}
	}
}

// Nobody may run a call while it is unknown whether it is claimed: local
// duplicates wait for that, as long as a store operation may take.
func TestClaimUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		g, other := newGuard(t, store, nil), newGuard(t, m.Session(), nil)
		store.on("claim", answerLost)
		store.always("claim", down)
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err, ledger.ErrUnavailable)
		start := time.Now()
		_, err = ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err, ledger.ErrUnavailable)
		if time.Since(start) != 10*time.Second {
			t.Errorf("the duplicate waited %v, want 10s", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = ledger.Do(ctx, g, charge, n.run)
		wantErr(t, err, context.DeadlineExceeded)
		_, err = ledger.Do(t.Context(), other, charge, n.run)
		blocked(t, err, ledger.ErrInProgress)

		late := make(chan error)
		go func() {
			_, err := ledger.Do(t.Context(), g, charge, n.run)
			late <- err
		}()
		synctest.Wait()
		store.always("claim", nil)
		wantErr(t, <-late) // it goes on as soon as the claim is settled
		wantCount(t, "effects", n.count(), 1)
	})
}

// A caller who leaves between the claim and the start gives the claim back:
// what was stored before stands again.
func TestGiveBack(t *testing.T) {
	for _, lose := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			store := newScripted(m.Session())
			g, other := newGuard(t, store, withPolicy(ledger.Policy{Max: 2, Replay: true})), newGuard(t, m.Session(), nil)
			leave := func() error {
				ctx, cancel := context.WithCancelCause(t.Context())
				store.on("claim", func(ctx context.Context, do func(context.Context) error) error {
					defer cancel(errTool)
					return do(ctx)
				})
				if lose {
					store.on("finish", answerLost, down, down)
				}
				_, err := ledger.Do(ctx, g, charge, n.run)
				time.Sleep(settled)
				return err
			}
			wantErr(t, leave(), errTool)
			if r := stored(t, m, g, charge); r.State != ledger.StateNone {
				t.Errorf("nothing was stored before; now %s", r.State)
			}

			res, err := ledger.Do(t.Context(), g, charge, n.run)
			wantErr(t, err)
			time.Sleep(settled)
			was := stored(t, m, g, charge)
			store.on("claim", func(ctx context.Context, do func(context.Context) error) error { return do(ctx) })
			wantErr(t, leave(), errTool)
			is := stored(t, m, g, charge)
			if is.Version <= was.Version || is.Fence <= was.Fence {
				t.Errorf("version %d and fence %d, were %d and %d", is.Version, is.Fence, was.Version, was.Fence)
			}
			is.Version, is.Fence, is.Nonce = was.Version, was.Fence, was.Nonce
			if d := cmp.Diff(was, is); d != "" {
				t.Errorf("what stood before does not stand again: (-was +is)\n%s", d)
			}
			wantCount(t, "effects", n.count(), 1)
			wantCount(t, "value", res.Value, 1)
			_, err = ledger.Do(t.Context(), other, charge, n.run)
			blocked(t, err, ledger.ErrDuplicate)
		})
	}
}

// A cancelled caller: at each point, what it gets and what becomes of the call.
func TestCancelledCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		g := newGuard(t, store, withPolicy(ledger.Policy{Wait: time.Hour}))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := ledger.Do(ctx, g, charge, n.run) // before the claim
		wantErr(t, err, context.Canceled)
		wantCount(t, "claims", store.called("claim"), 0)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		store.on("claim", hang)
		_, err = ledger.Do(ctx, g, charge, n.run) // during the claim
		wantErr(t, err, context.DeadlineExceeded)
		cancel()
		time.Sleep(settled)

		ctx, cancel = context.WithCancel(t.Context())
		entered := make(chan struct{})
		ran := make(chan error)
		go func() { // during the tool, which has its effect all the same
			_, err := ledger.Do(ctx, g, charge, func(ctx context.Context) (int, error) {
				close(entered)
				<-ctx.Done()
				return n.run(ctx)
			})
			ran <- err
		}()
		<-entered
		wctx, leave := context.WithTimeout(t.Context(), time.Second)
		_, err = ledger.Do(wctx, g, charge, n.run) // while it waits for a local run
		wantErr(t, err, context.DeadlineExceeded)
		leave()
		other := newGuard(t, m.Session(), withPolicy(ledger.Policy{Wait: time.Hour}))
		wctx, leave = context.WithTimeout(t.Context(), time.Second)
		_, err = ledger.Do(wctx, other, charge, n.run) // while it waits for another worker's
		wantErr(t, err, context.DeadlineExceeded)
		leave()

		cancel()
		wantErr(t, <-ran)
		if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded {
			t.Errorf("state %s, want succeeded: the effect was had", r.State)
		}
		wantCount(t, "effects", n.count(), 1)
	})
}

func TestUnlimitedRunsWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted(ledger.NewMemory())
		g := newGuard(t, store, withPolicy(ledger.Policy{Unlimited: true}))
		store.all(down)
		n := &counter{}
		for range 3 {
			_, err := ledger.Do(t.Context(), g, charge, n.run)
			wantErr(t, err)
		}
		wantCount(t, "effects", n.count(), 3)
		time.Sleep(time.Minute)
		store.all(nil)
		s, err := g.Stats(t.Context(), ledger.Filter{})
		if want := (ledger.Stats{Attempts: 3, Executed: 3}); err != nil || s != want {
			t.Errorf("got %+v, %v, want %+v", s, err, want)
		}
	})
}

// StoreTimeout bounds what a caller waits for a store that hangs.
func TestStoreTimeout(t *testing.T) {
	for op, do := range map[string]func(context.Context, *ledger.Guard) error{
		"claim": func(ctx context.Context, g *ledger.Guard) error {
			_, err := ledger.Do(ctx, g, charge, (&counter{}).run)
			return err
		},
		"get": func(ctx context.Context, g *ledger.Guard) error { return g.Retry(ctx, charge) },
		"finish": func(ctx context.Context, g *ledger.Guard) error {
			_, err := ledger.Do(ctx, g, charge, (&counter{}).run)
			return err
		},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted(ledger.NewMemory())
				g := newGuard(t, store, &ledger.Options{StoreTimeout: 2 * time.Second})
				store.on(op, hang)
				start := time.Now()
				err := do(t.Context(), g)
				if op == "finish" { // it ran: nothing of the store's error may say otherwise
					wantErr(t, err, ledger.ErrUnrecorded)
					for _, not := range []error{ledger.ErrUnavailable, ledger.ErrNotWritten, context.DeadlineExceeded} {
						if errors.Is(err, not) {
							t.Errorf("%v matches %v", err, not)
						}
					}
				} else {
					wantErr(t, err, context.DeadlineExceeded, ledger.ErrUnavailable)
				}
				if waited := time.Since(start); waited != 2*time.Second {
					t.Errorf("waited %v, want 2s", waited)
				}
			})
		})
	}
}
