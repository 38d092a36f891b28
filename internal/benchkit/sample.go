// Package benchkit holds what benchmarks share: ways to carry out one call once, with the library and
// without it. Package rounds below it measures how fast each is. Tests and bench alone import them.
package benchkit

import (
	"context"
	"errors"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
	"github.com/ledger-once/ledger/internal/recordjson"
)

func encode(r ledger.Record) (string, error) {
	b, err := recordjson.Encode(&r)
	return string(b), err
}

// alone is a claim and a finish on the store, without a guard.
func alone(store ledger.Store, closeStore func() error) rounds.Way {
	return rounds.Way{Name: "store alone", Close: closeStore, Call: func(ctx context.Context, id ledger.ID) error {
		r, won, err := store.Claim(ctx, ledger.Claim{Next: rounds.Claimed(id)})
		if err == nil && !won {
			err = errors.New("a call that nobody made is there")
		}
		if err == nil {
			err = store.Finish(ctx, rounds.Done(r))
		}
		return err
	}}
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
