package sqlitestore

import (
	"database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/ledger-once/ledger"
)

// TestStaleGuess lets another store write between two writes of one that
// guesses the version counter: each write that the other can make must be noticed.
func TestStaleGuess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	a, b := openTest(t, path), openTest(t, path)
	claim := func(s *Store) ledger.Record {
		t.Helper()
		r, won, err := s.Claim(t.Context(), sampleClaim(randomID()))
		if err != nil || !won {
			t.Fatalf("got %v, %v; want a win", won, err)
		}
		return r
	}
	finish := func(s *Store, r ledger.Record) {
		t.Helper()
		if err := s.Finish(t.Context(), sampleDone(r)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(s *Store, r ledger.Record) {
		t.Helper()
		r.State = ledger.StateNone
		if err := s.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	spare, mine := claim(b), claim(a)
	for name, others := range map[string]func(){
		"a claim":          func() { claim(b) },
		"a finish":         func() { finish(b, claim(b)) },
		"a claim, removed": func() { remove(b, claim(b)) },
		"a finish alone":   func() { finish(b, spare) },
		"a tally":          func() { _ = b.Tally(t.Context(), []ledger.Tally{{ID: mine.ID, Attempts: 1}}) },
		"a counter": func() {
			_ = b.Tally(t.Context(), []ledger.Tally{{ID: ledger.ID{Workflow: "w", Tool: "t"}, Attempts: 1}})
		},
		"two claims, one gone": func() { r := claim(b); claim(b); remove(b, r) },
	} {
		for _, fresh := range []bool{true, false} {
			held := claim(a)
			for range 2 * guessAgain {
				claim(a)
			}
			if a.writer.others != 0 {
				t.Fatal("it does not guess")
			}
			before := a.writer.base
			if fresh || name != "a finish alone" {
				others()
			}
			if fresh {
				claim(a)
			} else {
				finish(a, held)
				if got, err := a.Get(t.Context(), held.ID); err != nil || int64(got.Version) <= before {
					t.Errorf("%s: got version %d, %v; want one after %d", name, got.Version, err, before)
				}
			}
			if last, err := a.lastVersion(t.Context()); err != nil || last != a.writer.base {
				t.Errorf("%s: the counter is %d, %v, and the store goes on from %d", name, last, err, a.writer.base)
			}
		}
	}
	verdict := ""
	err := a.readers.use(t.Context(), a, func(r *reader) (err error) {
		verdict, err = r.c.text("PRAGMA integrity_check")
		return err
	})
	if err != nil || verdict != "ok" {
		t.Errorf("got %q, %v", verdict, err)
	}
}

// TestCommitsArePruned: commits are kept for as many versions as watchers may
// lag behind, and hardly longer; one that lags by more is told so.
func TestCommitsArePruned(t *testing.T) {
	if testing.Short() {
		t.Skip("writes many commits")
	}
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	for s.writer.base < keepCommits+5*pruneEvery {
		var ops []*op
		for range 100 {
			o := s.newOp(opClaim, randomID())
			o.nonce, o.data = "n", "{}"
			o.bind()
			ops = append(ops, o)
		}
		if err := s.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.write(ops)
		s.turn.give()
	}
	var first, commits, records int64
	err := s.readers.use(t.Context(), s, func(r *reader) error {
		stmt, err := r.c.prepare("SELECT min(rec), count(*), (SELECT count(*) FROM records WHERE workflow IS NOT NULL) FROM records WHERE workflow IS NULL")
		if err == nil {
			_, err = stmt.row(func(v []driver.Value) { first, commits, records = v[0].(int64), v[1].(int64), v[2].(int64) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	last := s.writer.base
	if oldest := last - keepCommits; first < oldest-2*pruneEvery || first > oldest+101 {
		t.Errorf("the first commit is %d of %d; want it near %d", first, last, oldest)
	}
	if want := (last - first) / 101; commits < want || commits > want+2 {
		t.Errorf("got %d commits, want about %d", commits, want)
	}
	if want := last / 101 * 100; records != want {
		t.Errorf("got %d records, want %d: only commits are pruned", records, want)
	}
	for known, gap := range map[int64]bool{0: true, last - keepCommits - 1: true, last - keepCommits: false, last: false, last + 1: true} {
		if _, _, got, err := s.notesSince(t.Context(), known); err != nil || got != gap {
			t.Errorf("a watcher that knows %d of %d: got a gap %v, %v; want %v", known, last, got, err, gap)
		}
	}
}
