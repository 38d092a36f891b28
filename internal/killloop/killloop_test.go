//go:build linux

package killloop

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

var (
	workers = flag.Int("workers", 4, "worker processes")
	ops     = flag.Int("ops", 150, "operations of each worker")
	kills   = flag.Int("kills", 24, "SIGKILLs, half of them between a call's effect and its record")
	seed    = flag.Uint64("seed", 0, "of the workload and the victims; 0: a random one")
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(jobEnv); spec != "" {
		os.Exit(runWorker(spec))
	}
	os.Exit(m.Run())
}

// A fleet is the worker processes on one ledger.
type fleet struct {
	t     *testing.T
	world *world

	mu      sync.Mutex
	procs   map[int]*os.Process // live, by worker
	acked   []line
	random  int // SIGKILLs sent at a random time
	pending []int
}

// start runs worker w from its operation from, until it ends.
func (f *fleet) start(ctx context.Context, j job) (last int, killed bool, err error) {
	spec, err := json.Marshal(j)
	if err != nil {
		return 0, false, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), jobEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	dieWithParent(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, false, err
	}
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	f.mu.Lock()
	f.procs[j.Worker] = cmd.Process
	f.mu.Unlock()
	last = j.From - 1
	var bad error
	for sc := bufio.NewScanner(out); sc.Scan(); {
		l, err := parseLine(sc.Text())
		if err != nil {
			bad = err
			break
		}
		last = l.op
		f.progress(l)
	}
	f.mu.Lock()
	delete(f.procs, j.Worker) // before Wait frees the process id
	f.mu.Unlock()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 && ctx.Err() == nil {
		return last, true, bad
	}
	return last, false, errors.Join(err, bad)
}

// progress notes what was acknowledged, and kills a random worker when it is time.
func (f *fleet) progress(l line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = append(f.acked, l)
	if len(f.pending) == 0 || len(f.acked) < f.pending[0] {
		return
	}
	f.pending = f.pending[1:]
	ids := make([]int, 0, len(f.procs))
	for id := range f.procs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) > 0 && f.procs[ids[f.random%len(ids)]].Kill() == nil {
		f.random++
	}
}

