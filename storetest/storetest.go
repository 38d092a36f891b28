package storetest

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

// An Opener opens an owner on the store that lives in dir, and fails t if it
// can not. Called twice with the same dir, in one process or in two, it opens
// two owners on the same data; with a new dir it opens a new store. Everything that
// tells stores apart has to come from dir.
type Opener func(t testing.TB, dir string) ledger.Store

// Options adapt the suite to a store; nil works.
type Options struct {
	// InProcess leaves out the cases with several processes. Defaults to false.
	InProcess bool
	// Order compares IDs the way List yields them. Defaults to ID.Compare.
	Order func(a, b ledger.ID) int
	// Corrupt makes the closed store in dir one of a schema that this version of
	// the store does not know; opening it, or each operation on it, must then be refused.
	// Defaults to nil, which skips the case.
	Corrupt func(dir string) error
	// Patience is how long the suite waits for what happens in its own time, the
	// death of a killed owner above all: choose some leases. A wait ends
	// as soon as it can, so that a long one costs a passing store nothing. Defaults to 30 s.
	Patience time.Duration
	// Leaks names functions ("example.com/pool.(*Pool).loop") whose goroutines
	// may outlive the stores. Defaults to none.
	Leaks []string
}

// Run checks that the store which open opens keeps the contract of
// [ledger.Store], and of the optional interfaces that it implements. Do not call it in
// parallel with other tests: it looks for goroutines left behind. In a worker process it does not return.
func Run(t *testing.T, open Opener) {
	t.Helper()
	RunWith(t, open, nil)
}

// RunInProcess is [Run] for a store that lives in one process only.
func RunInProcess(t *testing.T, open Opener) {
	t.Helper()
	RunWith(t, open, &Options{InProcess: true})
}

// RunWith is [Run] with options.
func RunWith(t *testing.T, open Opener, o *Options) {
	t.Helper()
	if IsWorker() {
		work(t, open) // does not return
	}
	run(t, open, o.withDefaults(), groups())
}

func run(t *testing.T, open Opener, opts Options, groups []group) {
	t.Helper()
	test := t.Name()
	ignore := []goleak.Option{goleak.IgnoreCurrent()}
	for _, f := range opts.Leaks {
		ignore = append(ignore, goleak.IgnoreAnyFunction(f))
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			if g.name == processGroup && opts.InProcess {
				t.Skip("the store lives in one process only")
			}
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) { c.test(newEnv(t, test, open, opts)) })
			}
		})
	}
	t.Run("no goroutines left behind", func(t *testing.T) {
		if err := leakcheck.Find(opts.Patience, ignore...); err != nil {
			t.Error(err)
		}
	})
}

func (o *Options) withDefaults() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Order == nil {
		opts.Order = ledger.ID.Compare
	}
	if opts.Patience <= 0 {
		opts.Patience = 30 * time.Second
	}
	return opts
}

// A testCase checks one promise; its name says which.
type testCase struct {
	name string
	test func(e *env)
}

type group struct {
	name  string
	cases []testCase
}

const processGroup = "process"

func groups() []group {
	return []group{
		{"claim", claimCases()},
		{"owner", ownerCases()},
		{"finish", slices.Concat(finishCases(), giveBackCases())},
		{"delete", deleteCases()},
		{"version", versionCases()},
		{"fields", fieldCases()},
		{"names", nameCases()},
		{"list", slices.Concat(listCases(), newestCases(), listRaceCases())},
		{"summary", summaryCases()},
		{"tally", tallyCases()},
		{"context", contextCases()},
		{"close", closeCases()},
		{"watch", slices.Concat(awaitCases(), watchCases())},
		{"lease", leaseCases()},
		{processGroup, slices.Concat(processCases(), pauseCases())},
		{"model", modelCases()},
	}
}
