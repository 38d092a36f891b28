package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

var errFault = errors.New("injected")

// TestCommitFaults lets a claim's transaction fail at each point, and checks
// that the error says what became of the write, and that the store goes on.
func TestCommitFaults(t *testing.T) {
	for _, c := range []struct {
		name      string
		points    []string
		written   bool // the claim stands afterwards
		won       bool
		ambiguous bool
	}{
		{"begin", []string{"begin"}, false, false, false},
		{"statement", []string{"exec"}, false, false, false},
		{"commit fails", []string{"commit"}, false, false, false},
		{"commit fails, reading back too", []string{"commit", "settle"}, false, false, true},
		{"commit happened, its answer is lost", []string{"committed"}, true, true, false},
		{"commit happened, reading back fails", []string{"committed", "settle"}, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
			s.fault = func(point string) error {
				if slices.Contains(c.points, point) {
					return errFault
				}
				return nil
			}
			claim := sampleClaim(randomID())
			r, won, err := s.Claim(t.Context(), claim)
			if won != c.won || (err == nil) != c.won {
				t.Fatalf("got %v, %v; want won %v", won, err, c.won)
			}
			if err != nil {
				if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, errFault) || !strings.Contains(err.Error(), s.Path()) {
					t.Errorf("got %v; want ErrUnavailable with its cause and the file", err)
				}
				if errors.Is(err, ledger.ErrNotWritten) == c.ambiguous {
					t.Errorf("got %v; want ambiguous: %v", err, c.ambiguous)
				}
			}
			s.fault = nil
			got, err := s.Get(t.Context(), claim.Next.ID)
			if (err == nil) != c.written {
				t.Fatalf("got %v, %v; want written: %v", got, err, c.written)
			}
			if c.won && r.Version != got.Version {
				t.Errorf("got version %d, and %d stands", r.Version, got.Version)
			}
			// The same claim again is a win either way.
			again, won, err := s.Claim(t.Context(), claim)
			if err != nil || !won {
				t.Fatalf("again: got %v, %v; want a win", won, err)
			}
			if err := s.Finish(t.Context(), sampleDone(again)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSpoiledMember lets one member of a batch fail; its neighbours must not.
func TestSpoiledMember(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	n := 0
	s.fault = func(point string) error {
		if point == "exec" {
			if n++; n == 3 {
				return errFault
			}
		}
		return nil
	}
	var ops []*op
	for range 5 {
		c := sampleClaim(randomID())
		o := s.newOp(opClaim, c.Next.ID)
		o.nonce, o.data = c.Next.Nonce, "{}"
		o.bind()
		ops = append(ops, o)
	}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write(ops)
	s.turn.give()
	for i, o := range ops {
		if i == 2 {
			if o.won || !errors.Is(o.err, ledger.ErrNotWritten) || !errors.Is(o.err, errFault) {
				t.Errorf("member %d: got %v, %v; want the fault, nothing written", i, o.won, o.err)
			}
			continue
		}
		if !o.won || o.err != nil {
			t.Errorf("member %d: got %v, %v; want a win", i, o.won, o.err)
		}
	}
	var count int64
	err := s.readers.use(t.Context(), s, func(r *reader) error {
		stmt, err := r.c.prepare("SELECT count(*) FROM records WHERE workflow IS NOT NULL")
		if err == nil {
			_, err = stmt.row(func(v []driver.Value) { count = v[0].(int64) })
		}
		return err
	})
	if err != nil || count != 4 {
		t.Errorf("got %d records, %v; want 4", count, err)
	}
}

// TestFullDisk fills the database up to a bound on its pages.
func TestFullDisk(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	bound := func(pages string) {
		if _, err := s.writer.c.text("PRAGMA max_page_count = " + pages); err != nil {
			t.Fatal(err)
		}
	}
	bound("20")
	var acknowledged []ledger.Record
	var err error
	for len(acknowledged) < 10_000 {
		var r ledger.Record
		if r, _, err = s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			break
		}
		acknowledged = append(acknowledged, r)
	}
	if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), "full") {
		t.Fatalf("got %v; want ErrUnavailable and ErrNotWritten that speak of a full disk", err)
	}
	if s.writer.c != nil { // else the connection, and the bound with it, is gone
		bound("1000000")
	}
	for _, r := range acknowledged {
		if _, err := s.Get(t.Context(), r.ID); err != nil {
			t.Error(err)
		}
		if err := s.Finish(t.Context(), sampleDone(r)); err != nil {
			t.Error(err)
		}
	}
}

