package sqlitestore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

func perCall(t *testing.T, p plain, callers, calls int) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for range max(calls/callers, 1) {
				if err := p.call(t.Context(), randomID()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start) / time.Duration(max(calls/callers, 1)*callers)
}

func randomID() ledger.ID { return rounds.RandomID() }

func sampleClaim(id ledger.ID) ledger.Claim { return ledger.Claim{Next: rounds.Claimed(id)} }

func sampleDone(r ledger.Record) ledger.Record { return rounds.Done(r) }

// plain claims and finishes.
type plain struct{ s *Store }

func (p plain) call(ctx context.Context, id ledger.ID) error {
	r, won, err := p.s.Claim(ctx, sampleClaim(id))
	if err == nil && !won {
		err = fmt.Errorf("not won")
	}
	if err == nil {
		err = p.s.Finish(ctx, sampleDone(r))
	}
	return err
}

func openTest(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
