package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/proxy"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/etcdstore"
)

func id(n int) ledger.ID {
	return ledger.ID{Workflow: "a/b", Tool: "charge card", Fingerprint: strconv.Itoa(n)}
}

func next(n int, nonce string) ledger.Record {
	return ledger.Record{ID: id(n), State: ledger.StateRunning, Nonce: nonce, Token: "t" + strconv.Itoa(n), Attempt: 1, Starts: 1}
}

func lines(t *testing.T, path string) (all []trace.Write) {
	t.Helper()
	for w, err := range trace.Read[trace.Write](path) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

// All that a store writes is in the file, in order and once, across a kill of the leader, the
// stop of another and a forced compaction.
func TestRecord(t *testing.T) {
	c := startCluster(t, 3)
	harness, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { harness.Close() })
	const prefix = "chaos/run-1"
	path := filepath.Join(t.TempDir(), trace.StoreFile)
	rec, err := Record(t.Context(), harness, prefix, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rec.Close() })
	store, err := etcdstore.Open(t.Context(), c.Endpoints(), &etcdstore.Options{Prefix: prefix, TTL: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			_ = store.Close()
		}
	})

	type write struct{ claim, finish ledger.Version }
	var done []write
	settle := func(n int) {
		t.Helper()
		ctx := within(t, 30*time.Second)
		r, won, err := store.Claim(ctx, ledger.Claim{Next: next(n, "n"+strconv.Itoa(n))})
		if err != nil || !won {
			t.Fatalf("claim %d: %v, %v", n, won, err)
		}
		w := write{claim: r.Version}
		r.State, r.Result = ledger.StateSucceeded, []byte(strconv.Itoa(n))
		if err := store.Finish(ctx, r); err != nil {
			t.Fatalf("finish %d: %v", n, err)
		}
		if r, err = store.Get(ctx, id(n)); err != nil {
			t.Fatal(err)
		}
		w.finish = r.Version
		done = append(done, w)
	}
	n := 0
	for ; n < 10; n++ {
		settle(n)
	}
	if err := c.Compact(within(t, 20*time.Second), rec); err != nil {
		t.Fatal(err)
	}
	dead := leader(t, c)
	if err := c.Kill(dead); err != nil {
		t.Fatal(err)
	}
	for ; n < 20; n++ {
		settle(n)
	}
	if err := c.Restart(within(t, 30*time.Second), dead); err != nil {
		t.Fatal(err)
	}
	stopped := leader(t, c)
	if err := c.Pause(stopped); err != nil {
		t.Fatal(err)
	}
	for ; n < 30; n++ {
		settle(n)
	}
	if err := rec.CatchUp(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(stopped); err != nil {
		t.Fatal(err)
	}
	if err := c.Compact(within(t, 20*time.Second), rec); err != nil {
		t.Fatal(err)
	}

	// A call whose owner loses its lease, and one that is deleted.
	held, won, err := store.Claim(within(t, 30*time.Second), ledger.Claim{Next: next(n, "held")})
	if err != nil || !won {
		t.Fatal(won, err)
	}
	if err := store.Delete(within(t, 30*time.Second), id(0), done[0].finish); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Revoke(within(t, 30*time.Second), prefix, os.Getpid()+1); found || err != nil {
		t.Errorf("the lease of another process: %v, %v", found, err)
	}
	if found, err := c.Revoke(within(t, 30*time.Second), prefix, os.Getpid()); !found || err != nil {
		t.Fatalf("the lease was not revoked: %v, %v", found, err)
	}
	closed = true
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := rec.CatchUp(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}

	recordsBy, last := map[int64]trace.Write{}, int64(0)
	held2, gone := map[string]string{}, map[string]int{}
	for _, w := range lines(t, path) {
		if w.Rev < last || w.At == 0 {
			t.Errorf("after revision %d: %+v", last, w)
		}
		last = w.Rev
		switch {
		case w.Gone:
			gone[w.Key+" "+w.Name]++
			if w.Key == "running" && w.Session != held2[w.Name] {
				t.Errorf("the running key %s of %q is gone, which was of %q", w.Name, w.Session, held2[w.Name])
			}
		case w.Key == "record":
			if _, again := recordsBy[w.Rev]; again {
				t.Errorf("two records have the revision %d", w.Rev)
			}
			recordsBy[w.Rev] = w
		case w.Key == "running":
			if w.Session == "" || w.Lease == 0 {
				t.Errorf("a running key without an owner: %+v", w)
			}
			held2[w.Name] = w.Session
		case w.Key == "session":
			if w.Lease == 0 {
				t.Errorf("a session without a lease: %+v", w)
			}
		default:
			t.Errorf("what is this? %+v", w)
		}
	}
	for n, w := range done {
		claim, finish := recordsBy[int64(w.claim)], recordsBy[int64(w.finish)]
		if claim.Name != id(n).String() || claim.Record.State != "running" || claim.Record.Nonce != "n"+strconv.Itoa(n) || claim.Record.Fence != int64(w.claim) {
			t.Errorf("claim %d: got %+v", n, claim)
		}
		if finish.Name != id(n).String() || finish.Record.State != "succeeded" || finish.Record.Result != strconv.Itoa(n) || finish.Record.Fence != int64(w.claim) {
			t.Errorf("finish %d: got %+v", n, finish)
		}
		if got := gone["running "+id(n).String()]; got != 1 {
			t.Errorf("the running key of %d is gone %d times", n, got)
		}
	}
	if want := 2*len(done) + 1; len(recordsBy) != want {
		t.Errorf("%d writes of records, want %d", len(recordsBy), want)
	}
	if gone["record "+id(0).String()] != 1 || gone["running "+id(n).String()] != 1 || gone["session "+held.Owner.Session] != 1 {
		t.Errorf("the deletion, or the end of the lease, is not there: %v", gone)
	}

	// What stands already would be missing.
	if _, err := Record(t.Context(), harness, prefix, path+"2"); err == nil || !strings.Contains(err.Error(), "use another prefix") {
		t.Errorf("got %v", err)
	}
}

