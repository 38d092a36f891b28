package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
)

var errLost = status.Error(codes.Unavailable, "the answer is lost")

// wantBlocked wants the record's counts to be n blocked calls, and n more attempts than starts.
func wantBlocked(t *testing.T, s *Store, id ledger.ID, n int64) {
	t.Helper()
	if r := getNow(t, s, id); r.Blocked != n || r.Attempts != r.Starts+n {
		t.Fatalf("%s: %d blocked and %d attempts of %d starts; want %d blocked", id, r.Blocked, r.Attempts, r.Starts, n)
	}
}

func blocked(id ledger.ID, n int64) ledger.Tally {
	return ledger.Tally{ID: id, Attempts: n, Blocked: n}
}

// TestTallyLostAnswers: counts are exact though every third answer is lost,
// while writers come and others fold their keys.
func TestTallyLostAnswers(t *testing.T) {
	m := oneMember(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &wire{}
	plain := openOn(t, m, nil, Options{})
	r := claimNew(t, plain, testID("a"), 0, nil)
	counter := ledger.ID{Workflow: "w", Tool: "t"}
	const writers, times = 24, 8
	var stores []*Store
	for range writers {
		stores = append(stores, openOn(t, m, w, Options{}))
	}
	w.onCall(func(_ string, req any, send func() error) error {
		mu.Lock()
		dice := rng.IntN(6)
		mu.Unlock()
		if !writes(req) || dice > 1 {
			return send()
		}
		if dice == 0 {
			_ = send()
		}
		return errLost
	})
	var group sync.WaitGroup
	for _, s := range stores {
		group.Go(func() {
			for range times {
				if err := s.Tally(t.Context(), []ledger.Tally{blocked(r.ID, 1), {ID: counter, Attempts: 1}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	w.onCall(nil)
	wantBlocked(t, plain, r.ID, writers*times)
	if got := getNow(t, plain, counter).Attempts; got != writers*times {
		t.Errorf("the counter has %d attempts, want %d", got, writers*times)
	}
	for _, id := range []ledger.ID{r.ID, counter} {
		if n := len(keysOf(t, plain, plain.keys.tallies(id)).Kvs); n > writers {
			t.Errorf("%d keys for the counts of %s", n, id)
		}
	}
}

// TestTallySentAgain: counts of a call that failed are counted once when its caller sends
// them again, with others added, whether they had been written or not.
func TestTallySentAgain(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	for _, landed := range []bool{false, true} {
		for _, before := range []int64{0, 5} {
			t.Run(fmt.Sprint("landed ", landed, ", before ", before), func(t *testing.T) {
				id, other := testID(t.Name()), testID(t.Name()+"other")
				for _, id := range []ledger.ID{id, other} {
					claimNew(t, s, id, 0, nil)
					if before > 0 {
						if err := s.Tally(t.Context(), []ledger.Tally{blocked(id, before)}); err != nil {
							t.Fatal(err)
						}
					}
				}
				for sum := int64(1); sum <= 3; sum++ {
					ctx, cancel := context.WithCancel(t.Context())
					w.onCall(func(_ string, req any, send func() error) error {
						if writes(req) && (landed || strings.Contains(fmt.Sprint(req), id.Fingerprint)) {
							defer cancel() // its caller gives up
							if landed {
								_ = send()
							}
							return errLost
						}
						return send()
					})
					err := s.Tally(ctx, []ledger.Tally{blocked(id, sum), blocked(other, sum)})
					cancel()
					w.onCall(nil)
					if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrNotWritten) {
						t.Fatalf("got %v; want an error that says nothing about what was written", err)
					}
				}
				for range 2 {
					if err := s.Tally(t.Context(), []ledger.Tally{blocked(id, 4), blocked(other, 4)}); err != nil {
						t.Fatal(err)
					}
				}
				wantBlocked(t, s, id, before+8)
				wantBlocked(t, s, other, before+8)
			})
		}
	}
}

// TestTallyPartly: what is wrong with one ID does not keep the others from being counted, once.
func TestTallyPartly(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{}), openOn(t, m, nil, Options{})
	good, bad := claimNew(t, s, testID("good"), 0, nil), claimNew(t, s, testID("bad"), 0, nil)
	if err := other.Tally(t.Context(), []ledger.Tally{blocked(bad.ID, 2)}); err != nil {
		t.Fatal(err)
	}
	key := s.keys.tally(bad.ID, int64(bad.Version), s.writer)
	if _, err := s.client.Put(t.Context(), key, "not ours"); err != nil {
		t.Fatal(err)
	}
	counts := []ledger.Tally{blocked(bad.ID, 3), blocked(good.ID, 3)}
	for range 3 {
		err := s.Tally(t.Context(), counts)
		if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), key) {
			t.Fatalf("got %v; want an error that names the key %s, and does not say that nothing was written", err, key)
		}
		wantBlocked(t, other, good.ID, 3)
	}
	if _, err := s.Get(t.Context(), bad.ID); !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(err.Error(), key) {
		t.Errorf("get: %v; want an error that names the key", err)
	}
	if _, err := s.client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.Tally(t.Context(), counts); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, s, good.ID, 3)
	wantBlocked(t, s, bad.ID, 5)
}

// TestTallyFolds: keys do not grow with the writers that ever were.
func TestTallyFolds(t *testing.T) {
	m := oneMember(t)
	first := openOn(t, m, nil, Options{})
	r := claimNew(t, first, testID("a"), 0, nil)
	var stores []*Store
	for range 3*maxWriters + 5 {
		stores = append(stores, openOn(t, m, nil, Options{}))
	}
	sum := int64(0)
	for round := range int64(3) {
		for i, s := range stores {
			n := int64(i) + round
			sum += n
			if err := s.Tally(t.Context(), []ledger.Tally{blocked(r.ID, n), {ID: ledger.ID{Workflow: "w", Tool: "t"}, Executed: n}}); err != nil {
				t.Fatal(err)
			}
			wantBlocked(t, first, r.ID, sum)
			if got := getNow(t, first, ledger.ID{Workflow: "w", Tool: "t"}).Executed; got != sum {
				t.Fatalf("the counter has executed %d, want %d", got, sum)
			}
			if n := len(keysOf(t, first, first.keys.tallies(r.ID)).Kvs); n > maxWriters+1 {
				t.Fatalf("%d keys, want %d at most", n, maxWriters+1)
			}
		}
	}
	// Folded by another while the answer is lost, and not.
	s := stores[0]
	slot, err := s.tallies.use(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	slot.stale = true
	s.tallies.release(r.ID, slot)
	if err := s.Tally(t.Context(), []ledger.Tally{blocked(r.ID, 1)}); err != nil {
		t.Fatal(err)
	}
	wantBlocked(t, first, r.ID, sum+1)
}

// TestTallyLateCopies: a copy of a write that lands after its key was folded, or its counter
// removed, counts nothing.
func TestTallyLateCopies(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{}), openOn(t, m, nil, Options{})
	record := claimNew(t, s, testID("a"), 0, nil).ID
	counter := ledger.ID{Workflow: "w", Tool: "t"}
	send := func(s *Store, o *op) bool {
		t.Helper()
		ans, err := s.writes.do(t.Context(), &op{id: o.id, cmps: o.cmps, then: o.then, els: o.els})
		if err != nil {
			t.Fatal(err)
		}
		return ans.ok
	}
	learned := func(s *Store, id ledger.ID) *tallied {
		t.Helper()
		ans, err := s.lookups.do(t.Context(), &op{id: id, then: s.tallies.readOps(id)})
		if err != nil {
			t.Fatal(err)
		}
		e := &tallied{}
		if ok, err := e.learn(s, id, ans.revision, ans.kvs(0), ans.kvs(1)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		return e
	}
	for _, id := range []ledger.ID{record, counter} {
		e := learned(s, id)
		put, err := s.tallies.putOp(id, e, storedCounts{Attempts: 3})
		if err != nil {
			t.Fatal(err)
		}
		if !send(s, put) {
			t.Fatal("the first copy was refused")
		}
		fold, err := other.tallies.foldOp(id, learned(other, id))
		if err != nil {
			t.Fatal(err)
		}
		if !send(other, fold) {
			t.Fatal("the fold was refused")
		}
		if send(s, put) || send(other, fold) {
			t.Errorf("%s: a late copy of a write was taken after its key was folded", id)
		}
		ans, err := s.lookups.do(t.Context(), &op{id: id, then: s.tallies.readOps(id)})
		if err != nil {
			t.Fatal(err)
		}
		// The answer of the first copy was lost: e does not know of it, and finds it in what was folded.
		if _, err := e.learn(s, id, ans.revision, ans.kvs(0), ans.kvs(1)); err != nil || e.counts.Attempts != -3 {
			t.Errorf("%s: after the fold %+v is left to write (error %v); want -3 attempts", id, e.counts, err)
		}
	}
	// After the removal of the counter.
	e := learned(s, counter)
	e.mod, e.fold = 0, 0
	put, err := s.tallies.putOp(counter, e, storedCounts{Attempts: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(t.Context(), counter, 0); err != nil {
		t.Fatal(err)
	}
	if send(s, put) {
		t.Error("a late copy of a write brought back a counter that was removed")
	}
	if err := other.Delete(t.Context(), counter, 0); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
}

// TestTallyRemovalLost: a removal whose answer is lost is settled, and takes nothing that is counted later.
func TestTallyRemovalLost(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s, other := openOn(t, m, w, Options{}), openOn(t, m, nil, Options{})
	counter := ledger.ID{Workflow: "w", Tool: "t"}
	if err := s.Tally(t.Context(), []ledger.Tally{{ID: counter, Attempts: 1}}); err != nil {
		t.Fatal(err)
	}
	late := make(chan error, 1)
	w.onCall(func(_ string, req any, send func() error) error {
		if !writes(req) {
			return send()
		}
		_ = send()
		w.onCall(nil)
		if err := other.Tally(t.Context(), []ledger.Tally{{ID: counter, Attempts: 7}}); err != nil {
			t.Error(err)
		}
		late <- send() // as a late copy
		return errLost
	})
	if _, err := s.notices.lease(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := s.Delete(t.Context(), counter, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	// The delete was sent again, and found what was counted since: whether it took that is a
	// matter of order. Its late copy, from before, must not have.
	if r, err := other.Get(t.Context(), counter); err == nil && r.Attempts != 7 || err != nil && !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("got %d attempts, %v", r.Attempts, err)
	}
}

// TestTallyRetention: counts end with their record, and not before.
func TestTallyRetention(t *testing.T) {
	m := oneMember(t)
	var stores []*Store
	for range 3 {
		stores = append(stores, openOn(t, m, nil, Options{Retention: time.Minute}))
	}
	s := stores[0]
	leases := func(id ledger.ID) (record int64, tallies []int64) {
		record = keysOf(t, s, s.keys.record(id)).Kvs[0].Lease
		for _, kv := range keysOf(t, s, s.keys.tallies(id)).Kvs {
			tallies = append(tallies, kv.Lease)
		}
		return record, tallies
	}
	count := func(id ledger.ID, s *Store) {
		t.Helper()
		if err := s.Tally(t.Context(), []ledger.Tally{blocked(id, 1)}); err != nil {
			t.Fatal(err)
		}
		record, tallies := leases(id)
		for _, lease := range tallies {
			if lease != record {
				t.Fatalf("counts have the leases %x, their record %x", tallies, record)
			}
		}
	}
	r := claimNew(t, s, testID("a"), 0, nil)
	want := int64(0)
	for range 3 {
		for _, s := range stores {
			count(r.ID, s)
			want++
		}
		r = finishNew(t, s, r)
		if lease, _ := leases(r.ID); lease == 0 {
			t.Fatal("the finished record has no lease")
		}
		for _, s := range stores {
			count(r.ID, s)
			want++
		}
		wantBlocked(t, s, r.ID, want)
		r = claimNew(t, s, r.ID, r.Version, nil)
	}
	r = finishNew(t, s, r)
	count(r.ID, s)
	lease, _ := leases(r.ID)
	if _, err := s.client.Revoke(t.Context(), clientv3.LeaseID(lease)); err != nil {
		t.Fatal(err)
	}
	if n := len(keysOf(t, s, s.keys.tallies(r.ID)).Kvs); n != 0 {
		t.Errorf("%d counts are left of a record that has expired", n)
	}
	if err := s.Tally(t.Context(), []ledger.Tally{blocked(r.ID, 1)}); err != nil {
		t.Errorf("counts for a record that has expired: %v; want them dropped", err)
	}
}

// TestTallyIsBounded: what is remembered of IDs does not grow without end.
func TestTallyIsBounded(t *testing.T) {
	tallies := newTallies(nil)
	for i := range idleTallies + 100 {
		id := testID(fmt.Sprint(i))
		slot, err := tallies.use(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		tallies.release(id, slot)
	}
	if len(tallies.busy) != 0 || tallies.idle.Len() != idleTallies {
		t.Errorf("%d IDs in use, %d idle; want none and %d", len(tallies.busy), tallies.idle.Len(), idleTallies)
	}
}
