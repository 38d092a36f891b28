package storetest_test

import (
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/storetest"
)

// The test of a store is one call. In mystore_test.go:
func Example() {
	_ = func(t *testing.T) { // func TestStore(t *testing.T)
		storetest.Run(t, func(t testing.TB, dir string) ledger.Store {
			s, err := openMyStore(dir) // two owners, if it is called twice with one dir
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
}

// A store that lives in one process keeps its data by dir.
func ExampleRunInProcess() {
	_ = func(t *testing.T) { // func TestMemory(t *testing.T)
		stores := map[string]*ledger.Memory{}
		storetest.RunInProcess(t, func(_ testing.TB, dir string) ledger.Store {
			if first := stores[dir]; first != nil {
				return first.Session()
			}
			stores[dir] = ledger.NewMemory()
			return stores[dir]
		})
	}
}

func openMyStore(string) (ledger.Store, error) { return ledger.NewMemory(), nil }
