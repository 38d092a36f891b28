package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
)

// benchArgs has five fields, as in the fingerprint's own benchmark.
type benchArgs struct {
	Customer string  `json:"customer"`
	Cents    int64   `json:"cents"`
	Currency string  `json:"currency"`
	Rate     float64 `json:"rate"`
	Capture  bool    `json:"capture"`
}

var (
	benchIn   = benchArgs{"cus_42", 9900, "EUR", 1.0825, true}
	benchCall = ledger.Call{Tool: "charge_card", Args: benchIn}
)

func nothing(context.Context) (int, error) { return 1, nil }

// remembering returns a guard that has seen the call finish. Without a Watcher it
// remembers that for a second: one call in many asks the store.
func remembering(tb testing.TB) *ledger.Guard {
	g := newGuard(tb, unwatched{ledger.NewMemory()}, nil)
	if _, err := ledger.Do(tb.Context(), g, benchCall, nothing); err != nil {
		tb.Fatal(err)
	}
	return g
}

func duplicate(tb testing.TB, g *ledger.Guard) {
	if _, err := ledger.Do(tb.Context(), g, ledger.Call{Tool: "charge_card", Args: benchIn}, nothing); err == nil {
		tb.Fatal("it ran")
	}
}

// fingerprinter computes what a local duplicate needs at least.
func fingerprinter(tb testing.TB) func() fingerprint.Sum {
	h, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	return func() fingerprint.Sum {
		canon, key, err := h.Canon(buf[:0], benchIn)
		if err != nil {
			tb.Fatal(err)
		}
		return h.Sum("default", "charge_card", key, canon)
	}
}

// BenchmarkLocalDuplicate measures a duplicate of a call that this process has
// seen finish, and what that costs beyond the fingerprint: at most 1 µs and 3
// allocations are allowed.
func BenchmarkLocalDuplicate(b *testing.B) {
	sum, g := fingerprinter(b), remembering(b)
	b.ReportAllocs()
	for b.Loop() {
		duplicate(b, g)
	}
	b.StopTimer()
	const turns, each = 100, 500 // in turns, so that a busy machine slows both
	var alone, whole time.Duration
	for range turns {
		start := time.Now()
		for range each {
			sum()
		}
		alone += time.Since(start)
		start = time.Now()
		for range each {
			duplicate(b, g)
		}
		whole += time.Since(start)
	}
	b.ReportMetric(float64(alone.Nanoseconds())/(turns*each), "ns/fingerprint")
	b.ReportMetric(float64((whole-alone).Nanoseconds())/(turns*each), "ns-beyond")
	b.ReportMetric(testing.AllocsPerRun(1000, func() { duplicate(b, g) })-testing.AllocsPerRun(1000, func() { sum() }), "allocs-beyond")
}

// BenchmarkDo measures a whole guarded call on the store in memory.
func BenchmarkDo(b *testing.B) {
	g := newGuard(b, ledger.NewMemory(), nil)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := ledger.Do(b.Context(), g, ledger.Call{Tool: "charge_card", Args: n}, nothing); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay measures a duplicate that is answered with the recorded result.
func BenchmarkReplay(b *testing.B) {
	g := newGuard(b, unwatched{ledger.NewMemory()}, withPolicy(ledger.Policy{Replay: true}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.Do(b.Context(), g, benchCall, nothing); err != nil {
			b.Fatal(err)
		}
	}
}

// A local duplicate asks no store, and allocates little beyond its fingerprint.
func TestLocalDuplicateAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	sum, g := fingerprinter(t), remembering(t)
	alone := testing.AllocsPerRun(1000, func() { sum() })
	whole := testing.AllocsPerRun(1000, func() { duplicate(t, g) })
	if whole-alone > 3 {
		t.Errorf("%v allocations, of which the fingerprint has %v; want at most 3 more", whole, alone)
	}
}
