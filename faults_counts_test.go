package ledger_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// Counts wait in memory for a second, and longer while the store does not take them.
func TestCountsAreFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		g := newGuard(t, store, nil)
		again := func(times int) {
			for range times {
				_, err := ledger.Do(t.Context(), g, charge, n.run)
				blocked(t, err, ledger.ErrDuplicate)
			}
		}
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err)
		again(3)
		time.Sleep(999 * time.Millisecond)
		wantCount(t, "written within a second", int(stored(t, m, g, charge).Blocked), 0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		wantCount(t, "written after a second", int(stored(t, m, g, charge).Blocked), 3)

		store.always("tally", down)
		again(3)
		time.Sleep(time.Minute) // many flushes fail
		again(2)
		if _, err := g.Stats(t.Context(), ledger.Filter{}); err == nil {
			t.Error("statistics without this guard's own counts, and no error")
		}
		wantErr(t, g.Log(t.Context(), &logs{}, ledger.Filter{}), ledger.ErrUnavailable)
		wantCount(t, "written while the store is down", int(stored(t, m, g, charge).Blocked), 3)
		store.always("tally", nil)
		s, err := g.Stats(t.Context(), ledger.Filter{})
		if want := (ledger.Stats{Actions: 1, Attempts: 9, Executed: 1, Blocked: 8}); err != nil || s != want {
			t.Errorf("got %+v, %v, want %+v", s, err, want)
		}

		flushes := store.called("tally")
		time.Sleep(time.Hour)
		wantCount(t, "flushes without counts", store.called("tally")-flushes, 0)
	})
}

// A lost answer may count twice, never not at all.
func TestCountsWithAnswerLost(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	store := newScripted(m.Session())
	g := newGuard(t, store, withPolicy(ledger.Policy{Unlimited: true}))
	for range 5 {
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err)
	}
	store.on("tally", answerLost)
	_, err := g.Stats(t.Context(), ledger.Filter{})
	wantErr(t, err, errLost)
	s, err := g.Stats(t.Context(), ledger.Filter{})
	if err != nil || s.Executed < 5 || s.Executed > 10 {
		t.Errorf("executed %d, %v; want 5 to 10", s.Executed, err)
	}
}

func TestCloseFlushesCounts(t *testing.T) {
	for _, st := range []step{nil, down} {
		synctest.Test(t, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			store := newScripted(m.Session())
			g, err := ledger.New(store, &ledger.Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_, _ = ledger.Do(t.Context(), g, charge, n.run)
			}
			id := stored(t, m, g, charge).ID
			store.always("tally", st)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := g.Close(ctx); (err == nil) != (st == nil) {
				t.Errorf("close: %v", err)
			}
			r, err := m.Get(t.Context(), id)
			if want := map[bool]int64{true: 2}[st == nil]; err != nil || r.Blocked != want {
				t.Errorf("blocked %d, %v, want %d", r.Blocked, err, want)
			}
		})
	}
}

// A store without space takes deletions, but no counts. Those of what is deleted go with it:
// written later they would make it anew.
func TestDeletionsWithoutCounts(t *testing.T) {
	search, charge2 := ledger.Call{Tool: "search"}, ledger.Call{Tool: charge.Tool, Key: "another"}
	for name, hangs := range map[string]bool{"refused": false, "a flush is under way": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				store := newScripted(m.Session())
				g := newGuard(t, store, &ledger.Options{Policies: map[string]ledger.Policy{"search": {Unlimited: true}}})
				calls := func() {
					for _, call := range []ledger.Call{charge, charge2, search} {
						_, _ = ledger.Do(t.Context(), g, call, n.run)
					}
				}
				calls()
				if s, err := g.Stats(t.Context(), ledger.Filter{}); err != nil || s.Executed != 3 {
					t.Fatalf("before: %+v, %v", s, err)
				}
				calls()
				store.always("tally", down)
				if hangs { // it fails after the deletions
					store.always("tally", hang)
					time.Sleep(1500 * time.Millisecond)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					wantErr(t, g.Retry(ctx, charge))
				} else {
					wantErr(t, g.Retry(t.Context(), charge))
				}
				if s, err := g.Stats(t.Context(), ledger.Filter{}); err == nil {
					t.Errorf("statistics without this guard's own counts: %+v, and no error", s)
				}
				deleted, err := g.Reset(t.Context(), ledger.Filter{All: true})
				wantErr(t, err)
				wantCount(t, "deleted", deleted, 2)
				store.always("tally", nil)
				if s, err := g.Stats(t.Context(), ledger.Filter{}); err != nil || s != (ledger.Stats{}) {
					t.Errorf("after the reset there is %+v, %v; want nothing", s, err)
				}
				calls()
				if s, err := g.Stats(t.Context(), ledger.Filter{}); err != nil || s.Executed != 3 || s.Blocked != 0 {
					t.Errorf("after calls anew there is %+v, %v; want 3 executed and none blocked", s, err)
				}
			})
		})
	}
}

// A listing that breaks off says so.
func TestListFails(t *testing.T) {
	store := newScripted(ledger.NewMemory())
	g := newGuard(t, store, nil)
	store.always("list", down)
	_, err := g.Stats(t.Context(), ledger.Filter{})
	wantErr(t, err, ledger.ErrUnavailable)
	wantErr(t, g.Log(t.Context(), &logs{}, ledger.Filter{}), ledger.ErrUnavailable)
	_, err = g.Reset(t.Context(), ledger.Filter{All: true})
	wantErr(t, err, ledger.ErrUnavailable)
	for r, err := range g.History(t.Context(), ledger.Filter{}) {
		if err == nil {
			t.Errorf("got %v", r)
		}
		wantErr(t, err, ledger.ErrUnavailable)
	}
}

// A flush that hangs in the store keeps nobody longer than StoreTimeout or the caller's context allows.
func TestStoreTimeoutTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted(ledger.NewMemory())
		g := newGuard(t, store, &ledger.Options{StoreTimeout: 5 * time.Second, Default: ledger.Policy{Unlimited: true}})
		store.always("tally", hang)
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "search"}, (&counter{}).run)
		wantErr(t, err)
		time.Sleep(1500 * time.Millisecond) // the flush of every second is on its way
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err = g.Stats(ctx, ledger.Filter{})
		wantErr(t, err, context.DeadlineExceeded)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
		store.always("tally", nil)
	})
}
