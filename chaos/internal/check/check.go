package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Options of Run. nil stands for the defaults.
type Options struct {
	// Timeout bounds each linearizability check of one call's history. One that it ends
	// is a violation of L1 or L2. Defaults to 60 s.
	Timeout time.Duration
	// MaxOps bounds the operations of one call in such a check; more of them are a
	// violation too, since nothing was shown. The check's memory grows with the square. Defaults to 20,000.
	MaxOps int
}

const (
	defaultTimeout = time.Minute
	defaultMaxOps  = 20_000

	maxViolations = 100 // that Findings keeps
	maxOfOne      = 20  // of one invariant, as long as there are others
	maxEvidence   = 40
	maxTimeouts   = 3 // that may last their whole time
)

// Run checks the run in dir. It returns an error if the directory can not be
// read, or if ctx ends first; what the run violated is in the findings.
func Run(ctx context.Context, dir string, o *Options) (*trace.Findings, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.MaxOps <= 0 {
		opts.MaxOps = defaultMaxOps
	}
	h, err := load(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	h.words = nil
	c := newChecker(h, dir, opts)
	c.out.IDs = len(h.calls)
	for _, id := range slices.Sorted(maps.Keys(h.calls)) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("check: %w", context.Cause(ctx))
		}
		c.check(ctx, h.calls[id])
		delete(h.calls, id) // what is derived of it can go
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("check: %w", context.Cause(ctx))
	}
	return c.findings(), nil
}

func newChecker(h *history, dir string, opts Options) *checker {
	c := &checker{history: h, dir: dir, opts: opts, checks: map[string]*trace.Check{}}
	for _, inv := range trace.Invariants {
		c.checks[inv.Name] = &trace.Check{Invariant: inv.Name}
	}
	c.out = &trace.Findings{
		Outcomes: map[string]int{}, Effects: map[string]int{}, Histogram: map[string]map[int]int{},
	}
	return c
}

// A checker gathers what is found.
type checker struct {
	*history
	dir    string
	opts   Options
	checks map[string]*trace.Check
	out    *trace.Findings

	timedOut int
}

// check checks all that is known of one call.
func (c *checker) check(ctx context.Context, k *call) {
	k.derive(c.history)
	if c.watched && !k.watched {
		c.looked("I1")
		c.undecided("I1", "store.jsonl lacks writes that were read")
	}
	c.grants(k)       // I1, I9, I11
	c.writes(k)       // I2, I3, I4
	c.effects(k)      // I5, I10
	c.stays(k)        // I6
	c.ends(k)         // I7
	c.answers(k)      // I8, I12
	c.doubts(k)       // I13
	c.counts(k)       // I14
	c.linear(ctx, k)  // L1
	c.guarded(ctx, k) // L2
	c.histogram(k)
}

// looked counts things that an invariant was checked for.
func (c *checker) looked(invariant string) { c.checks[invariant].Checked++ }

// undecided counts one of those looked at that can not be decided.
func (c *checker) undecided(invariant, note string) {
	k := c.checks[invariant]
	k.Unknown++
	if k.Note == "" {
		k.Note = note
	}
}

// violated records a violation; at is where its evidence is to be found, 0: at the end.
func (c *checker) violated(invariant string, k *call, at int64, format string, args ...any) {
	n := c.checks[invariant]
	n.Violations++
	if len(c.out.Violations) >= maxViolations || n.Violations > maxOfOne {
		return
	}
	v := trace.Violation{Invariant: invariant, Text: fmt.Sprintf(format, args...)}
	if k != nil {
		v.ID, v.Evidence = k.id, c.story(k, at)
	}
	c.out.Violations = append(c.out.Violations, v)
}

func (c *checker) findings() *trace.Findings {
	for _, inv := range trace.Invariants {
		c.out.Checks = append(c.out.Checks, *c.checks[inv.Name])
	}
	return c.out
}
