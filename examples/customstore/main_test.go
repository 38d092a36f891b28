package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	open := func(t testing.TB, dir string) ledger.Store {
		s, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		s.volatile = true
		return s
	}
	storetest.RunWith(t, open, &storetest.Options{Corrupt: func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "head.json"), []byte(`{"Schema": 2}`), 0o600)
	}})
}

func TestShipsOnce(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "worker-A: shipping order-42\nworker-B: blocked: worker-A has done it\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
