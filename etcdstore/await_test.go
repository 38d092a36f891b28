package etcdstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger"
)

func newKV(revision int64, size int) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{ModRevision: revision, Value: make([]byte, size)}
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: %s", what)
		}
	}
}

func (w *watches) waiters(id ledger.ID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.vigils[id]; v != nil {
		return v.waiters
	}
	return 0
}

func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.vigils)
}

// TestAwaitShares: those who wait for one record share a watch, which ends with the last of them.
func TestAwaitShares(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	r := claimNew(t, s, testID("a"), 0, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if err := s.Await(ctx, r.ID, r.Version); !errors.Is(err, context.Canceled) {
				t.Errorf("await ended with %v, want %v", err, context.Canceled)
			}
		})
	}
	until(t, "50 do not share one watch", func() bool { return s.watches.waiters(r.ID) == 50 && s.watches.count() == 1 })
	cancel()
	group.Wait()
	if n := s.watches.count(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}

// TestAwaitCut: a waiter that is cut off finds out, whether its history is still there or not.
func TestAwaitCut(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s, other := openOn(t, m, w, Options{}), openOn(t, m, nil, Options{})
	for _, compacted := range []bool{false, true} {
		r := claimNew(t, other, testID(t.Name()), 0, nil)
		done := make(chan error, 1)
		go func() { done <- s.Await(t.Context(), r.ID, r.Version) }()
		until(t, "nobody waits", func() bool { return s.watches.waiters(r.ID) == 1 })
		w.setCut(true)
		r.State = ledger.StateNone
		if err := other.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if compacted {
			if _, err := other.client.Put(t.Context(), "elsewhere", "x"); err != nil {
				t.Fatal(err)
			}
			compactNow(t, other)
		}
		select {
		case err := <-done:
			t.Fatalf("the waiter that is cut off returned %v", err)
		default:
		}
		w.setCut(false)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("compacted %t: await: %v", compacted, err)
			}
		case <-time.After(10 * time.Second): // less than two polls
			t.Errorf("compacted %t: the waiter still waits", compacted)
		}
	}
}

// TestAwaitJoins: who has read before the shared watch began does not rely on it.
func TestAwaitJoins(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	id := testID("a")
	v, err := s.watches.join(id, 100)
	if err != nil || v == nil {
		t.Fatal(v, err)
	}
	for from, want := range map[int64]bool{99: false, 100: true, 101: true} {
		other, err := s.watches.join(id, from)
		if err != nil || (other == v) != want || (other == nil) == want {
			t.Errorf("who needs revision %d joins the watch from 100: %t, %v", from, other != nil, err)
		}
		if other != nil {
			s.watches.leave(id, other)
		}
	}
	s.watches.leave(id, v)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.watches.join(id, 1); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("in a closed store: %v", err)
	}
}
