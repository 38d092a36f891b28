package sqlitestore

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// stored is how many records the tests of size store:
//
//	go test ./sqlitestore -run 'TestList|TestScale' -v -records 1000000
var stored = flag.Int("records", 0, "how many records TestListMemory and TestScale store (default 100,000; 10,000 with -short or -race)")

func records() int {
	switch {
	case *stored > 0:
		return *stored
	case testing.Short() || underRace:
		return 10_000
	}
	return 100_000
}

// fill stores n finished records, and 10 that run, in one transaction.
func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	claim := sampleClaim(randomID())
	claim.Next.Owner = ledger.Owner{Session: s.owner.session, Host: s.info.Host, PID: s.info.PID, Caller: "agent-A"}
	done := sampleDone(claim.Next)
	data, err := recordjson.Encode(&done)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = s.writer.c.run(`
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
		INSERT INTO records (rec, version, state, started, nonce, owner, key, workflow, tool, fingerprint, data)
		SELECT i, i, CASE WHEN i % (?1 / 10) = 0 THEN 2 ELSE 1 END, 1700000000000000 + i * 1000, 'nonce', ?2, 'key-' || i, 'order-' || (i % 100), 'charge_card', lower(hex(randomblob(16))),
			CASE WHEN i % (?1 / 10) = 0 THEN replace(?3, '"state":"succeeded"', '"state":"running"')
			ELSE replace(?3, '{"v":1,', '{"v":1,"key":"key-' || i || '",') END FROM n`, int64(n), s.owner.session, string(data))
	if err == nil {
		_, err = s.writer.mark.exec(int64(n+1), int64(n+1), int64(n), int64(1), []byte{})
	}
	if err == nil {
		_, err = s.writer.commit.exec()
		s.writer.base = int64(n + 1)
	}
	s.turn.give()
	if err != nil {
		t.Fatal(err)
	}
}

// TestListMemory lists many records in bounded memory, each exactly once and in order, and finds few of them quickly.
func TestListMemory(t *testing.T) {
	n := records()
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, s, n)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, c := range []struct {
		name string
		f    ledger.Filter
		want int
	}{
		{"all", ledger.Filter{}, n},
		{"workflow", ledger.Filter{Workflow: "order-7"}, n / 100},
		{"tool", ledger.Filter{Tool: "charge_card", Limit: 1000}, 1000},
		{"key", ledger.Filter{Key: "key-77"}, 1},
		{"running", ledger.Filter{States: []ledger.State{ledger.StateRunning}}, 10},
		{"in doubt", ledger.Filter{States: []ledger.State{ledger.StateInDoubt}}, 0},
		{"last ten seconds", ledger.Filter{Since: time.UnixMicro(1700000000000000 + int64(n-10_000)*1000 + 1)}, 10_000},
	} {
		before, most, count := heap(), uint64(0), 0
		start := time.Now()
		var last ledger.ID
		for r, err := range s.List(t.Context(), c.f) {
			if err != nil {
				t.Fatal(err)
			}
			if last.Compare(r.ID) >= 0 {
				t.Fatalf("%s: %s came after %s", c.name, r.ID, last)
			}
			last = r.ID
			if count++; count%(n/5) == n/10 {
				most = max(most, heap())
			}
		}
		if c.name == "last ten seconds" && n <= 10_000 {
			c.want = n
		}
		if d := count - c.want; d < -1 || d > 1 {
			t.Errorf("%s: got %d records, want %d", c.name, count, c.want)
		}
		if most > before+32<<20 {
			t.Errorf("%s: the heap grew from %d to %d MB", c.name, before>>20, most>>20)
		}
		t.Logf("%-16s %7d records in %8v, heap %d to %d MB", c.name, count, time.Since(start).Round(time.Millisecond), before>>20, most>>20)
	}
}

// TestScale reports the throughput in an empty store and in a big one.
func TestScale(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("only reports")
	}
	per := map[int]time.Duration{}
	sizes := []int{1000, records()}
	for range 2 {
		for _, n := range sizes {
			s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
			fill(t, s, n)
			d := perCall(t, plain{s}, 128, 5000)
			if per[n] == 0 || d < per[n] {
				per[n] = d
			}
		}
	}
	t.Logf("128 callers: %v a call with %d records, %v with %d: %.2f times", per[sizes[0]], sizes[0], per[sizes[1]], sizes[1], float64(per[sizes[1]])/float64(per[sizes[0]]))
}

// TestLogStaysSmall writes while a slow listing goes on: the write-ahead log must not grow with it.
func TestLogStaysSmall(t *testing.T) {
	const pages = 100
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), &Options{CheckpointPages: pages})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, 2000)
	base := logSize(t, s) // of one great transaction
	n := 0
	for _, err := range s.List(t.Context(), ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%500 == 250 {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 100 {
						if err := (plain{s}).call(t.Context(), randomID()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
	}
	if size := logSize(t, s); size > max(base, 4*pages*4096) {
		t.Errorf("the log has %d bytes; want at most four times the bound of %d pages", size, pages)
	}
}

func logSize(t *testing.T, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.Path() + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
