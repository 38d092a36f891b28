//go:build failpoint

package failpoint_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/sqlitestore"
)

func openSQLite(t *testing.T, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLiteMutants(t *testing.T) {
	storeMutants(t, func(t *testing.T) (a, b ledger.Store) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return openSQLite(t, path), openSQLite(t, path)
	}, failpoint.SQLiteFinishCommitting)
}

func TestSQLitePoints(t *testing.T) {
	covered(t, "sqlite.", func(t *testing.T, h hits) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		a, b := openSQLite(t, path), openSQLite(t, path)
		r := mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		if err := os.Remove(filepath.Join(path+".owners", r.Owner.Session)); err != nil {
			t.Fatal(err)
		}
		if err := a.Tally(t.Context(), []ledger.Tally{{ID: storeID, Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
		if !h.hit(failpoint.SQLiteOwnerHealing) {
			t.Errorf("a write without an owner's file did not hit %s", failpoint.SQLiteOwnerHealing)
		}
		seen, err := b.Get(t.Context(), storeID)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if h.hit(failpoint.SQLiteTakeover) {
			t.Errorf("%s was hit without a takeover", failpoint.SQLiteTakeover)
		}
		r = mustClaim(t, b, "b", seen.Version, ledger.DoubtRetry)
		finish(t, b, ended(r, `"b"`))
		if seen, err = b.Get(t.Context(), storeID); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), storeID, seen.Version); err != nil {
			t.Fatal(err)
		}
	})
}
