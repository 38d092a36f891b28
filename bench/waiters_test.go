package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger"
)

// It is over once they wait, and an error if they never do.
func TestSettle(t *testing.T) {
	looks := 0
	if err := settle(t.Context(), func() bool { looks++; return looks > 2 }); err != nil || looks < 3 {
		t.Errorf("got %v after %d looks", err, looks)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := settle(ctx, func() bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := settle(t.Context(), func() bool { return false }); err == nil || !strings.Contains(err.Error(), "do not come to wait") {
			t.Errorf("got %v", err)
		}
	})
}

// A call that can not be made ends the measurement, instead of being waited for.
func TestWaitForNothing(t *testing.T) {
	g, err := ledger.New(ledger.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := waitOnce(t.Context(), g, g, new(atomic.Int64), 3); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
