package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// interrupting is a store in which Ctrl-C comes with the deletion after left others, or in which all from that one on fail.
type interrupting struct {
	ledger.Store
	stop func()
	fail error

	mu   sync.Mutex
	left int // how many deletions come before
	more int // how many came from then on
}

// Nobody begins another deletion before this one has stopped what it stops.
func (s *interrupting) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 {
		s.left--
		return nil
	}
	s.more++
	if s.fail == nil {
		s.stop()
	}
	return s.fail
}

func (s *interrupting) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, seen)
}

// Ended in the middle, clear says how far it got, and that is true.
func TestClearEndsInTheMiddle(t *testing.T) {
	const total, before = 500, 99
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
		store := &interrupting{Store: memory, stop: cancel, fail: fail, left: before}
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
		// Each deleter may have been about to begin one, and one more may have been handed over.
		want := before
		if fail == nil {
			want += store.more
		}
		if deleted != want || store.more < 1 || store.more > deleters+1 {
			t.Errorf("%d deleted, and %d begun after %d, where it was ended", deleted, store.more, before)
		}
	}
}
