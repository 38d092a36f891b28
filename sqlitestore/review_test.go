package sqlitestore

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// occupy takes all connections of listings, as slow listings would.
func occupy(t *testing.T, s *Store) {
	t.Helper()
	for range s.readers.size {
		c := <-s.readers.slots
		t.Cleanup(func() { s.readers.slots <- c })
	}
}

// TestListingsHoldUpNobody: reads of one record, watchers, and above all writes
// go on while listings have all of their connections.
func TestListingsHoldUpNobody(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	claim := sampleClaim(randomID())
	r, _, err := s.Claim(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	occupy(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	synced, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for c, err := range s.Watch(ctx, ledger.WatchOptions{}) {
			if err != nil {
				ended <- err
				return
			}
			switch c.Kind {
			case ledger.ChangeSync:
				close(synced)
			case ledger.ChangePut:
				ended <- nil
				return
			}
		}
	}()
	select {
	case <-synced:
	case err := <-ended:
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, r.ID); err != nil {
		t.Error(err)
	}
	if err := s.Finish(ctx, sampleDone(r)); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestJoinHoldsNoLock: one who begins to wait while no connection is free must
// not hold up the leader.
func TestJoinHoldsNoLock(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	occupy(t, s)
	spare := <-s.readers.spare
	t.Cleanup(func() { s.readers.spare <- spare })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.join(ctx, false) }()
	for range 20 {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("joined without having read the version")
	}
}

// TestUnreadableRecord: a record that this version can not read is refused with
// an error that names the file and says that nothing was written.
func TestUnreadableRecord(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	r, _, err := s.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = s.writer.c.run(`UPDATE records SET data = '{"v":99,"state":"running"}' WHERE rec = ?1`, int64(r.Version))
	if err == nil {
		_, err = s.writer.commit.exec()
	}
	s.turn.give()
	if err != nil {
		t.Fatal(err)
	}
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), s.Path()) {
			t.Errorf("%s: got %v; want ErrUnavailable, ErrNotWritten and the file", op, err)
		}
	}
	_, won, err := s.Claim(t.Context(), sampleClaim(r.ID))
	if won {
		t.Error("won")
	}
	check("claim", err)
	_, err = s.Get(t.Context(), r.ID)
	check("get", err)
	for _, err := range s.List(t.Context(), ledger.Filter{}) {
		check("list", err)
	}
}

// TestSlowListingEnds: a listing that looks through many records ends with its
// context, and with the store.
func TestSlowListingEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a great store")
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := openTest(t, path)
	n := 300_000
	if underRace { // some twenty times slower: as long with fewer
		n = 20_000
	}
	fill(t, s, n)
	list := func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		for _, err := range s.List(ctx, ledger.Filter{Key: "none", After: ledger.ID{Workflow: "!"}}) { // each record is looked up
			return time.Since(start), err
		}
		return time.Since(start), nil
	}
	whole, err := list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// soon wants end to take less than half as long as the whole listing. A machine or a disk that stands still for
	// a moment takes longer, though not each time.
	soon := func(what string, end func() time.Duration) {
		t.Helper()
		took := whole
		for tries := 0; tries < 5 && took > whole/2; tries++ {
			took = end()
		}
		if took > whole/2 {
			t.Errorf("%s took %v; the whole listing %v", what, took, whole)
		}
	}
	soon("a listing whose context ended", func() time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), whole/20)
		defer cancel()
		took, err := list(ctx)
		if err == nil {
			return whole // it was over before anyone saw that the context was
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ledger.ErrNotWritten) {
			t.Errorf("got %v; want DeadlineExceeded and ErrNotWritten", err)
		}
		return took
	})
	soon("Close beside a listing", func() time.Duration {
		s = openTest(t, path)
		ended := make(chan error, 1)
		go func() {
			_, err := list(t.Context())
			ended <- err
		}()
		for len(s.readers.slots) == s.readers.size {
			if len(ended) > 0 {
				return whole // it was over before this goroutine had a processor
			}
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		took := time.Since(start)
		if err := <-ended; err == nil {
			return whole
		} else if !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("got %v; want ErrClosed", err)
		}
		return took
	})
}

