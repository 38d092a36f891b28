package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// settling is how many calls are made at a time.
const settling = 32

// Settle makes each call that did not come to its end once more, after healing, by a fresh worker of
// that number: so each becomes terminal, unless its policy wants a person; those are resolved.
func (s *Site) Settle(ctx context.Context, job worker.Job) (err error) {
	w, err := s.Start(ctx, job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Exit(ctx, time.Minute)) }()
	store, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if c, ok := store.(interface{ Close() error }); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, settling)
	for r, err := range store.List(ctx, ledger.Filter{States: []ledger.State{ledger.StateInDoubt, ledger.StateRunning}}) {
		if err != nil {
			return fmt.Errorf("the calls to settle: %w", err)
		}
		step := worker.Step{Kind: trace.Do, Tool: r.ID.Tool, Key: r.Key, Timeout: 20 * time.Second}
		if r.InDoubt == ledger.DoubtBlock {
			step.Kind = trace.Resolve
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		group.Go(func() {
			defer func() { <-slots }()
			w.again(ctx, step)
		})
	}
	return nil
}

// again makes the call until the store answers, and it is no longer that of a worker whose lease has yet to end. What
// became of it is in the history.
func (w *Worker) again(ctx context.Context, step worker.Step) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		n, err := w.Do(ctx, step)
		if err != nil || n.Outcome != trace.InProgress && n.Outcome != trace.Running && n.Outcome != trace.NotStarted {
			return
		}
		select {
		case <-time.After(expiryEvery):
		case <-ctx.Done():
			return
		}
	}
}

// settleWithin is how long a dead worker's lease may take to end.
const settleWithin = 30 * time.Second
