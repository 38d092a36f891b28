package check_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/check"
	"github.com/ledger-once/ledger/chaos/internal/snap"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

var (
	seed  = flag.Uint64("sim.seed", 0, "seed of the simulated run; 0: a new one")
	calls = flag.Int("sim.calls", 4000, "operations of guards in the simulated run")
	keys  = flag.Int("sim.keys", 120, "keys of its cold calls")
	keep  = flag.String("sim.dir", "", "new directory to keep the run in; \"\": none")
	quiet = slog.New(slog.DiscardHandler)
)

// The real guard over the store in memory, with all that can go wrong, violates nothing.
func TestSimulatedRun(t *testing.T) {
	if testing.Short() {
		*calls = min(*calls, 1500)
	}
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with: go test ./chaos/internal/check -run TestSimulatedRun -sim.seed %d -sim.calls %d -sim.keys %d", s, *calls, *keys)
	dir := t.TempDir()
	if *keep != "" {
		dir = *keep
	}
	synctest.Test(t, func(t *testing.T) { simulate(t, dir, s, *calls, *keys, "") })
	began := time.Now()
	f, err := check.Run(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d calls, %d IDs, %d grants, %d takeovers, %v checked in %v, heap from the system %d MiB", f.Calls, f.IDs, f.Grants, f.Takeovers, f.Outcomes, time.Since(began), m.HeapSys>>20)
	t.Logf("histogram %v, effects %v, open %d", f.Histogram, f.Effects, f.Open)
	for _, c := range f.Checks {
		t.Logf("%-4s checked %7d, violated %d, unknown %d %s", c.Invariant, c.Checked, c.Violations, c.Unknown, c.Note)
		if c.Checked == 0 {
			t.Errorf("%s was not checked", c.Invariant)
		}
	}
	for i, v := range f.Violations {
		if i == 5 {
			break
		}
		t.Errorf("%s %s: %s", v.Invariant, v.ID, v.Text)
		for _, e := range v.Evidence {
			t.Log("    ", e)
		}
	}
}

// What is broken in a run of the real guard is found.
func TestSimulatedMutants(t *testing.T) {
	for mutant, want := range map[string]string{
		"claims whatever stands":                   "I1",
		"acknowledged and dropped":                 "I6",
		"an unknown answer is taken for a refusal": "I5",
		"another result is read":                   "I3",
		"old fences are accepted":                  "I4",
		"counts are dropped":                       "I14",
	} {
		t.Run(mutant, func(t *testing.T) {
			found := map[string]int{}
			for s := uint64(1); s <= 8 && found[want] == 0; s++ { // the scheduler has a say in each run
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) { simulate(t, dir, s, 1200, 40, mutant) })
				f, err := check.Run(t.Context(), dir, &check.Options{Timeout: 5 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range f.Checks {
					if c.Violations > 0 {
						found[c.Invariant] += c.Violations
					}
				}
			}
			t.Log(found)
			if found[want] == 0 {
				t.Errorf("violated: %v; want %s", found, want)
			}
		})
	}
}

// simulate makes a run and writes it down in dir.
func simulate(t testing.TB, dir string, seed uint64, calls, keys int, mutant string) {
	s := &sim{t: t, dir: dir, store: ledger.NewMemory(), rnd: rand.New(rand.NewPCG(seed, 4)), uses: map[string]bool{}, mutant: mutant}
	create := func(name string) *trace.Writer {
		w, err := trace.Create(filepath.Join(dir, name), false)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	s.faults = create(trace.FaultsFile)
	s.world = &simWorld{s: s, journal: create(trace.WorldFile), calls: map[string]*simAccount{}}
	run := trace.Run{Schema: trace.Schema, Layer: "soak", Seed: seed, Store: "memory", TTL: time.Second, Tools: simTools, From: s.now()}
	const workers, callers = 6, 4
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { s.work(i, calls/workers, callers, keys) })
	}
	group.Wait()
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	s.heal()
	run.To = s.now()
	if err := trace.Save(filepath.Join(dir, trace.RunFile), run); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*trace.Writer{s.faults, s.world.journal} {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// work makes calls with one process after the other.
func (s *sim) work(number, calls, callers, keys int) {
	for life := 0; calls > 0; life++ {
		w := s.worker(trace.Process(number, life))
		n := min(calls, 200+s.roll(400))
		calls -= n
		killed := calls > 0 && s.roll(3) > 0
		dies := n * s.roll(100) / 100
		var group sync.WaitGroup
		var mu sync.Mutex
		next := func() (int, bool) {
			mu.Lock()
			defer mu.Unlock()
			n--
			return n, n >= 0
		}
		for range callers {
			group.Go(func() {
				for left, ok := next(); ok && !w.gone(); left, ok = next() {
					if killed && left == dies {
						w.kill()
						return
					}
					if s.disturbed(150) {
						w.fault(trace.FaultRevoke)
						w.store.Expire()
					}
					s.call(w, keys)
				}
			})
		}
		group.Wait()
		if !w.gone() {
			w.end()
		}
	}
}

// call makes one operation, of a hot call or a cold one.
func (s *sim) call(w *worker, keys int) {
	tool := &simTools[s.roll(len(simTools))]
	key := fmt.Sprint("hot", s.roll(2))
	if s.roll(3) > 0 {
		key = fmt.Sprint("cold", s.roll(keys))
	}
	s.mu.Lock()
	s.uses[tool.Name+" "+key] = true
	s.mu.Unlock()
	kind := trace.Do
	switch s.roll(30) {
	case 0:
		kind = trace.Force
	case 1:
		kind = trace.Forget
	case 2:
		kind = trace.Resolve
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.disturbed(30) { // a caller who walks away
		stop := context.AfterFunc(ctx, func() {})
		defer stop()
		timer := time.AfterFunc(time.Duration(s.roll(int(5*time.Millisecond))), cancel)
		defer timer.Stop()
	}
	w.do(ctx, kind, tool, key)
}

// heal calls every call again until it is over, and reads how the records stand.
func (s *sim) heal() {
	w := s.worker(trace.Process(99, 0))
	for i := range simTools {
		tool := &simTools[i]
		for use := range s.uses {
			var name, key string
			if _, err := fmt.Sscanf(use, "%s %s", &name, &key); err != nil || name != tool.Name || tool.InDoubt == "block" {
				continue
			}
			for range 10 {
				if over := []string{trace.OK, trace.Replayed, trace.Duplicate, trace.Failed, trace.Omitted}; slices.Contains(over, w.do(context.Background(), trace.Do, tool, key)) {
					break
				}
			}
		}
	}
	w.end()
	final, err := trace.Create(filepath.Join(s.dir, trace.FinalFile), false)
	if err != nil {
		s.t.Fatal(err)
	}
	reader := s.store.Session()
	for r, err := range reader.List(context.Background(), ledger.Filter{All: true}) {
		if err == nil {
			err = final.Write(snap.Of(&r))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if err := final.Close(); err != nil {
		s.t.Fatal(err)
	}
}
