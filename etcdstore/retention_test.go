package etcdstore

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

func tallyNow(t *testing.T, s *Store, counts ...ledger.Tally) {
	t.Helper()
	if err := s.Tally(t.Context(), counts); err != nil {
		t.Fatal(err)
	}
}

// leaseOfRecord is 0 for a record that is kept for ever.
func leaseOfRecord(t *testing.T, s *Store, id ledger.ID) clientv3.LeaseID {
	t.Helper()
	return clientv3.LeaseID(keysOf(t, s, s.keys.record(id)).Kvs[0].Lease)
}

func expireNow(t *testing.T, s *Store, lease clientv3.LeaseID) {
	t.Helper()
	if _, err := s.client.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
}

// jumping makes the store's wall clock go ahead by what is returned.
func jumping(s *Store) *atomic.Int64 {
	by := &atomic.Int64{}
	s.sessions.wall = func(now time.Time) time.Time { return now.Round(0).Add(time.Duration(by.Load())) }
	return by
}

// TestRetentionTakesAllCounts: counts from before the finish end with the record, those of many writers too.
func TestRetentionTakesAllCounts(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{Retention: time.Minute})
	r := claimNew(t, s, testID("a"), 0, nil)
	for range 5 {
		tallyNow(t, openOn(t, m, nil, Options{Retention: time.Minute}), blocked(r.ID, 2))
	}
	tallyNow(t, s, blocked(r.ID, 1))
	finishNew(t, s, r)
	s.upkeep.drain(t.Context())
	wantBlocked(t, s, r.ID, 11)
	lease := leaseOfRecord(t, s, r.ID)
	for _, kv := range keysOf(t, s, s.keys.tallies(r.ID)).Kvs {
		if clientv3.LeaseID(kv.Lease) != lease || lease == 0 {
			t.Errorf("%s has the lease %x, its record %x", kv.Key, kv.Lease, lease)
		}
	}
	tallyNow(t, s, blocked(r.ID, 1)) // goes on from what there is
	wantBlocked(t, s, r.ID, 12)
	expireNow(t, s, lease)
	if kvs := keysOf(t, s, s.keys.tallies(r.ID)).Kvs; len(kvs) > 0 {
		t.Errorf("%d counts are left of a record that has expired", len(kvs))
	}
}

// TestRetentionReclaim: the counts of a record that is claimed again do not end with its former version.
func TestRetentionReclaim(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{Retention: time.Minute}), openOn(t, m, nil, Options{Retention: time.Minute})
	r := finishNew(t, s, claimNew(t, s, testID("a"), 0, nil))
	tallyNow(t, s, blocked(r.ID, 5))
	tallyNow(t, other, blocked(r.ID, 2))
	lease := leaseOfRecord(t, s, r.ID)
	r = claimNew(t, other, r.ID, r.Version, nil)
	other.upkeep.drain(t.Context())
	expireNow(t, s, lease)
	wantBlocked(t, s, r.ID, 7)
	tallyNow(t, s, blocked(r.ID, 1))
	wantBlocked(t, s, r.ID, 8)
}

// TestRetentionCloseKeepsUp: a store that is closed at once has seen to the counts before.
func TestRetentionCloseKeepsUp(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{Retention: time.Minute}), openOn(t, m, nil, Options{})
	for i := range 20 {
		r := claimNew(t, s, testID(fmt.Sprint(i)), 0, nil)
		tallyNow(t, s, blocked(r.ID, 1))
		r.State, r.Finished = ledger.StateSucceeded, time.Now()
		if err := s.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, kv := range keysOf(t, other, other.keys.root+kindTallies).Kvs {
		if kv.Lease == 0 {
			t.Errorf("%s stays for ever", kv.Key)
		}
	}
}

// TestBucketOfASuspendedMachine: the monotonic clock stands still there, the lease runs.
func TestBucketOfASuspendedMachine(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	slept := jumping(s)
	b := newBucket(s, time.Hour, 10*time.Minute)
	first := leaseOf(t, b)
	slept.Add(int64(9 * time.Minute))
	if leaseOf(t, b) != first {
		t.Error("after 9 of 10 minutes there is another lease")
	}
	slept.Add(int64(2 * time.Minute))
	if leaseOf(t, b) == first {
		t.Error("after 11 of 10 minutes by the wall clock, the lease takes keys")
	}
}

// TestRetentionOfALateFinish: a finish that is written long after it got its
// lease keeps its record as long as others do.
func TestRetentionOfALateFinish(t *testing.T) {
	for _, tt := range []struct {
		name string
		late bool
		lost bool // the answer: whether the finish landed in time is not known
		want bool // another lease
	}{
		{"in time", false, false, false},
		{"late", true, false, true},
		{"answer lost", false, true, false}, // the same one is as good as another
		{"late, answer lost", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := oneMember(t)
			w := &wire{}
			s := openOn(t, m, w, Options{Retention: time.Minute})
			slept := jumping(s)
			r := claimNew(t, s, testID("a"), 0, nil)
			tallyNow(t, s, blocked(r.ID, 3))
			var first atomic.Int64
			w.onCall(func(_ string, req any, send func() error) error {
				txn, ok := req.(*pb.TxnRequest)
				if !ok || len(txn.Success) == 0 || !strings.Contains(string(txn.Success[0].GetRequestPut().GetKey()), "/"+kindRecords) || !first.CompareAndSwap(0, txn.Success[0].GetRequestPut().Lease) {
					return send()
				}
				if tt.late {
					slept.Add(int64(30 * time.Second)) // the bucket has another one by then
				}
				err := send()
				if tt.lost {
					err = errLost
				}
				return err
			})
			finishNew(t, s, r)
			s.upkeep.drain(t.Context())
			lease := leaseOfRecord(t, s, r.ID)
			if got := int64(lease) != first.Load(); got != tt.want || lease == 0 || first.Load() == 0 {
				t.Fatalf("the finish got the lease %x, the record has %x", first.Load(), lease)
			}
			if !tt.want {
				return
			}
			expireNow(t, s, clientv3.LeaseID(first.Load()))
			if got := getNow(t, s, r.ID); got.State != ledger.StateSucceeded || string(got.Result) != `{"ok":true}` {
				t.Errorf("then it is %+v", got)
			}
			wantBlocked(t, s, r.ID, 3)
			expireNow(t, s, lease)
			if kvs := keysOf(t, s, s.keys.tallies(r.ID)).Kvs; len(kvs) > 0 {
				t.Errorf("%d counts are left of a record that has expired", len(kvs))
			}
		})
	}
}

// TestWatchTellsOfExpiry: watchers of notices, too, are told what a retention deletes.
func TestWatchTellsOfExpiry(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{}), openOn(t, m, nil, Options{Retention: time.Minute})
	watch := watchOn(t, s, ledger.WatchOptions{Notices: true, Filter: ledger.Filter{Tool: "t"}})
	r := finishNew(t, other, claimNew(t, other, testID("a"), 0, nil))
	elsewhere := testID("a")
	elsewhere.Tool = "u"
	finishNew(t, other, claimNew(t, other, elsewhere, 0, nil))
	expireNow(t, other, leaseOfRecord(t, other, r.ID))
	if c := watch.next(); c.Kind != ledger.ChangeDelete || c.ID != r.ID || c.Version <= r.Version {
		t.Errorf("of the expiry of version %d the watch tells %+v", r.Version, c)
	}
}