// hold takes the turn of the database from outside, as another process would.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	other, err := openTurn(s.place.real + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		other.give()
		other.close()
	}
}

// waitQueued returns when n ops wait in the queue.
func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	for {
		s.queue.mu.Lock()
		got := len(s.queue.ops)
		s.queue.mu.Unlock()
		if got == n {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		time.Sleep(time.Millisecond)
	}
}

// TestContextInQueue ends the contexts of a leader and of a follower while
// another process has the turn; the third gets its claim.
func TestContextInQueue(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	release := hold(t, s)
	var wg sync.WaitGroup
	var cancels []context.CancelFunc
	errs := make([]error, 3)
	for i := range errs {
		ctx, cancel := context.WithCancel(t.Context())
		cancels = append(cancels, cancel)
		defer cancel()
		wg.Go(func() { _, _, errs[i] = s.Claim(ctx, sampleClaim(randomID())) })
		waitQueued(t, s, i+1)
	}
	cancels[0]()
	waitQueued(t, s, 2)
	cancels[1]()
	waitQueued(t, s, 1)
	release()
	wg.Wait()
	for i, err := range errs[:2] {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, ledger.ErrNotWritten) {
			t.Errorf("caller %d: got %v; want Canceled and ErrNotWritten", i, err)
		}
	}
	if errs[2] != nil {
		t.Error(errs[2])
	}
}

// TestTurnIsGivenBack: a turn that arrives when nobody waits any more must not be kept.
func TestTurnIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	s, other := openTest(t, filepath.Join(dir, "ledger.db")), openTest(t, filepath.Join(dir, "ledger.db"))
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, _, err := s.Claim(ctx, sampleClaim(randomID())); done <- err }()
	waitQueued(t, s, 1)
	cancel()
	if err := <-done; !errors.Is(err, ledger.ErrNotWritten) {
		t.Errorf("got %v", err)
	}
	release()
	for _, s := range []*Store{other, s, other} {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseInQueue closes a store whose caller waits for a turn that does not come.
func TestCloseInQueue(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), &Options{BusyTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, s)
	done := make(chan error)
	go func() { _, _, err := s.Claim(context.Background(), sampleClaim(randomID())); done <- err }()
	waitQueued(t, s, 1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("got %v; want ErrClosed", err)
	}
	release()
}

// TestForeignLock: a program that knows no turns holds SQLite's write lock.
func TestForeignLock(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), &Options{BusyTimeout: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	patient := openTest(t, s.Path())
	c, err := openConn(s.Path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.run("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Claim(t.Context(), sampleClaim(randomID()))
	if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), "locked by another program") {
		t.Errorf("got %v; want ErrUnavailable and ErrNotWritten that speak of a lock", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, _, err = patient.Claim(ctx, sampleClaim(randomID())); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ledger.ErrNotWritten) {
		t.Errorf("got %v; want DeadlineExceeded and ErrNotWritten", err)
	}
	if err := c.run("COMMIT"); err != nil {
		t.Fatal(err)
	}
	if _, _, err = s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
		t.Error(err)
	}
}

// TestGuessedVersion lets another store write where the version counter was guessed.
func TestGuessedVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	a, b := openTest(t, path), openTest(t, path)
	var last ledger.Version
	claim := func(s *Store) ledger.Record {
		t.Helper()
		r, won, err := s.Claim(t.Context(), sampleClaim(randomID()))
		if err != nil || !won || r.Version <= last {
			t.Fatalf("got version %d, won %v, %v; want a win with a version above %d", r.Version, won, err, last)
		}
		last = r.Version
		return r
	}
	for range 3 {
		for range 3 * guessAgain {
			claim(a)
		}
		if a.writer.others != 0 {
			t.Fatalf("got others %d; want the counter guessed by now", a.writer.others)
		}
		claim(b)
		claim(a) // the guess is wrong, and the first version it would use is taken
		r := claim(b)
		for range 3 * guessAgain {
			claim(a)
		}
		if err := b.Delete(t.Context(), r.ID, r.Version); !errors.Is(err, ledger.ErrRunning) {
			t.Fatal(err)
		}
		if err := b.Finish(t.Context(), sampleDone(r)); err != nil {
			t.Fatal(err)
		}
		if err := a.Tally(t.Context(), []ledger.Tally{{ID: r.ID, Blocked: 1}}); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(t.Context(), r.ID); err != nil || got.Blocked != 1 {
			t.Errorf("got %d blocked, %v; want 1", got.Blocked, err)
		}
	}
}
