// Package benchkit holds what benchmarks share: ways to carry out one call once, with the library and
// without it. Package rounds below it measures how fast each is. Tests and bench alone import them.
package benchkit

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
	"github.com/ledger-once/ledger/internal/recordjson"
)

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

// Guarded is a whole guarded call on the store: fingerprint, claim, tool, finish. Closing it closes
// the guard, and the store with closeStore.
func Guarded(store ledger.Store, closeStore func() error) (rounds.Way, error) {
	g, err := ledger.New(store, &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		return rounds.Way{}, err
	}
	return rounds.Way{
		Name: "guarded call",
		Call: func(ctx context.Context, id ledger.ID) error {
			_, err := ledger.Do(ctx, g, ledger.Call{Tool: id.Tool, Key: id.Fingerprint, Args: rounds.Charge(id.Fingerprint)},
				func(context.Context) (rounds.Receipt, error) {
					return rounds.Charged, nil
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
