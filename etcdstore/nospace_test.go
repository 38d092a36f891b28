package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// TestResetWithoutSpace: when the quota is used up, Guard.Reset deletes records and counters,
// counts that wait in memory or not, and other workers are told of the records.
func TestResetWithoutSpace(t *testing.T) {
	t.Run("no lease for notices", func(t *testing.T) { resetWithoutSpace(t, false) })
	t.Run("a lease for notices", func(t *testing.T) { resetWithoutSpace(t, true) })
}

func resetWithoutSpace(t *testing.T, leased bool) {
	t.Parallel() // most of the time it waits for StoreTimeout, which allows for a slow disk
	m, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, QuotaBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	s, other := openOn(t, m, nil, Options{}), openOn(t, m, nil, Options{})
	g, err := ledger.New(s, &ledger.Options{Policies: map[string]ledger.Policy{"search": {Unlimited: true}}, StoreTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	call := func(c ledger.Call) {
		t.Helper()
		if _, err := ledger.DoErr(t.Context(), g, c, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []ledger.Call{{Tool: "search"}, {Tool: "charge", Key: "1"}, {Tool: "charge", Key: "2"}, {Tool: "charge", Key: "3"}} {
		call(c)
	}
	if _, err := g.Stats(t.Context(), ledger.Filter{All: true}); err != nil { // it writes the counts
		t.Fatal(err)
	}
	if leased {
		leaseOf(t, s.notices)
	}
	watch := watchOn(t, other, ledger.WatchOptions{Notices: true})
	for n := 0; !errors.Is(err, rpctypes.ErrNoSpace); n++ {
		if _, err = other.client.Put(t.Context(), fmt.Sprint("filler/", n), string(make([]byte, 1<<13))); n > 1000 {
			t.Fatalf("after %d writes of 8 KiB: %v, want no space", n, err)
		}
	}
	call(ledger.Call{Tool: "search"}) // its count waits in memory
	if deleted, err := g.Reset(t.Context(), ledger.Filter{All: true}); err != nil || deleted != 4 {
		t.Errorf("%d deleted, error %v; want 3 records and a counter", deleted, err)
	}
	if left := listed(t, other, ledger.Filter{}); len(left) > 0 {
		t.Errorf("%d are left: %v", len(left), left)
	}
	for range 3 {
		if c := watch.next(); c.Kind != ledger.ChangeDelete || c.ID.Tool != "charge" {
			t.Errorf("another worker is told %+v", c)
		}
	}
	if err := g.Close(t.Context()); err != nil { // nothing is left that it could not write
		t.Error(err)
	}
}
