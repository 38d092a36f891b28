package sqlitestore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// TestRatios compares the store, and a whole guarded call on it, with one transaction for each
// claim and finish of the same durability: bare prepared statements of the same shape below
// database/sql, and what a user would write by hand with database/sql.
//
//	go test ./sqlitestore -run TestRatios -v
//
// It measures, and never fails for being slow.
func TestRatios(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing is measured with -short")
	}
	rounds, warm := 3, 100
	if testing.Verbose() {
		rounds, warm = 21, 2500 // the first round of the log extends its file, which costs all more
	}
	for _, callers := range []int{1, 128} {
		alone, grouped := 60, 60
		if callers > 1 {
			alone, grouped = 256, 1024
		}
		ways := []struct {
			name  string
			c     caller
			calls int
			took  []float64 // a call, in ns, by round
		}{
			{name: "bare transactions", c: newBare(t, false), calls: alone},
			{name: "by hand", c: newByHand(t), calls: alone},
			{name: "bare, schema 1", c: newBare(t, true), calls: alone},
			{name: "store", c: newPlain(t), calls: grouped},
			{name: "guarded call", c: newGuarded(t), calls: grouped},
		}
		for _, w := range ways {
			perCall(t, w.c, callers, warm)
		}
		for range rounds { // in turns, so that a noisy neighbour meets all
			for i := range ways {
				ways[i].took = append(ways[i].took, float64(perCall(t, ways[i].c, callers, ways[i].calls)))
			}
		}
		for _, w := range ways {
			times := func(base []float64) float64 {
				ratios := make([]float64, rounds)
				for i := range ratios {
					ratios[i] = w.took[i] / base[i]
				}
				return median(ratios)
			}
			bare, hand, old := times(ways[0].took), times(ways[1].took), times(ways[2].took)
			t.Logf("%3d callers: %-17s %6.0f µs a call; %.2f of the time of bare transactions (%.1f times the calls a second), %.2f of that by hand (%.1f times), %.2f of bare ones of schema 1 (%.1f times)",
				callers, w.name, median(slices.Clone(w.took))/1000, bare, 1/bare, hand, 1/hand, old, 1/old)
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// A caller claims and finishes.
type caller interface {
	call(ctx context.Context, id ledger.ID) error
}

func perCall(t *testing.T, c caller, callers, calls int) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for range max(calls/callers, 1) {
				if err := c.call(t.Context(), randomID()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start) / time.Duration(max(calls/callers, 1)*callers)
}

func randomID() ledger.ID {
	return ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
}

func sampleClaim(id ledger.ID) ledger.Claim {
	now := time.Now()
	return ledger.Claim{Next: ledger.Record{
		ID: id, State: ledger.StateRunning, Token: uuid.NewString(), Nonce: uuid.NewString(), Attempt: 1, Starts: 1,
		Owner: ledger.Owner{Caller: "agent-A"}, Args: []byte(`{"amount":4200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3"}`),
		ArgsDigest: "9f86d081884c7d659a2feaa0c55ad015", Created: now, Started: now,
	}}
}

func sampleDone(r ledger.Record) ledger.Record {
	r.State, r.Finished = ledger.StateSucceeded, time.Now()
	r.Executed, r.Spent = 1, 1
	r.Result = []byte(`{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","status":"succeeded"}`)
	return r
}

type plain struct{ s *Store }

func newPlain(t *testing.T) plain { return plain{openTest(t, filepath.Join(t.TempDir(), "ledger.db"))} }

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

// bare is the baseline: prepared statements on one connection behind a mutex, with SQLite's
// defaults but for WAL and synchronous=FULL. As of schema 1 each claim and finish also writes the index of
// open records, which makes it comparable with what was measured then.
type bare struct {
	mu sync.Mutex
	w  *writer
	v  int64
}

func newBare(t *testing.T, first bool) *bare {
	s := openTest(t, filepath.Join(t.TempDir(), "bare.db")) // makes the tables
	c, err := openConn(s.Path(), nil, "synchronous = FULL")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	w := &writer{c: c}
	if err := w.prepare(); err != nil {
		t.Fatal(err)
	}
	if first {
		if w.insert, err = c.prepare(`INSERT INTO records (rec, version, state, started, nonce, owner, key, workflow, tool, fingerprint, data)
			VALUES (?, ?, 2, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow, tool, fingerprint) WHERE workflow IS NOT NULL DO NOTHING`); err != nil {
			t.Fatal(err)
		}
	}
	return &bare{w: w}
}

func (b *bare) tx(fn func() error) error {
	if _, err := b.w.begin.exec(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	_, err := b.w.commit.exec()
	return err
}

func (b *bare) call(_ context.Context, id ledger.ID) error {
	c := sampleClaim(id)
	data, err := recordjson.Encode(&c.Next)
	if err != nil {
		return err
	}
	var v int64
	b.mu.Lock()
	err = b.tx(func() error {
		b.v++
		v = b.v
		_, err := b.w.insert.exec(v, v, micros(c.Next.Started), c.Next.Nonce, "", "", id.Workflow, id.Tool, id.Fingerprint, text(data))
		return err
	})
	b.mu.Unlock()
	if err != nil {
		return err
	}
	done := sampleDone(c.Next)
	if data, err = recordjson.Encode(&done); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tx(func() error {
		b.v++
		_, err := b.w.finish.exec(b.v, int64(codeSucceeded), micros(done.Started), text(data), v, done.Nonce, "", id.Workflow, id.Tool, id.Fingerprint)
		return err
	})
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
