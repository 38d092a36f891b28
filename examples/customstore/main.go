// Customstore: a store of your own. This one keeps each record in a JSON file, for many processes of one machine; on a
// database it has the same shape. store.go is the contract, files.go what a database would do, and main_test.go, of
// one call, the proof: it is the suite that the library's own stores pass.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ledger-once/ledger"
)

func main() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := run(context.Background(), os.Stdout, dir); err != nil {
		log.Fatal(err)
	}
}

// run is two workers, which might be two processes, and one order.
func run(ctx context.Context, w io.Writer, dir string) error {
	for _, worker := range []string{"worker-A", "worker-B"} {
		err := work(ctx, w, dir, worker)
		var blocked *ledger.BlockedError
		switch {
		case errors.As(err, &blocked):
			fmt.Fprintf(w, "%s: blocked: %s has done it\n", worker, blocked.Record.Owner.Caller)
		case err != nil:
			return err
		}
	}
	return nil
}

func work(ctx context.Context, w io.Writer, dir, worker string) error {
	store, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	defer store.Close()
	guard, err := ledger.New(store, &ledger.Options{Caller: worker})
	if err != nil {
		return err
	}
	defer guard.Close(ctx)
	ship := ledger.OnceErr(guard, "ship", func(_ context.Context, order string) error {
		_, err := fmt.Fprintf(w, "%s: shipping %s\n", worker, order)
		return err
	})
	return ship(ctx, "order-42")
}
