//go:build failpoint

package failpoint_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// flaky is a store in memory that does not get the first finish, and does not say so.
type flaky struct {
	*ledger.Memory
	down atomic.Bool
}

func (f *flaky) Finish(ctx context.Context, done ledger.Record) error {
	if f.down.Swap(false) {
		return fmt.Errorf("%w: no answer", ledger.ErrUnavailable)
	}
	return f.Memory.Finish(ctx, done)
}

// abandon leaves theCall running under a worker that is dead.
func abandon(t *testing.T, m *ledger.Memory, id ledger.ID, doubt ledger.DoubtPolicy) ledger.Record {
	t.Helper()
	dead := m.Session()
	r, won := claim(t, dead, ledger.Claim{Next: running(id, "dead", doubt)})
	if !won {
		t.Fatal("the claim was not granted")
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGuardMutants(t *testing.T) {
	shows(t, failpoint.MutantAmbiguousFinish, func(t *testing.T) bool {
		var effects atomic.Int64
		charge := func(context.Context) (int64, error) { return effects.Add(1), nil }
		store := &flaky{Memory: ledger.NewMemory()}
		store.down.Store(true)
		g := newGuard(t, store, ledger.Policy{InDoubt: ledger.DoubtBlock})
		if _, err := ledger.Do(t.Context(), g, theCall, charge); !errors.Is(err, ledger.ErrUnrecorded) {
			t.Errorf("the lost outcome: %v, want ErrUnrecorded", err)
		}
		closeGuard(t, g) // which records what it knows
		other := newGuard(t, store.Session(), ledger.Policy{InDoubt: ledger.DoubtBlock})
		_, err := ledger.Do(t.Context(), other, theCall, charge)
		if effects.Load() == 1 && !errors.Is(err, ledger.ErrDuplicate) {
			t.Errorf("the duplicate: %v, want ErrDuplicate", err)
		}
		return effects.Load() > 1
	})

	shows(t, failpoint.MutantLocalFence, func(t *testing.T) bool {
		m := ledger.NewMemory()
		g := newGuard(t, m, ledger.Policy{})
		for range 5 { // other processes of the fleet write as well
			r := mustClaim(t, m, fmt.Sprint("other", time.Now().UnixNano()), 0, ledger.DoubtRetry)
			finish(t, m, ledger.Record{ID: r.ID, Fence: r.Fence, Nonce: r.Nonce})
		}
		id, same := theID(t, g), true
		_, err := ledger.Do(t.Context(), g, theCall, func(ctx context.Context) (int, error) {
			told, _ := ledger.ClaimFrom(ctx)
			r, err := m.Get(ctx, id)
			same = told.Fence == r.Fence
			return 0, err
		})
		if err != nil {
			t.Error(err)
		}
		return !same
	})

	shows(t, failpoint.MutantReconcileUnsealed, func(t *testing.T) bool {
		var told, record ledger.Version
		m := ledger.NewMemory()
		g := newGuard(t, m, ledger.Policy{InDoubt: ledger.DoubtReconcile, Reconcile: func(ctx context.Context, r ledger.Record) (ledger.Verdict, error) {
			c, _ := ledger.ClaimFrom(ctx)
			told, record = c.Fence, r.Fence
			return ledger.Happened(nil), nil
		}})
		old := abandon(t, m, theID(t, g), ledger.DoubtReconcile)
		_, err := ledger.Do(t.Context(), g, theCall, func(context.Context) (int, error) {
			t.Error("the tool ran, although its effect happened")
			return 0, nil
		})
		if !errors.Is(err, ledger.ErrDuplicate) && !errors.Is(err, ledger.ErrResultOmitted) {
			t.Errorf("the reconciled call: %v", err)
		}
		if told != record || told < old.Fence {
			t.Errorf("the query was told %d and %d, after %d", told, record, old.Fence)
		}
		return told == old.Fence
	})

	shows(t, failpoint.MutantTimeoutIsFailed, func(t *testing.T) bool {
		effects := 0
		late := func(ctx context.Context) (int, error) {
			effects++
			<-ctx.Done()
			return 0, fmt.Errorf("charge: %w", ctx.Err())
		}
		g := newGuard(t, ledger.NewMemory(), ledger.Policy{InDoubt: ledger.DoubtBlock, Timeout: 10 * time.Millisecond})
		if _, err := ledger.Do(t.Context(), g, theCall, late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the tool that ran out of time: %v", err)
		}
		_, err := ledger.Do(t.Context(), g, theCall, late)
		if effects == 1 && !errors.Is(err, ledger.ErrInDoubt) {
			t.Errorf("the duplicate: %v, want ErrInDoubt", err)
		}
		return effects > 1
	})

	shows(t, failpoint.MutantPolicyLoosened, func(t *testing.T) bool {
		m, ran := ledger.NewMemory(), false
		g := newGuard(t, m, ledger.Policy{InDoubt: ledger.DoubtRetry})
		abandon(t, m, theID(t, g), ledger.DoubtBlock)
		_, err := ledger.Do(t.Context(), g, theCall, func(context.Context) (int, error) { ran = true; return 0, nil })
		if !ran && !errors.Is(err, ledger.ErrInDoubt) {
			t.Errorf("the call in doubt: %v, want ErrInDoubt", err)
		}
		return ran
	})
}

func TestGuardPoints(t *testing.T) {
	covered(t, "guard.", func(t *testing.T, _ hits) {
		store := &flaky{Memory: ledger.NewMemory()}
		g := newGuard(t, store, ledger.Policy{InDoubt: ledger.DoubtReconcile, Reconcile: func(context.Context, ledger.Record) (ledger.Verdict, error) {
			return ledger.DidNotHappen(), nil
		}})
		id := theID(t, g)
		abandon(t, store.Memory, id, ledger.DoubtReconcile)
		if _, err := ledger.Do(t.Context(), g, theCall, func(context.Context) (int, error) {
			store.down.Store(true)
			return 0, nil
		}); !errors.Is(err, ledger.ErrUnrecorded) {
			t.Errorf("the lost outcome: %v, want ErrUnrecorded", err)
		}
		closeGuard(t, g)
		other := newGuard(t, store.Session(), ledger.Policy{})
		abandon(t, store.Memory, storeID, ledger.DoubtBlock)
		if _, err := other.Resolve(t.Context(), storeID, ledger.Resolution{As: ledger.ResolveDidNotHappen, By: "a person"}); err != nil {
			t.Error(err)
		}
	})
}
