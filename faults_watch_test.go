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

// lateWatch begins to watch when it may.
type lateWatch struct {
	*ledger.Memory
	may chan struct{}
}

func (l *lateWatch) Watch(ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	return func(yield func(ledger.Change, error) bool) {
		select {
		case <-l.may:
		case <-ctx.Done():
			yield(ledger.Change{}, ctx.Err())
			return
		}
		l.Memory.Watch(ctx, o)(yield)
	}
}

// A call that is forced while the watch is broken is cancelled once it works again.
func TestForcedDuringBrokenWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := &lateWatch{Memory: m.Session(), may: make(chan struct{})}
		g, other := newGuard(t, store, nil), newGuard(t, m.Session(), nil)
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "warm"}, n.run)
		wantErr(t, err)
		entered, ended := make(chan struct{}), make(chan error)
		start := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := ledger.Do(ctx, g, charge, n.untilCancelled(entered))
			ended <- err
		}()
		<-entered
		_, err = ledger.Force(t.Context(), other, charge, n.run)
		wantErr(t, err)
		close(store.may)
		wantErr(t, <-ended, ledger.ErrFenced)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("the tool was cancelled after %v, not by the force", took)
		}
	})
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
