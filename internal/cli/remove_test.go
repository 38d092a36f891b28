package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// interrupting is a store in which Ctrl-C comes with the nth deletion, or the nth deletion fails.
type interrupting struct {
	ledger.Store
	n    atomic.Int64
	stop func()
	fail error
}

func (s *interrupting) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if s.n.Add(-1) == 0 {
		if s.fail != nil {
			return s.fail
		}
		s.stop()
	}
	return s.Store.Delete(ctx, id, seen)
}

// Ended in the middle, clear says how far it got, and that is true.
func TestClearEndsInTheMiddle(t *testing.T) {
	const total = 500
	broken := fmt.Errorf("the disk is gone: %w", ledger.ErrUnavailable)
	for _, fail := range []error{nil, broken} {
		memory := ledger.NewMemory()
		for i := range total {
			if _, err := put(t.Context(), memory, seeded("order-1", "charge_card", fmt.Sprintf("%032x", i), time.Hour), ledger.StateSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store := &interrupting{Store: memory, stop: cancel, fail: fail}
		store.n.Store(100)
		var out, said bytes.Buffer
		a := &app{out: &out, err: &said, environ: func(string) string { return "" }}
		err := a.deleteAll(ctx, &ledgerAt{Store: store}, ledger.Filter{All: true}, func(*ledger.Record) bool { return true }, total, false)
		if want := fail; want == nil && !errors.Is(err, context.Canceled) || want != nil && !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		left := 0
		for _, err := range memory.List(t.Context(), ledger.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
		var deleted int
		if _, err := fmt.Sscanf(said.String(), "ledger: %d calls deleted of 500; the rest stands", &deleted); err != nil || deleted+left != total || out.Len() > 0 {
			t.Errorf("said %q and %q; %d are left", &said, &out, left)
		}
		if deleted < 99 || deleted > 100+deleters {
			t.Errorf("%d deleted, though it was ended at 100", deleted)
		}
	}
}