// lossy revokes leases, and then says that it does not know.
type lossy struct{ clientv3.Lease }

func (l lossy) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	_, err := l.Lease.Revoke(ctx, id)
	return nil, errors.Join(err, context.DeadlineExceeded)
}

// A lease whose revocation was not confirmed, and that is gone when the next member is asked, was there.
// And while no member revokes anything, they are asked again.
func TestRevokeUnconfirmed(t *testing.T) {
	c := startCluster(t, 3)
	session := func(name string) {
		t.Helper()
		lease, err := c.direct[0].Grant(within(t, 20*time.Second), 600)
		if err != nil {
			t.Fatal(err)
		}
		putSoon(t, c.direct[0], "p/sessions/"+name, `{"pid":42}`, clientv3.WithLease(lease.ID))
	}
	revoke := func(want bool) {
		t.Helper()
		if found, err := c.Revoke(within(t, 30*time.Second), "p", 42); found != want || err != nil {
			t.Errorf("got %v, %v, want %v", found, err, want)
		}
	}
	session("a")
	whole := c.direct[0].Lease
	c.direct[0].Lease = lossy{whole}
	revoke(true)
	revoke(false) // no lease is left
	c.direct[0].Lease = whole

	session("b")
	var left atomic.Int32
	left.Store(3)
	for _, one := range c.direct {
		one.Lease = stalled{one.Lease, &left}
	}
	revoke(true)
	revoke(false)
}

// stalled revokes no lease for so many times.
type stalled struct {
	clientv3.Lease
	left *atomic.Int32
}

func (s stalled) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	if s.left.Add(-1) >= 0 {
		return nil, context.DeadlineExceeded
	}
	return s.Lease.Revoke(ctx, id)
}

// A recorder that was cut off goes on where it was; unless that is compacted away.
func TestRecordMissed(t *testing.T) {
	c := startCluster(t, 1)
	direct := client(t, c.Endpoints()...)
	cut, proxies := through(t, c)
	path := filepath.Join(t.TempDir(), trace.StoreFile)
	rec, err := Record(t.Context(), cut, "p/", path)
	if err != nil {
		t.Fatal(err)
	}
	session := func(name string) {
		t.Helper()
		putSoon(t, direct, "p/sessions/"+name, "{}")
		putSoon(t, direct, "elsewhere/sessions/"+name, "{}")
	}
	session("a")
	if err := rec.CatchUp(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	proxies[0].Cut(proxy.Both)
	session("b")
	// It knows nothing of what it may not forget.
	if err := c.Compact(within(t, 20*time.Second), rec); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := rec.CatchUp(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cut off: got %v", err)
	}
	proxies[0].Heal()
	if err := rec.CatchUp(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range lines(t, path) {
		names = append(names, w.Name)
	}
	names = slices.Compact(names) // a put without an answer in time was sent again
	if len(names) != 2 || names[0] != "a" || names[1] != "b" {
		t.Errorf("got the sessions %q, want a and b", names)
	}

	proxies[0].Cut(proxy.Both)
	session("c")
	if err := c.Compact(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	proxies[0].Break() // else what etcd has not sent yet would arrive
	proxies[0].Heal()
	if err := rec.CatchUp(within(t, 20*time.Second)); !errors.Is(err, ErrMissed) {
		t.Errorf("overtaken: got %v, want ErrMissed", err)
	}
	if err := rec.Close(); !errors.Is(err, ErrMissed) {
		t.Errorf("overtaken: got %v, want ErrMissed", err)
	}

	// What can not be a record makes the file worthless, and is told.
	rec, err = Record(t.Context(), direct, "q", path+"2")
	if err != nil {
		t.Fatal(err)
	}
	putSoon(t, direct, "q/records/a/b/c", "no record")
	if err := rec.CatchUp(within(t, 20*time.Second)); err == nil || !strings.Contains(err.Error(), "q/records/a/b/c") {
		t.Errorf("got %v", err)
	}
	if err := rec.Close(); err == nil {
		t.Error("Close returned nothing")
	}
	// Closed, it says so.
	rec, err = Record(t.Context(), direct, "r", path+"3")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rec.Close(), rec.Close()); err != nil {
		t.Error(err)
	}
	putSoon(t, direct, "r/records/a/b/c", "no record")
	if err := rec.CatchUp(within(t, 20*time.Second)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("got %v", err)
	}
}
