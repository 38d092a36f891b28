// Package benchkit holds what benchmarks share: ways to carry out one call once, with the library and
// without it, and a measure of how fast each is.
package benchkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// A Way carries out calls: for each new ID, what happens once is recorded before and after.
type Way struct {
	Name  string
	Call  func(ctx context.Context, id ledger.ID) error
	Close func() error // nil: nothing to close
}

// RandomID returns the ID of a call that nobody has made.
func RandomID() ledger.ID {
	return ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
}

const (
	sampleArgs   = `{"amount":4200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3"}`
	sampleResult = `{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","status":"succeeded"}`
)

// claimed is the record that a claim writes, with what a store adds.
func claimed(id ledger.ID) ledger.Record {
	now := time.Now()
	return ledger.Record{
		ID: id, State: ledger.StateRunning, Token: uuid.NewString(), Nonce: uuid.NewString(), Attempt: 1, Starts: 1,
		Owner: ledger.Owner{Session: "694d8c1b2f3a4e5d", Host: "worker-17", PID: 4242, Caller: "agent-A"}, Args: []byte(sampleArgs),
		ArgsDigest: "9f86d081884c7d659a2feaa0c55ad015", Created: now, Started: now,
	}
}

func done(r ledger.Record) ledger.Record {
	r.State, r.Finished = ledger.StateSucceeded, time.Now()
	r.Executed, r.Spent = 1, 1
	r.Result = []byte(sampleResult)
	return r
}

func encode(r ledger.Record) (string, error) {
	b, err := recordjson.Encode(&r)
	return string(b), err
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

// Guarded is a whole guarded call on the store: fingerprint, claim, tool, finish. Closing it closes
// the guard, and the store with closeStore.
func Guarded(store ledger.Store, closeStore func() error) (Way, error) {
	g, err := ledger.New(store, &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		return Way{}, err
	}
	return Way{
		Name: "guarded call",
		Call: func(ctx context.Context, id ledger.ID) error {
			_, err := ledger.Do(ctx, g, ledger.Call{Tool: id.Tool, Key: id.Fingerprint, Args: Charge(id.Fingerprint)},
				func(context.Context) (Receipt, error) {
					return Receipt{"ch_3MmlLrLkdIwHu7ix0snN0B15", "succeeded"}, nil
				})
			return err
		},
		Close: func() error {
			err := g.Close(context.Background())
			if closeErr := closeStore(); err == nil {
				err = closeErr
			}
			return err
		},
	}, nil
}
