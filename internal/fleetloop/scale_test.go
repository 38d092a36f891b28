//go:build linux

package fleetloop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

const (
	// maxLeaseKeys is how many keys a lease may hold: it ends in one step, which
	// holds up all others.
	maxLeaseKeys = 1000
	// maxRunning is how many claims a lease may hold, beside the session's own key.
	maxRunning = 512
)

// No lease holds many keys, however many records, counts and notices there are.
//
//	go test ./internal/fleetloop -v -run TestLeasesAreSmall -timeout 30m -args -records 50000
func TestLeasesAreSmall(t *testing.T) {
	for _, retention := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprint("retention ", retention), func(t *testing.T) {
			f := newFleet(t, 1, 15*time.Second)
			o := etcdstore.Options{Retention: retention}
			first, second := f.guard(f.open(o)), f.guard(f.open(o))
			key := func(i int) ledger.Call { return ledger.Call{Tool: "replay", Key: fmt.Sprintf("key-%d", i)} }
			f.spread(*records, func(i int) error {
				_, err := ledger.Do(f.ctx, first, key(i), func(context.Context) (int, error) { return i, nil })
				return err
			})
			f.spread(*records, func(i int) error { // each has a count beside it
				res, err := ledger.Do(f.ctx, second, key(i), func(context.Context) (int, error) { return 0, errors.New("run twice") })
				if err == nil && (!res.Replayed || res.Value != i) {
					err = fmt.Errorf("replayed: %t, %d", res.Replayed, res.Value)
				}
				return err
			})
			stats, err := second.Stats(f.ctx, ledger.Filter{}) // writes the counts first
			if err != nil {
				t.Fatal(err)
			}
			if stats.Actions != int64(*records) || stats.Blocked != int64(*records) {
				t.Errorf("%+v; want %d actions, and as many blocked", stats, *records)
			}
			kept := 0
			if retention > 0 {
				kept = 2 * *records // each with its count
			}
			f.wantSmallLeases("finished", kept)
			forced := min(*records, maxLeaseKeys*3/2)
			f.spread(forced, func(i int) error { // each with a notice
				_, err := ledger.Force(f.ctx, first, key(i), func(context.Context) (int, error) { return i, nil })
				return err
			})
			if retention > 0 {
				kept -= forced // their counts may be on the way to the lease of the record
			}
			f.wantSmallLeases("forced", kept+forced)
		})
	}
}

// spread does n things, some at the same time.
func (f *fleet) spread(n int, do func(i int) error) {
	f.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					f.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
	if f.Failed() {
		f.FailNow()
	}
}

// wantSmallLeases checks the keys of all leases that the cluster has. At least so many have one.
func (f *fleet) wantSmallLeases(when string, leased int) {
	f.Helper()
	r, err := f.client.Leases(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	most, all := 0, 0
	for _, l := range r.Leases {
		t, err := f.client.TimeToLive(f.ctx, l.ID, clientv3.WithAttachedKeys())
		if err != nil {
			f.Fatal(err)
		}
		most, all = max(most, len(t.Keys)), all+len(t.Keys)
	}
	f.Logf("%s: %d leases, the fullest with %d keys; %d leased keys in all", when, len(r.Leases), most, all)
	if most > maxLeaseKeys {
		f.Errorf("%s: a lease holds %d keys; want at most %d", when, most, maxLeaseKeys)
	}
	if all < leased {
		f.Errorf("%s: %d keys are leased; want %d", when, all, leased)
	}
}

// A worker with a full session dies: how long that holds up the calls of others is
// measured, and their results are checked.
//
//	go test ./internal/fleetloop -v -run TestDeathOfAFullSession
func TestDeathOfAFullSession(t *testing.T) {
	f := newFleet(t, 1, 15*time.Second)
	dying, living := f.open(etcdstore.Options{}), f.guard(f.open(etcdstore.Options{}))
	claims := make([]ledger.Record, maxRunning)
	f.spread(maxRunning, func(i int) (err error) {
		var won bool
		id := ledger.ID{Workflow: "dying", Tool: "charge_card", Fingerprint: fmt.Sprintf("%032x", i)}
		claims[i], won, err = dying.Claim(f.ctx, ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: fmt.Sprint("nonce-", i), Started: time.Now()}})
		if err == nil && !won {
			err = errors.New("refused")
		}
		return err
	})
	session := claims[0].Owner.Session
	kv, _ := f.get(f.job.Prefix + "/sessions/" + session)
	if kv == nil {
		t.Fatalf("there is no session %s", session)
	}

	// Others work, before, during and after.
	warm := ledger.Call{Tool: "replay", Key: "living-0"}
	if _, err := ledger.Do(f.ctx, living, warm, func(context.Context) (string, error) { return "", nil }); err != nil {
		t.Fatal(err) // it opens a session
	}
	type sample struct{ from, to time.Time }
	var mu sync.Mutex
	var samples []sample
	work, end := context.WithCancel(f.ctx)
	var group sync.WaitGroup
	var n atomic.Int64
	for range 4 {
		group.Go(func() {
			for work.Err() == nil {
				s := sample{from: time.Now()}
				call := ledger.Call{Tool: "replay", Key: fmt.Sprint("living-", n.Add(1))}
				if _, err := ledger.Do(f.ctx, living, call, func(context.Context) (string, error) { return call.Key, nil }); err != nil {
					t.Errorf("a call of another worker: %v", err)
					return
				}
				s.to = time.Now()
				mu.Lock()
				samples = append(samples, s)
				mu.Unlock()
			}
		})
	}
	const some = 300
	f.until("others work", func() bool { return n.Load() > some })
	began := time.Now()
	if _, err := f.client.Revoke(f.ctx, clientv3.LeaseID(kv.Lease)); err != nil {
		t.Fatal(err)
	}
	over := time.Now()
	m := n.Load()
	f.until("others go on", func() bool { return n.Load() > m+some })
	end()
	group.Wait()

	var around, before []time.Duration
	for _, s := range samples {
		switch {
		case s.to.Before(began):
			before = append(before, s.to.Sub(s.from))
		case s.from.Before(over):
			around = append(around, s.to.Sub(s.from))
		}
	}
	slices.Sort(before)
	slices.Sort(around)
	if len(around) == 0 || len(before) == 0 {
		t.Fatalf("the run is invalid: %d calls before the revoke, %d around it", len(before), len(around))
	}
	t.Logf("the revoke of %d running keys took %v; the longest of the %d calls around it %v; of the %d before it %v, the median %v",
		maxRunning, over.Sub(began), len(around), around[len(around)-1], len(before), before[len(before)-1], before[len(before)/2])

	lost := dying.LeaseLost(session)
	select {
	case <-lost:
	case <-f.ctx.Done():
		t.Error("the dead session was not told")
	}
	reader := f.open(etcdstore.Options{})
	for _, c := range claims {
		r, err := reader.Get(f.ctx, c.ID)
		if err != nil || r.Status() != ledger.StateInDoubt || r.Version != c.Version {
			t.Fatalf("%s: after its owner's death the record is %s at version %d, error %v; want it in doubt, unchanged at %d", c.ID, r.Status(), r.Version, err, c.Version)
		}
	}
}
