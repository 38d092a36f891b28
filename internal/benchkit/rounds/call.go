package rounds

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

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

// What the records of sample calls hold.
const (
	SampleArgs   = `{"amount":4200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3"}`
	SampleResult = `{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","status":"succeeded"}`
)

// Claimed is the record that a claim writes, with what a store adds.
func Claimed(id ledger.ID) ledger.Record {
	now := time.Now()
	return ledger.Record{
		ID: id, State: ledger.StateRunning, Token: uuid.NewString(), Nonce: uuid.NewString(), Attempt: 1, Starts: 1,
		Owner: ledger.Owner{Session: "694d8c1b2f3a4e5d", Host: "worker-17", PID: 4242, Caller: "agent-A"}, Args: []byte(SampleArgs),
		ArgsDigest: "9f86d081884c7d659a2feaa0c55ad015", Created: now, Started: now,
	}
}

// Done is the record that a finish writes over r.
func Done(r ledger.Record) ledger.Record {
	r.State, r.Finished = ledger.StateSucceeded, time.Now()
	r.Executed, r.Spent = 1, 1
	r.Result = []byte(SampleResult)
	return r
}
