package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/soak"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// Layers of a run.
const (
	Explore = "explore" // the model; seconds
	Points  = "points"  // faults at named points; needs the build tag failpoint for those inside of SQLite
	Soak    = "soak"    // random faults for Options.Duration
	Mutants = "mutants" // broken guards; needs the build tag failpoint
)

// Layers are all layers, in the order in which they run.
var Layers = []string{Explore, Points, Soak, Mutants}

// Options of a run; nil works.
type Options struct {
	// Layers to run. Defaults to Explore and Soak.
	Layers []string
	// Store is "etcd", "sqlite", or a name of the Registry that Enter was given. The layer
	// Points takes "" for all that there are. Defaults to "etcd".
	Store string
	// Path is handed to a store of the Registry.
	Path string
	// Members of the etcd cluster: 1 to 5. Defaults to 3.
	Members int
	// Workers is how many worker processes there are: 2 to 64. Defaults to 8.
	Workers int
	// Callers is how many calls a worker of the soak makes at a time. Defaults to 4.
	Callers int
	// Tool is a name of the Registry: the code between guard and downstream. Defaults to none.
	Tool string
	// Policies are the in-doubt policies in the workload: "retry", "block", "reconcile". Defaults to all.
	Policies []string
	// Worlds are the kinds of downstreams: "plain", "token", "fence", "hold". Defaults to all.
	Worlds []string
	// Faults are the kinds of faults; see Faults. Defaults to all that the store can have.
	Faults []string
	// Seed of the workload and of the faults. Defaults to 1.
	Seed uint64
	// Duration of the soak. Defaults to 1 minute.
	Duration time.Duration
	// NoPowerCuts leaves out the power cuts of SQLite in the layers Points and Mutants: they need strace(1). The
	// mutant that only they catch is left out with them, and the report says so.
	NoPowerCuts bool
	// Full takes all cells of the layer Points, and not those of the short mode.
	Full bool
	// Dir is where the run's directory is made. Defaults to os.TempDir().
	Dir string
	// Keep keeps the run's directory also where nothing was violated.
	Keep bool
	// Report is a directory to which summary.json and report.html are copied. Defaults to none.
	Report string
	// Progress gets a line at least each second. Defaults to none.
	Progress func(line string)
	// Command starts a process that calls Enter; the role is appended. Defaults to this program.
	Command []string
}

// ErrOptions is matched by the error for options that can not be used.
var ErrOptions = errors.New("bad option")

// Faults are the kinds of faults.
func Faults() []string {
	var kinds []string
	for _, r := range soak.Rates {
		kinds = append(kinds, r.Kind)
	}
	return append(kinds, trace.FaultLate)
}

// names of what Options take.
var (
	policies = []string{"retry", "block", "reconcile"}
	worlds   = []string{trace.WorldPlain, trace.WorldToken, trace.WorldFence, trace.WorldHold}
)

// filled returns the options with their defaults, or what is wrong with them.
func (o *Options) filled(reg *Registry) (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	def(&opts.Seed, 1)
	def(&opts.Duration, time.Minute)
	def(&opts.Members, 3)
	def(&opts.Workers, 8)
	def(&opts.Callers, 4)
	stores := []string{"etcd", "sqlite"}
	for name := range reg.Stores {
		stores = append(stores, name)
	}
	slices.Sort(stores[2:])
	tools := []string{}
	for name := range reg.Tools {
		tools = append(tools, name)
	}
	slices.Sort(tools)
	if len(opts.Layers) == 0 {
		opts.Layers = []string{Explore, Soak}
	}
	if len(opts.Policies) == 0 {
		opts.Policies = policies
	}
	if len(opts.Worlds) == 0 {
		opts.Worlds = worlds
	}
	var store, tool []string
	if opts.Store != "" {
		store = []string{opts.Store}
	}
	if opts.Tool != "" {
		tool = []string{opts.Tool}
	}
	for _, c := range []struct {
		what         string
		given, known []string
	}{
		{"layer", opts.Layers, Layers}, {"store", store, stores}, {"tool", tool, tools},
		{"policy", opts.Policies, policies}, {"world", opts.Worlds, worlds}, {"fault", opts.Faults, Faults()},
	} {
		for _, name := range c.given {
			if !slices.Contains(c.known, name) {
				return opts, fmt.Errorf("%w: there is no %s %q; there are: %s", ErrOptions, c.what, name, strings.Join(c.known, ", "))
			}
		}
	}
	switch {
	case opts.Members < 1 || opts.Members > 5:
		return opts, fmt.Errorf("%w: %d members; use 1 to 5", ErrOptions, opts.Members)
	case opts.Workers < 2 || opts.Workers > 64:
		return opts, fmt.Errorf("%w: %d workers; use 2 to 64", ErrOptions, opts.Workers)
	case opts.Callers < 1 || opts.Callers > 64:
		return opts, fmt.Errorf("%w: %d callers; use 1 to 64", ErrOptions, opts.Callers)
	case opts.Duration < 10*time.Second || opts.Duration > 24*time.Hour:
		return opts, fmt.Errorf("%w: a duration of %v; use 10s to 24h", ErrOptions, opts.Duration)
	}
	if can := opts.possible(); len(opts.Faults) > 0 {
		for _, f := range opts.Faults {
			if !slices.Contains(can, f) {
				return opts, fmt.Errorf("%w: the fault %q does not happen in the layers %s on %s; these do: %s",
					ErrOptions, f, strings.Join(opts.Layers, ","), storeName(cmp.Or(opts.Store, "etcd"), opts.members()), strings.Join(can, ", "))
			}
		}
	}
	if opts.Dir != "" {
		if at, err := os.Stat(opts.Dir); err != nil || !at.IsDir() {
			return opts, fmt.Errorf("%w: the directory %s is not there; make it, or name another one", ErrOptions, opts.Dir)
		}
	}
	if opts.Report != "" {
		if err := os.MkdirAll(opts.Report, 0o700); err != nil {
			return opts, fmt.Errorf("%w: the report can not be written: %w", ErrOptions, err)
		}
	}
	if len(opts.Command) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return opts, err
		}
		opts.Command = []string{exe}
	}
	return opts, nil
}

// members is 0 for a store that is no cluster.
func (o *Options) members() int {
	if o.Store == "" || o.Store == "etcd" {
		return o.Members
	}
	return 0
}

// possible are the faults that the layers can bring about on the store.
func (o *Options) possible() []string {
	if slices.Contains(o.Layers, Points) && o.Store != "sqlite" {
		return Faults()
	}
	return soak.Kinds(o.members())
}

func def[T comparable](p *T, byDef T) {
	var none T
	if *p == none {
		*p = byDef
	}
}

// A Report is what a run found.
type Report struct {
	trace.Summary
}

// Passed reports whether everything was looked at that should be, and nothing was violated.
func (r *Report) Passed() bool { return r.Verdict == "passed" }

// A Registry holds what the binary brings along: stores and tools of one's own.
type Registry = worker.Registry

// Run runs the layers that o asks for. An error says that it could not: bad options (ErrOptions), a process that
// did not start, ctx's end. What was found is in the report, of which Passed tells.
//
// When ctx ends, all processes are ended, and the run's directory is kept and named in the error.
func Run(ctx context.Context, o *Options) (*Report, error) {
	opts, err := o.filled(&registry)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	r, err := run(ctx, &opts)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return r, nil
}
