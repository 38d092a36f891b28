package etcdstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

func leaseOf(t *testing.T, b *bucket) clientv3.LeaseID {
	t.Helper()
	id, err := b.lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestBucketBounds: a lease takes its number of keys, for its time, and no more.
func TestBucketBounds(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	b := newBucket(s, time.Hour, 30*time.Minute)
	keys := map[clientv3.LeaseID]int{}
	for range 2*bucketKeys + 1 {
		keys[leaseOf(t, b)]++
	}
	if len(keys) != 3 {
		t.Errorf("%d keys have %d leases, want 3", 2*bucketKeys+1, len(keys))
	}
	for id, n := range keys {
		if n > bucketKeys {
			t.Errorf("lease %x has %d keys, want %d at most", id, n, bucketKeys)
		}
		r, err := s.client.TimeToLive(t.Context(), id)
		if err != nil || time.Duration(r.GrantedTTL)*time.Second < time.Hour {
			t.Errorf("lease %x lives for %d s (%v), want an hour at least", id, r.GrantedTTL, err)
		}
	}
	old := leaseOf(t, b)
	if leaseOf(t, b) != old {
		t.Error("two keys in a row have two leases")
	}
	b.renew()
	if leaseOf(t, b) == old {
		t.Error("a lease that is gone is handed out")
	}
	quick := newBucket(s, time.Hour, 20*time.Millisecond)
	first, begun := leaseOf(t, quick), time.Now()
	for leaseOf(t, quick) == first {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("a lease takes keys for 10 s; want 20 ms")
		}
	}
}

// TestBucketShares: those who wait for a lease share one grant, which nobody spoils by leaving.
func TestBucketShares(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	b := newBucket(s, time.Hour, 30*time.Minute)
	var grants atomic.Int32
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	w.onCall(func(_ string, req any, send func() error) error {
		if _, ok := req.(*pb.LeaseGrantRequest); ok {
			asked <- struct{}{}
			<-answer
			if grants.Add(1) == 1 {
				return errLost // it is asked for again
			}
		}
		return send()
	})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := b.lease(ctx)
		left <- err
	}()
	<-asked
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever leaves gets %v, want %v", err, context.Canceled)
	}
	var group sync.WaitGroup
	ids := make([]clientv3.LeaseID, 50)
	for i := range ids {
		group.Go(func() {
			var err error
			if ids[i], err = b.lease(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(answer)
	group.Wait()
	for _, id := range ids {
		if id != ids[0] || id == 0 {
			t.Fatalf("leases %x and %x are handed out, want one", id, ids[0])
		}
	}
	if n := grants.Load(); n != 2 {
		t.Errorf("%d grants, want 2", n)
	}
}

// TestBucketFails: who waits for a lease that can not be had is told, within RequestTimeout.
func TestBucketFails(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{RequestTimeout: 100 * time.Millisecond})
	b := newBucket(s, time.Hour, 30*time.Minute)
	w.onCall(func(_ string, req any, send func() error) error {
		if _, ok := req.(*pb.LeaseGrantRequest); ok {
			return errLost
		}
		return send()
	})
	if _, err := b.lease(t.Context()); err == nil {
		t.Error("got no error")
	}
	w.onCall(nil)
	until(t, "no lease is handed out", func() bool { // a disk may take longer than RequestTimeout, too
		_, err := b.lease(t.Context())
		return err == nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b.renew()
	if _, err := b.lease(t.Context()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("a closed store hands out a lease, or %v", err)
	}
}

// TestNotice: a notice can be told by those who come after us, and what is not understood is told as something missed.
func TestNotice(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	for _, kind := range []ledger.ChangeKind{ledger.ChangePut, ledger.ChangeDelete} {
		put, err := s.notice(t.Context(), testID("a"), kind)
		if err == nil {
			_, err = newClientKV(s.client).Txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{put}})
		}
		if err != nil {
			t.Fatal(err)
		}
		kv := keysOf(t, s, s.keys.change(testID("a"))).Kvs[0]
		if c := s.parseNotice(kv); c.Kind != kind || c.ID != testID("a") || c.Version != ledger.Version(kv.ModRevision) || kv.Lease == 0 {
			t.Errorf("the notice %s is told as %+v", kv, c)
		}
		kv.Value = append([]byte(`{"more":[1],`), kv.Value[1:]...)
		if c := s.parseNotice(kv); c.Kind != kind {
			t.Errorf("with a field that is not known, the notice is told as %+v", c)
		}
	}
	kv := keysOf(t, s, s.keys.change(testID("a"))).Kvs[0]
	for _, value := range []string{"", "x", "{}", `{"v":2,"kind":"moved"}`} {
		kv.Value = []byte(value)
		if c := s.parseNotice(kv); c.Kind != ledger.ChangeSync {
			t.Errorf("the notice %q is told as %+v, want a ChangeSync", value, c)
		}
	}
}
