package sqlitestore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

func Example() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := sqlitestore.Open(ctx, filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	guard, err := ledger.New(store, &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", func(_ context.Context, cents int) (string, error) {
		fmt.Println("charging", cents)
		return "receipt-1", nil
	})
	for range 2 { // a retry, a second worker, a restart: it makes no difference
		receipt, err := charge(ctx, 4200)
		fmt.Println(receipt, err)
	}
	// Output:
	// charging 4200
	// receipt-1 <nil>
	// receipt-1 <nil>
}

// A tool that only looks neither creates the file nor takes part in writing.
func ExampleOpenReadOnly() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, err = sqlitestore.OpenReadOnly(context.Background(), filepath.Join(dir, "ledger.db"), nil)
	files, _ := os.ReadDir(dir)
	fmt.Println(err != nil, len(files))
	// Output: true 0
}
