package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
	"github.com/ledger-once/ledger/internal/ancestor"
)

// stopping is a store in which Ctrl-C comes with the nth claim, or the nth claim fails.
type stopping struct {
	ledger.Store
	n    atomic.Int64
	stop func()
	fail error
}

func (s *stopping) Claim(ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	if s.n.Add(-1) == 0 {
		if s.fail != nil {
			return ledger.Record{}, false, s.fail
		}
		s.stop()
	}
	return s.Store.Claim(ctx, c)
}

// Ended in the middle, import says how far it got, that is true, and importing again does the rest.
func TestImportEndsInTheMiddle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	if err := ancestorAt(path); err != nil {
		t.Fatal(err)
	}
	const total = 3
	for _, fail := range []error{nil, fmt.Errorf("the disk is gone: %w", ledger.ErrUnavailable)} {
		memory := ledger.NewMemory()
		defer memory.Close()
		hasher, err := fingerprint.New(fingerprint.Rules{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		carry := func(ctx context.Context, store ledger.Store) (*walked, string, error) {
			file, err := ancestor.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var said bytes.Buffer
			im := &importer{app: &app{err: &said, environ: func(string) string { return "" }}, file: file, hasher: hasher,
				o: ancestor.Options{Tool: func(name string) string { return name }}}
			w, err := im.write(ctx, store, total)
			return w, said.String(), err
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store := &stopping{Store: memory, stop: cancel, fail: fail}
		store.n.Store(2)
		w, said, err := carry(ctx, store)
		if want := fail; want == nil && !errors.Is(err, context.Canceled) || want != nil && !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		stored := 0
		for r, err := range memory.List(t.Context(), ledger.Filter{}) {
			if err != nil || r.State == ledger.StateRunning {
				t.Errorf("a call was left %s, %v", r.State, err)
			}
			stored++
		}
		var told int
		if _, err := fmt.Sscanf(said, "ledger: %d call", &told); err != nil || told != stored || int64(stored) != w.fresh.Load() || stored == 0 || stored == total {
			t.Errorf("said %q; %d are stored, %d counted", said, stored, w.fresh.Load())
		}
		w, said, err = carry(t.Context(), memory)
		if err != nil || said != "" || int(w.fresh.Load()) != total-stored || int(w.there.Load()) != stored {
			t.Errorf("again: %d carried over, %d there, %q, %v", w.fresh.Load(), w.there.Load(), said, err)
		}
	}
}
