package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
	"github.com/ledger-once/ledger/storetest"
)

func open(t testing.TB, dir string) ledger.Store {
	s, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.RunWith(t, open, &storetest.Options{Corrupt: sqlitestore.MakeNewer})
}