func setup(t *testing.T) (*fleet, job) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with: go test ./internal/killloop -v -run %s -args -seed %d -workers %d -ops %d -kills %d", t.Name(), s, *workers, *ops, *kills)
	dir := t.TempDir()
	journal, err := os.Create(filepath.Join(dir, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	w := newWorld(journal, s)
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return &fleet{t: t, world: w, procs: map[int]*os.Process{}}, job{DB: filepath.Join(dir, "ledger.db"), URL: srv.URL, Seed: s, Workers: *workers, Ops: *ops}
}

func TestKillLoop(t *testing.T) {
	f, base := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()

	distinct := map[string]bool{}
	for w := range base.Workers {
		j := base
		j.Worker = w
		for op := range j.Ops {
			distinct[j.key(op)] = true
		}
	}
	f.world.killing((*kills+1)/2, 2.5*float64(*kills+1)/2/float64(len(distinct)))
	rng := rand.New(rand.NewPCG(base.Seed, 2))
	for range *kills / 2 {
		f.pending = append(f.pending, 1+rng.IntN(base.Workers*base.Ops*9/10))
	}
	slices.Sort(f.pending)

	began := time.Now()
	var group sync.WaitGroup
	for w := range base.Workers {
		group.Go(func() {
			j := base
			j.Worker = w
			for {
				last, killed, err := f.start(ctx, j)
				if err != nil {
					t.Errorf("worker %d after operation %d: %v", w, last, err)
				}
				if !killed {
					return
				}
				j.From = last + 1 // the operation cut short is delivered again
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	f.check(ctx, base, distinct)
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	slices.Sort(f.world.recovery)
	longest := time.Duration(0)
	if n := len(f.world.recovery); n > 0 {
		longest = f.world.recovery[n-1]
	}
	t.Logf("%d workers, %d operations on %d calls in %v; %d SIGKILLs between effect and record, %d at random; %d calls taken up again, the slowest %v after the kill",
		base.Workers, len(f.acked), len(distinct), time.Since(began).Round(time.Millisecond), f.world.kills, f.random, len(f.world.recovery), longest.Round(time.Millisecond))
	if f.world.kills < *kills/2 || f.random < *kills/2*9/10 {
		t.Errorf("the run is invalid: %d and %d kills landed, want %d and about as many", f.world.kills, f.random, *kills/2)
	}
}

// check compares the ledger with the world's journal and with what workers acknowledged.
func (f *fleet) check(ctx context.Context, base job, distinct map[string]bool) {
	t, w := f.t, f.world
	db, err := sql.Open("sqlite", base.DB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity check: %s, %v", verdict, err)
	}
	db.Close()

	store, err := sqlitestore.Open(ctx, base.DB, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	guard, err := ledger.New(store, options())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := guard.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	records := map[string]ledger.Record{}
	for r, err := range store.List(ctx, ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		records[r.Key] = r
		if r.Alive {
			t.Errorf("%s: alive, although all workers are dead", r.Key)
		}
	}
	doubts := 0
	w.mu.Lock() // all workers are dead; this is for what the race detector can not know
	done, asked := maps.Clone(w.effects), maps.Clone(w.requests)
	w.mu.Unlock()
	for key, effects := range done {
		r, ok := records[key]
		if !ok {
			t.Errorf("%s: %d effects, no record", key, len(effects))
			continue
		}
		if len(effects) > 1 {
			t.Errorf("%s (%s): done %d times", key, toolOf(key), len(effects))
		}
		if r.Status() == ledger.StateInDoubt {
			doubts++
		}
		for _, q := range asked[key] {
			if r.Fence != q.Fence && !slices.ContainsFunc(r.Log, func(a ledger.Attempt) bool { return a.Fence == q.Fence }) {
				t.Errorf("%s: the record tells nothing of the attempt with fence %d: %+v", key, q.Fence, r.Log)
			}
		}
	}
	lost := 0
	for _, l := range f.acked {
		r := records[l.key]
		switch l.verdict {
		case "ok":
			if want := fmt.Sprintf("%q", l.receipt); r.State != ledger.StateSucceeded || string(r.Result) != want || len(done[l.key]) != 1 {
				t.Errorf("%s: acknowledged with %s; record is %s with %s; %d effects", l.key, want, r.State, r.Result, len(done[l.key]))
				lost++
			}
		case "doubt":
			if toolOf(l.key) != "block" || r.Status() != ledger.StateInDoubt {
				t.Errorf("%s: told in doubt; record is %s", l.key, r.Status())
			}
		}
	}
	// What is open can be finished by anyone, at once.
	for key := range distinct {
		if toolOf(key) != "retry" || records[key].State == ledger.StateSucceeded {
			continue
		}
		j := base
		if l, err := j.call(ctx, guard, 0, key); err != nil || l[:2] != "ok" {
			t.Errorf("%s: not finished after all workers died: %q, %v", key, l, err)
		} else if n := w.done(key); n != 1 {
			t.Errorf("%s: done %d times", key, n)
		}
	}
	t.Logf("%d effects, %d calls left in doubt for a person, %d acknowledgements checked, %d lost", len(done), doubts, len(f.acked), lost)
}

func TestPausedWorkerKeepsItsClaim(t *testing.T) {
	f, base := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	base.Key, base.Ops = "hot-0", 1
	if toolOf(base.Key) != "retry" { // the tool that would be taken over
		base.Key = "hot-1"
	}
	f.world.mu.Lock()
	f.world.stop = func(effect) bool { return true }
	f.world.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		_, killed, err := f.start(ctx, base)
		if killed {
			err = errors.New("it was killed")
		}
		ended <- err
	}()
	var paused effect
	select {
	case paused = <-f.world.stopped:
	case err := <-ended:
		t.Fatal(err)
	}
	waitStopped(t, paused.PID)

	store, err := sqlitestore.Open(ctx, base.DB, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	guard, err := ledger.New(store, options())
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(ctx)
	for range 50 {
		l, err := base.call(ctx, guard, 0, base.Key)
		if err != nil || l != "busy 0 "+base.Key {
			t.Fatalf("while the owner is paused: %q, %v", l, err)
		}
	}
	resume(t, paused.PID)
	close(f.world.release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	l, err := base.call(ctx, guard, 0, base.Key)
	if want := fmt.Sprintf("ok 0 %s %[1]s/1", base.Key); err != nil || l != want {
		t.Errorf("afterwards: %q, %v; want %q", l, err, want)
	}
	if n := f.world.asked(base.Key); n != 1 {
		t.Errorf("the tool ran %d times", n)
	}
}
