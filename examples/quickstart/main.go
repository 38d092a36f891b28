// Quickstart: an agent that retries charges the customer once, also after a restart of its process.
//
//	go run ./examples/quickstart            # charges
//	go run ./examples/quickstart            # does not
//	go run ./cmd/ledger show ledger.db      # what is on record
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// Charge is what the agent asks for. Amounts are integers: floats are rounded before they are compared.
type Charge struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

// Receipt is what the payment service answers.
type Receipt struct {
	ID string `json:"id"`
}

func main() {
	if err := run(context.Background(), os.Stdout, "ledger.db"); err != nil {
		log.Fatal(err)
	}
}

// run is an agent that asks three times for one charge, as agents do after time-outs.
func run(ctx context.Context, w io.Writer, path string) (err error) {
	store, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer store.Close()

	guard, err := ledger.New(store, &ledger.Options{
		Policies: map[string]ledger.Policy{
			"charge_card": {Replay: true}, // a duplicate gets the first one's receipt, and need not know that it is one
		},
	})
	if err != nil {
		return err
	}
	defer func() { // what could not be recorded is reported here, so the error counts
		if closed := guard.Close(ctx); err == nil {
			err = closed
		}
	}()

	chargeCard := func(_ context.Context, in Charge) (Receipt, error) { // the payment service
		_, err := fmt.Fprintf(w, "  charging %s %d cents\n", in.Customer, in.Cents)
		return Receipt{ID: "r-1"}, err
	}

	// The workflow is where calls are compared: the same charge for another order is another call.
	charge := ledger.Once(guard.Workflow("order-42"), "charge_card", chargeCard)
	for try := range 3 {
		receipt, err := charge(ctx, Charge{Customer: "cus_42", Cents: 9900})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "try %d: receipt %s\n", try+1, receipt.ID)
	}

	stats, err := guard.Stats(ctx, ledger.Filter{Workflow: "order-42"})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "asked %d times, charged %d time\n", stats.Attempts, stats.Executed)
	return err
}
