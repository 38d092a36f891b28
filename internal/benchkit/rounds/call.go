package rounds

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/ledger-once/ledger"
)

// A Way carries out calls: for each new ID, what happens once is recorded before and after.
type Way struct {
	Name  string
	Call  func(ctx context.Context, id ledger.ID) error
	Close func() error // nil: nothing to close

	// Begin starts what must not run while others are measured, such as what polls; end stops it. Serve calls it for each line. nil: there is nothing such.
	Begin func() (end func() error, err error)
}

// RandomID returns the ID of a call that nobody has made.
func RandomID() ledger.ID {
	return ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
}

// ChargeArgs are the arguments of the guarded calls.
type ChargeArgs struct {
	ID       string
	Customer string
	Amount   int
	Currency string
	Rate     float64
}

// Charge returns arguments that differ with id.
func Charge(id string) ChargeArgs { return ChargeArgs{id, "cus_9s6XKzkNRiz8i3", 4200, "eur", 1.25} }

// A Receipt is the result of the guarded calls.
type Receipt struct{ ID, Status string }

// Charged is that result.
var Charged = Receipt{"ch_3MmlLrLkdIwHu7ix0snN0B15", "succeeded"}