// TestFailedRecordsAreSortedByID: pages of great records are ordered without their data, also after an ID.
func TestFailedRecordsAreSortedByID(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	var ids []ledger.ID
	for range 60 {
		c := sampleClaim(randomID())
		c.Next.Args = []byte(strings.Repeat("a", 300_000))
		r, _, err := s.Claim(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		r.State = ledger.StateFailed
		if err := s.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	slices.SortFunc(ids, ledger.ID.Compare)
	for _, after := range []int{-1, 20} {
		f := ledger.Filter{States: []ledger.State{ledger.StateFailed}}
		if after >= 0 {
			f.After = ids[after]
		}
		var got []ledger.ID
		for r, err := range s.List(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.ID)
		}
		if !slices.Equal(got, ids[after+1:]) {
			t.Errorf("after %d: got %d records, want %d in order", after, len(got), len(ids)-after-1)
		}
	}
}

// TestBatchBytes: many great records do not share one commit.
func TestBatchBytes(t *testing.T) {
	var q queue
	for range 100 {
		if _, err := q.push(&op{data: strings.Repeat("a", 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(q.take(256)); got != 4 {
		t.Errorf("got %d ops of 1 MiB in a batch, want 4", got)
	}
	q = queue{ops: []*op{{kind: opTally, counts: make([]ledger.Tally, 1<<20)}, {}}}
	if got := len(q.take(256)); got != 1 {
		t.Errorf("got %d ops in a batch behind a great tally, want it alone", got)
	}
}

// TestClaimRefuses what could not be read again as it was.
func TestClaimRefuses(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	for name, spoil := range map[string]func(*ledger.Record){
		"key that is not UTF-8":   func(r *ledger.Record) { r.Key = "a\xff" },
		"unknown in-doubt policy": func(r *ledger.Record) { r.InDoubt = 9 },
	} {
		c := sampleClaim(randomID())
		spoil(&c.Next)
		if _, won, err := s.Claim(t.Context(), c); won || !errors.Is(err, ledger.ErrInvalid) || !errors.Is(err, ledger.ErrNotWritten) {
			t.Errorf("%s: got %v, %v; want ErrInvalid and ErrNotWritten", name, won, err)
		}
	}
}

// TestWatchPages: a watcher that lags holds few great records in memory, and misses none.
func TestWatchPages(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	known, err := s.lastVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const count = 48
	want := map[ledger.ID]bool{}
	for range count / 12 { // 12 records in each commit
		var ops []*op
		for range 12 {
			c := sampleClaim(randomID())
			c.Next.Args = []byte(strings.Repeat("a", 500_000))
			data, err := recordjson.Encode(&c.Next)
			if err != nil {
				t.Fatal(err)
			}
			o := s.newOp(opClaim, c.Next.ID)
			o.nonce, o.data = c.Next.Nonce, string(data)
			o.bind()
			ops = append(ops, o)
			want[o.id] = true
		}
		if err := s.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.write(ops)
		s.turn.give()
	}
	cursor, pages := position{known, 0}, 0
	for {
		changes, upto, err := s.changesSince(t.Context(), cursor, &ledger.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if upto == cursor {
			break
		}
		bytes := 0
		for _, c := range changes {
			if !want[c.ID] {
				t.Errorf("%s came twice, or was not written", c.ID)
			}
			delete(want, c.ID)
			bytes += len(c.Record.Args)
		}
		if bytes > pageBytes+ledger.MaxRecordBytes {
			t.Errorf("a page of %d bytes", bytes)
		}
		cursor, pages = upto, pages+1
	}
	if len(want) > 0 || pages < count*500_000/pageBytes {
		t.Errorf("%d records were missed, in %d pages", len(want), pages)
	}
}

// TestBusyFailsWhoWaited: only those who waited for BusyTimeout get the error of a foreign lock.
func TestBusyFailsWhoWaited(t *testing.T) {
	old, own, young := &op{}, &op{}, &op{}
	now := time.Now()
	own.since, old.since, young.since = now, now.Add(-time.Minute), now
	q := queue{ops: []*op{own, old, young}}
	batch := q.takeBusy(own, time.Second)
	if !slices.Equal(batch, []*op{own, old}) || !slices.Equal(q.ops, []*op{young}) {
		t.Errorf("got %d taken, %d left; want the leader and the old one taken", len(batch), len(q.ops))
	}
}
