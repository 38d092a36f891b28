package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// waiters measures how long after a call's end the last of n waiters, in another worker, has its result.
func (r *runner) waiters(ctx context.Context, c Cell, n int, open opener) (err error) {
	policy := ledger.Policy{Replay: true, Wait: time.Minute}
	var guards [2]*ledger.Guard
	var waiting awaited
	for i := range guards {
		s, closeStore, err := open(ctx, "waiters")
		if err != nil {
			return err
		}
		if i == 1 {
			waiting = awaited{Store: s, Watcher: s.(ledger.Watcher), n: new(atomic.Int64)}
			s = waiting
		}
		g, err := ledger.New(s, &ledger.Options{Default: policy})
		if err != nil {
			return errors.Join(err, closeStore())
		}
		defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(ctx)), closeStore()) }()
		guards[i] = g
	}
	var took []float64
	for range 3 {
		ms, err := waitOnce(ctx, guards[0], guards[1], waiting.n, n)
		if err != nil {
			return err
		}
		took = append(took, ms)
	}
	c.Unit = "ms"
	c.Rows = []Row{{Name: "until the last waiter has the result", Value: spread(took)}}
	r.result.Cells = append(r.result.Cells, c)
	return nil
}

// awaited is a store that counts who waits for one of its records. It hides the store's leases: nothing runs on it.
type awaited struct {
	ledger.Store
	ledger.Watcher
	n *atomic.Int64
}

func (a awaited) Await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	a.n.Add(1)
	defer a.n.Add(-1)
	return a.Watcher.Await(ctx, id, seen)
}

// waitOnce lets n callers of other wait for a call of owner's. inStore is how many of them wait in the store: one waits for all.
func waitOnce(ctx context.Context, owner, other *ledger.Guard, inStore *atomic.Int64, n int) (ms float64, err error) {
	call := ledger.Call{Tool: "charge_card", Key: rounds.RandomID().Fingerprint, Args: 1}
	running, ended, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	errs := make([]error, n+1)
	wg.Go(func() {
		defer close(ended)
		_, errs[n] = ledger.Do(ctx, owner, call, func(context.Context) (int, error) {
			close(running)
			<-finish
			return 1, nil
		})
	})
	select {
	case <-running:
	case <-ended:
		return 0, fmt.Errorf("the call to wait for did not run: %w", errs[n])
	case <-ctx.Done():
		close(finish) // it may have come to run meanwhile
		wg.Wait()
		return 0, ctx.Err()
	}
	var began atomic.Int64
	for i := range n {
		wg.Go(func() {
			began.Add(1)
			_, errs[i] = ledger.Do(ctx, other, call, func(context.Context) (int, error) {
				return 0, errors.New("it ran twice")
			})
		})
	}
	settleErr := settle(ctx, func() bool { return began.Load() == int64(n) && inStore.Load() > 0 })
	start := time.Now()
	close(finish)
	wg.Wait()
	return float64(time.Since(start).Microseconds()) / 1e3, errors.Join(settleErr, errors.Join(errs...))
}

// settleWithin bounds how long the waiters have until they wait.
const settleWithin = 30 * time.Second

// settle returns once all callers have begun, as begun says, and no goroutine of this process could run: what began, waits.
func settle(ctx context.Context, begun func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleWithin, errors.New("the waiters do not come to wait"))
	defer cancel()
	runnable := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if begun() {
			metrics.Read(runnable)
			if runnable[0].Value.Kind() != metrics.KindUint64 {
				return fmt.Errorf("this Go does not tell %s", runnable[0].Name)
			}
			if runnable[0].Value.Uint64() == 0 {
				return nil
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
