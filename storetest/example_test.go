package storetest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/storetest"
)

// The test of a store is one call. In mystore_test.go:
func ExampleRun() {
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

// A store that notices deaths by leases of a minute, and orders its records by their escaped names.
func ExampleRunWith() {
	_ = func(t *testing.T) { // func TestStore(t *testing.T)
		open := func(t testing.TB, dir string) ledger.Store {
			s, err := openMyStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		storetest.RunWith(t, open, &storetest.Options{
			Patience: 5 * time.Minute,
			Order:    func(a, b ledger.ID) int { return strings.Compare(a.String(), b.String()) },
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

// A test that starts a server does so once, and not in the processes that the suite starts.
func ExampleIsWorker() {
	if !storetest.IsWorker() {
		fmt.Println("starting the server, and telling its address by the environment")
	}
	// Output: starting the server, and telling its address by the environment
}

func openMyStore(string) (ledger.Store, error) { return ledger.NewMemory(), nil }
