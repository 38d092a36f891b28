package powercut

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

const specVariable = "LEDGER_CHAOS_POWERCUT_SPEC"

// TestMain makes this program its own worker, when it is started with the role.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Role {
		if err := Serve(context.Background(), os.Getenv(specVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leakcheck.Main(m)
}

func options(t *testing.T) Options {
	t.Helper()
	return Options{Dir: t.TempDir(), Command: []string{os.Args[0], Role}, SpecVariable: specVariable, Seed: 1, Ops: 60, Cuts: 100}
}

// run skips where strace is missing, and fails there in CI, which installs it.
func run(t *testing.T, o Options) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	if errors.Is(err, ErrNoTracer) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d writes, %d syncs, %d acknowledged; %d cuts %v: %d lost in %d of them; %v",
		r.Writes, r.Syncs, r.Acknowledged, r.Cuts, r.ByVariant, r.Lost, r.LostCuts, r.Took.Round(time.Millisecond))
	return r
}

// The real store forgets nothing that it acknowledged.
func TestNothingIsLost(t *testing.T) {
	o := options(t)
	if testing.Short() {
		o.Ops, o.Cuts = 20, 12
	}
	r := run(t, o)
	for _, v := range r.Violations {
		t.Errorf("%s %s: %s %v", v.Invariant, v.ID, v.Text, v.Evidence)
	}
	if r.Acknowledged < o.Ops || r.Cuts < o.Cuts+o.Ops/2 || r.Syncs < o.Ops/2 {
		t.Errorf("the run is too small: %+v", r)
	}
	for v := Dropped; v <= Kept; v++ {
		if r.ByVariant[v.String()] < o.Cuts/4 {
			t.Errorf("%d cuts are %s, want %d", r.ByVariant[v.String()], v, o.Cuts/4)
		}
	}
}

// A disk on which the syncs of the log do nothing loses commits: the cuts show it, by I6.
func TestForgottenSyncsAreSeen(t *testing.T) {
	o := options(t)
	o.Ops, o.Cuts = 16, 4
	o.forgets = func(n *node) bool { return strings.HasSuffix(n.name, "-wal") }
	lost(t, run(t, o))
}

// The mutant loses what it acknowledged.
func TestMutant(t *testing.T) {
	if !failpoint.On {
		t.Skip("this program has no mutants; test it with -tags failpoint")
	}
	o := options(t)
	o.Ops, o.Cuts = 16, 4
	o.Mutant = failpoint.MutantSQLiteNormal
	lost(t, run(t, o))
}

func lost(t *testing.T, r *Result) {
	t.Helper()
	if r.Lost == 0 || len(r.Violations) == 0 {
		t.Fatal("nothing was lost")
	}
	kept := 0
	for _, v := range r.Violations {
		if v.Invariant != "I6" && v.Invariant != "I11" {
			t.Errorf("%s: %s", v.Invariant, v.Text)
		}
		if v.Dir != "" {
			kept++
			if _, err := os.Stat(v.Dir); err != nil {
				t.Error(err)
			}
		}
	}
	forgotten := func(v trace.Violation) bool { return v.Invariant == "I6" && len(v.Evidence) > 0 }
	if !slices.ContainsFunc(r.Violations, forgotten) { // in which order the cuts are played is not certain
		t.Errorf("nothing acknowledged is missing: %+v", r.Violations)
	}
	if kept == 0 {
		t.Error("no image of what a cut left was kept")
	}
	t.Log(r.Violations[0])
}

// What can not be run is told apart from what was lost.
func TestRunRefuses(t *testing.T) {
	o := options(t)
	o.Mutant = "no-such-mutant"
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrNoTracer) && (err == nil || !strings.Contains(err.Error(), "the worker ended with code 1")) {
		t.Errorf("a mutant that is none: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ended, options(t)); err == nil {
		t.Error("a run whose context has ended succeeded")
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.Command = nil }, func(o *Options) { o.SpecVariable = "" }, func(o *Options) { o.Dir = "" },
		func(o *Options) { o.Ops = -1 }, func(o *Options) { o.Ops = maxOps + 1 }, func(o *Options) { o.Cuts = -1 },
	} {
		o := options(t)
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was not refused", o)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Run(t.Context(), options(t)); !errors.Is(err, ErrNoTracer) || !strings.Contains(err.Error(), "apt-get install strace") {
		t.Errorf("without strace: %v", err)
	}
}
