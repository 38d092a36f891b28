package dashboard

import (
	"context"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger"
)

// byID lists in the order of IDs alone, as etcd does, and after some records no more in time.
type byID struct {
	ledger.Store
	stuckAfter int // 0: never; less: at once
}

func (s byID) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		if s.stuckAfter < 0 {
			<-ctx.Done()
			yield(ledger.Record{}, ctx.Err())
			return
		}
		n := 0
		for r, err := range s.Store.List(ctx, f) {
			if n++; s.stuckAfter > 0 && n > s.stuckAfter {
				<-ctx.Done()
				yield(ledger.Record{}, ctx.Err())
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// A search that takes too long says so, whatever it was for, and one for a fingerprint goes on from where it was.
func TestSearchByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := ledger.NewMemory()
		var ids []ledger.ID
		for _, print := range []string{"00000000a", "00000000b", "aaaa1111a", "aaaa2222b", "ffff0000c"} {
			id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: print}
			if _, won, err := store.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: print, Token: print, Attempt: 1, Starts: 1}}); err != nil || !won {
				t.Fatal(won, err)
			}
			ids = append(ids, id)
		}
		find := func(s ledger.Store, q query) listing {
			t.Helper()
			d, err := New(s, &Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.find(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := find(byID{store, 0}, query{id: "aaaa", limit: 1})
		if len(p.Calls) != 1 || p.Calls[0].ID != ids[2].String() || p.Next == "" {
			t.Errorf("got %+v; want the first of two calls, and that there is more", p)
		}
		p = find(byID{store, 0}, query{id: "aaaa", limit: 1, filter: ledger.Filter{After: ids[2]}})
		if len(p.Calls) != 1 || p.Calls[0].ID != ids[3].String() || p.Next != "" {
			t.Errorf("got %+v; want the second of two calls, and no more", p)
		}
		p = find(byID{store, 2}, query{id: "ffff", limit: 5})
		if len(p.Calls) != 0 || !p.Partial || p.Next != ids[1].String() {
			t.Errorf("got %+v; want a partial page that goes on after what was looked through", p)
		}
		p = find(byID{store, 1}, query{text: "no such key", limit: 5})
		if len(p.Calls) != 0 || p.Partial {
			t.Errorf("got %+v; want that nothing is there: all was looked through", p)
		}
		p = find(byID{store, -1}, query{text: "w", limit: 5})
		if len(p.Calls) != 0 || !p.Partial {
			t.Errorf("got %+v; want that it is not known whether the key is there", p)
		}
		p = find(byID{store, 2}, query{text: "w", limit: 5})
		if len(p.Calls) != 2 || !p.Partial {
			t.Errorf("got %+v; want a partial page of the workflow", p)
		}
	})
}
