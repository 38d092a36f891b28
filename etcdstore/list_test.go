package etcdstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

func listed(t *testing.T, s *Store, f ledger.Filter) []ledger.Record {
	t.Helper()
	var all []ledger.Record
	for r, err := range s.List(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestListCompaction: a listing goes on, exactly, while the history that it reads is compacted away.
func TestListCompaction(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s, other := openOn(t, m, w, Options{}), openOn(t, m, nil, Options{})
	want := map[ledger.ID]int64{}
	for i := range 100 {
		r := claimNew(t, s, testID(fmt.Sprint(i)), 0, nil)
		want[r.ID] = int64(i)
		if err := s.Tally(t.Context(), []ledger.Tally{blocked(r.ID, int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	var compactions atomic.Int32
	w.onCall(func(_ string, req any, send func() error) error {
		r, ok := req.(*pb.TxnRequest)
		// Between the two requests of a page, every other time.
		if ok && len(r.Success) == 1 && r.Success[0].GetRequestRange().GetRevision() > 0 && compactions.Add(1)%2 == 1 {
			if _, err := other.client.Put(t.Context(), "elsewhere", "x"); err != nil {
				t.Error(err)
			}
			compactNow(t, other)
		}
		return send()
	})
	got := listed(t, s, ledger.Filter{})
	if compactions.Load() < 4 {
		t.Fatalf("there were %d compactions: the test tests nothing", compactions.Load())
	}
	if len(got) != len(want) {
		t.Errorf("%d records are listed, want %d", len(got), len(want))
	}
	for _, r := range got {
		if n, ok := want[r.ID]; !ok || r.Blocked != n || !r.Alive {
			t.Errorf("%s: %d blocked, alive %t; want %d, and once", r.ID, r.Blocked, r.Alive, n)
		}
		delete(want, r.ID)
	}
}

// TestListPages: a page of large records is small, one of small records large.
func TestListPages(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	const large = 200 << 10
	for i := range 40 {
		claimNew(t, s, ledger.ID{Workflow: "w", Tool: "large", Fingerprint: fmt.Sprintf("%03d", i)}, 0, bytes.Repeat([]byte("x"), large))
	}
	for i := range 600 {
		claimNew(t, s, ledger.ID{Workflow: "w", Tool: "small", Fingerprint: fmt.Sprintf("%03d", i)}, 0, nil)
	}
	var requests, largest int
	w.mu.Lock()
	w.answer = func(_ string, res any) {
		if r, ok := res.(*pb.TxnResponse); ok {
			requests++
			bytes := 0
			for _, o := range r.Responses {
				for _, kv := range kvsOf(o) {
					bytes += len(kv.Key) + len(kv.Value)
				}
			}
			largest = max(largest, bytes)
		}
	}
	w.mu.Unlock()
	if n := len(listed(t, s, ledger.Filter{Tool: "large"})); n != 40 {
		t.Errorf("%d large records are listed, want 40", n)
	}
	if bound := (firstPage + 1) * (large + 1024); largest > bound {
		t.Errorf("a page of large records has %d bytes, want %d at most", largest, bound)
	}
	requests, largest = 0, 0
	if n := len(listed(t, s, ledger.Filter{Workflow: "w", Tool: "small"})); n != 600 {
		t.Errorf("%d small records are listed, want 600", n)
	}
	if requests > 16 || largest > 2*pageBytes {
		t.Errorf("600 small records took %d requests of up to %d bytes", requests, largest)
	}
}

// TestListCounts: what etcd counts for a listing grows as what is listed, not as its square.
func TestListCounts(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	const records = 5000
	r := claimNew(t, s, ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "00000"}, 0, nil)
	value, err := recordjson.Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	var puts []clientv3.Op
	for i := 1; i < records; i++ {
		id := r.ID
		id.Fingerprint = fmt.Sprintf("%05d", i)
		record, running := s.keys.both(id)
		puts = append(puts, clientv3.OpPut(record, string(value)))
		if i%7 == 0 {
			puts = append(puts, clientv3.OpPut(running, r.Owner.Session))
		}
	}
	for chunk := range slices.Chunk(puts, 100) {
		if _, err := s.client.Txn(t.Context()).Then(chunk...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	var counted, requests int64
	inserted := false
	w.mu.Lock()
	w.answer = func(_ string, res any) {
		if r, ok := res.(*pb.TxnResponse); ok && len(r.Responses) > 0 {
			requests++
			for _, o := range r.Responses {
				counted += o.GetResponseRange().GetCount()
			}
		}
	}
	w.mu.Unlock()
	last := ""
	n := 0
	for r, err := range s.List(t.Context(), ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.ID.Fingerprint <= last {
			t.Fatalf("%s after %s", r.ID.Fingerprint, last)
		}
		if i, _ := strconv.Atoi(r.ID.Fingerprint); r.Alive != (i%7 == 0) && len(r.ID.Fingerprint) == 5 {
			t.Errorf("%s is alive: %t", r.ID.Fingerprint, r.Alive)
		}
		last = r.ID.Fingerprint
		if n++; n == 2000 { // between keys that were read and not listed yet
			inserted = true
			more := make([]clientv3.Op, 100)
			for i := range more {
				more[i] = clientv3.OpPut(s.keys.record(ledger.ID{Workflow: "w", Tool: "t", Fingerprint: fmt.Sprintf("03999-%02d", i)}), string(value))
			}
			if _, err := s.client.Txn(t.Context()).Then(more...).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d records, %d requests, %d keys counted", n, requests, counted)
	if !inserted || n != records+100 {
		t.Errorf("%d records are listed, want %d", n, records+100)
	}
	// Of the records, some pages before there are marks, the marks, and the claims beside each.
	if counted > 6*records {
		t.Errorf("etcd counted %d keys for %d records", counted, records)
	}
	if requests > 3*(records/maxPage+10) {
		t.Errorf("%d requests", requests)
	}
}

// TestListCounters: counters stand before the records of their tool, whole, however many writers they have.
func TestListCounters(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	var want []ledger.ID
	for _, tool := range []string{"a", "a b", "a/b", "b", "%", "a%"} {
		for _, workflow := range []string{"x", "x y"} {
			counter := ledger.ID{Workflow: workflow, Tool: tool}
			want = append(want, counter)
			for i := range 40 {
				if _, err := s.client.Put(t.Context(), s.keys.tally(counter, 0, fmt.Sprintf("%016x", i)), `{"v":1,"attempts":1}`); err != nil {
					t.Fatal(err)
				}
			}
			// One fingerprint begins as another one goes on: their counts are in another order than they are.
			for i, fingerprint := range []string{"0", "ab", "ab c", "ab/d", "zz"} {
				id := ledger.ID{Workflow: workflow, Tool: tool, Fingerprint: fingerprint}
				want = append(want, claimNew(t, s, id, 0, nil).ID)
				if err := s.Tally(t.Context(), []ledger.Tally{blocked(id, int64(i+1))}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	slices.SortFunc(want, func(a, b ledger.ID) int { return strings.Compare(a.String(), b.String()) })
	check := func(got []ledger.Record, want []ledger.ID) {
		t.Helper()
		for i, r := range got {
			if i >= len(want) || r.ID != want[i] {
				t.Fatalf("number %d of %d is %s", i, len(want), r.ID)
			}
			if n := int64(1 + slices.Index([]string{"0", "ab", "ab c", "ab/d", "zz"}, r.ID.Fingerprint)); r.Blocked != n || n == 0 && r.Attempts != 40 {
				t.Errorf("%s: %d attempts, %d blocked; want %d blocked", r.ID, r.Attempts, r.Blocked, n)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d are listed, want %d", len(got), len(want))
		}
	}
	check(listed(t, s, ledger.Filter{}), want)
	for i, id := range want {
		check(listed(t, s, ledger.Filter{After: id}), want[i+1:])
		check(listed(t, s, ledger.Filter{After: id, Limit: 3}), want[i+1:min(len(want), i+4)])
		only := func(other ledger.ID) bool { return other.Workflow != id.Workflow || other.Tool != id.Tool }
		check(listed(t, s, ledger.Filter{Workflow: id.Workflow, Tool: id.Tool, After: id}), slices.DeleteFunc(slices.Clone(want[i+1:]), only))
	}
}

// TestListForeignKey: what is not ours is named, and nothing is guessed.
func TestListForeignKey(t *testing.T) {
	m := oneMember(t)
	for _, path := range []string{"records/a/t/f", "records/a/t", "records/a/t/f/g", "records/a/t/", "counters/a/t/1", "counters/a", "records/a/%zz/f"} {
		s := openOn(t, m, nil, Options{Prefix: "foreign" + fmt.Sprint(len(path), path[0], path[len(path)-1])})
		mine := claimNew(t, s, testID("mine"), 0, nil)
		key := s.keys.root + path
		if _, err := s.client.Put(t.Context(), key, "not ours"); err != nil {
			t.Fatal(err)
		}
		var failed error
		for r, err := range s.List(t.Context(), ledger.Filter{}) {
			if failed != nil {
				t.Fatalf("%s: the list yields %s, %v after its error", path, r.ID, err)
			}
			failed = err
		}
		dir := key[:strings.LastIndexByte(key, '/')+1]
		if !errors.Is(failed, ledger.ErrUnavailable) || !strings.Contains(failed.Error(), dir) && !strings.Contains(failed.Error(), key) {
			t.Errorf("%s: the list ends with %v; want an error that names the key", path, failed)
		}
		if got := listed(t, s, ledger.Filter{Workflow: mine.ID.Workflow}); len(got) != 1 {
			t.Errorf("%s: %d records are listed in a workflow of ours, want 1", path, len(got))
		}
	}
}

// TestListEnds: a listing ends with its store.
func TestListEnds(t *testing.T) {
	m := oneMember(t)
	s := openOn(t, m, nil, Options{})
	for i := range 2 * firstPage {
		claimNew(t, s, testID(fmt.Sprint(i)), 0, nil)
	}
	var failed error
	for _, err := range s.List(t.Context(), ledger.Filter{}) {
		if failed = err; err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(failed, ledger.ErrClosed) {
		t.Errorf("the listing of a store that was closed ends with %v, want %v", failed, ledger.ErrClosed)
	}
	for _, err := range s.List(t.Context(), ledger.Filter{}) {
		if !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("the listing of a closed store yields %v", err)
		}
	}
}

// TestListGivesUp: a cluster that can not be read is told.
func TestListGivesUp(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	w.onCall(func(_ string, req any, send func() error) error {
		if _, ok := req.(*pb.TxnRequest); ok {
			return errLost
		}
		return send()
	})
	var errs []error
	for _, err := range s.List(t.Context(), ledger.Filter{}) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], ledger.ErrUnavailable) || !strings.HasPrefix(errs[0].Error(), "etcdstore: list: ") {
		t.Errorf("got %v; want one error matching ErrUnavailable", errs)
	}
}
