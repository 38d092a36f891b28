package sqlitestore

import (
	"path/filepath"
	"testing"

	"github.com/ledger-once/ledger"
)

// TestFresh: what runs is found by its state however long it has run, whoever commits, and no record stays fresh for good.
func TestFresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	stores := [2]*Store{openTest(t, path), openTest(t, path)}
	look := func() (last int64, running map[ledger.ID]bool) {
		t.Helper()
		running = make(map[ledger.ID]bool)
		for r, err := range stores[1].List(t.Context(), ledger.Filter{States: []ledger.State{ledger.StateRunning}}) {
			if err != nil {
				t.Fatal(err)
			}
			if !r.Alive || running[r.ID] {
				t.Errorf("%s: alive %v, seen before %v", r.ID, r.Alive, running[r.ID])
			}
			running[r.ID] = true
		}
		last, err := stores[1].lastVersion(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return last, running
	}
	var open []ledger.Record
	calls, shown := 0, [2]int{}
	for last := int64(0); last < 6*freshAfter; {
		for i := range 97 {
			s := stores[(calls+i/10)%2] // in turns, and several in a row
			r, won, err := s.Claim(t.Context(), sampleClaim(randomID()))
			if err != nil || !won {
				t.Fatal(won, err)
			}
			if i == 0 {
				open = append(open, r)
			} else if err := s.Finish(t.Context(), sampleDone(r)); err != nil {
				t.Fatal(err)
			}
		}
		calls++
		var running map[ledger.ID]bool
		last, running = look()
		if len(running) != len(open) {
			t.Fatalf("at version %d: %d running records are listed; want %d", last, len(running), len(open))
		}
		err := stores[0].readers.use(t.Context(), stores[0], func(r *reader) error {
			n, err := number(r.c, "SELECT count(*) FROM records WHERE state = -2 AND rec < (SELECT max(rec) FROM records) / 512 * 512 - 1024")
			if n != 0 {
				t.Errorf("at version %d: %d records stayed fresh", last, n)
			}
			old, _ := number(r.c, "SELECT count(*) FROM records WHERE state = 2")
			young, _ := number(r.c, "SELECT count(*) FROM records WHERE state = -2")
			shown[0], shown[1] = max(shown[0], old), max(shown[1], young)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if shown[0] == 0 || shown[1] == 0 {
		t.Errorf("at most %d old and %d fresh records ran at a time; want some of each", shown[0], shown[1])
	}
	for i, r := range open { // those of the other store too, and old ones
		if err := stores[i%2].Finish(t.Context(), sampleDone(r)); err != nil {
			t.Error(err)
		}
	}
	if _, running := look(); len(running) != 0 {
		t.Errorf("%d records are listed as running; want none", len(running))
	}
}

// TestFinishOfAnother: a finish whose fence is that of one of our claims, but is not its own, is fenced off.
func TestFinishOfAnother(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	claim := func() ledger.Record {
		r, won, err := s.Claim(t.Context(), sampleClaim(randomID()))
		if err != nil || !won {
			t.Fatal(won, err)
		}
		return r
	}
	a, b := claim(), claim()
	for name, change := range map[string]func(*ledger.Record){
		"id":    func(r *ledger.Record) { r.ID = b.ID },
		"nonce": func(r *ledger.Record) { r.Nonce = b.Nonce },
		"fence": func(r *ledger.Record) { r.Fence = b.Fence },
	} {
		done := sampleDone(a)
		change(&done)
		if err := s.Finish(t.Context(), done); err == nil {
			t.Errorf("%s: a finish of another claim was taken", name)
		}
	}
	done := sampleDone(a)
	done.Key, done.Started = "another", done.Started.Add(-1e9) // unusual, and written as it is given
	if err := s.Finish(t.Context(), done); err == nil {
		got, err := s.Get(t.Context(), a.ID)
		if err != nil || got.State != ledger.StateSucceeded || got.Key != "another" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if err := s.Finish(t.Context(), sampleDone(b)); err != nil {
		t.Error(err)
	}
}
