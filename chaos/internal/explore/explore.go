package explore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options of Run; the zero value is the short run.
type Options struct {
	Full      bool // larger budgets of faults and calls
	MaxStates int  // of one search; past it Run fails. Defaults to 5 million
}

// A Result is what Run found.
type Result struct {
	States      int            `json:"states"`
	Transitions int            `json:"transitions"`
	Depth       int            `json:"depth"` // steps of the longest shortest path to a state
	Elapsed     time.Duration  `json:"elapsed_ns"`
	Steps       map[string]int `json:"steps"` // transitions, by the words that a trace has for them
	Cells       []Cell         `json:"cells"`
	Violations  []Violation    `json:"violations"`
}

// A Cell is one entry of the table of bounds: the number of effects that the
// world sees of one run of a call.
type Cell struct {
	Fault     string `json:"fault"`
	Policy    string `json:"policy"`
	World     string `json:"world"`
	Bound     string `json:"bound"`     // as design.md words it
	Max       int    `json:"max"`       // most effects of one run, in any state after the fault
	Min       int    `json:"min"`       // least effects of one run that is over
	Takeovers int    `json:"takeovers"` // most of one run: grants that followed a doubt
	States    int    `json:"states"`
	Tight     bool   `json:"tight"` // the bound is reached; one per takeover: with one and with two of them
	OK        bool   `json:"ok"`    // the bound holds and is tight, and no invariant is broken
}

// A Violation is a broken invariant, with the shortest way there.
type Violation struct {
	Invariant string   `json:"invariant"`
	Text      string   `json:"text"`
	Search    string   `json:"search"` // the fault, policy and world of the search
	Trace     []string `json:"trace"`
}

// OK reports whether every bound holds and is tight, and no invariant is broken.
func (r *Result) OK() bool { return r.Err() == nil }

// Err says which bounds are exceeded or not tight and which invariants are
// broken; nil if none.
func (r *Result) Err() error {
	var errs []error
	if len(r.Cells) == 0 {
		errs = append(errs, errors.New("explore: nothing was searched"))
	}
	for _, c := range r.Cells {
		if !c.OK {
			errs = append(errs, fmt.Errorf("explore: %s; %s; %s: bound %s, seen %d to %d with %d takeovers, tight: %v", c.Fault, c.Policy, c.World, c.Bound, c.Min, c.Max, c.Takeovers, c.Tight))
		}
	}
	for _, v := range r.Violations {
		errs = append(errs, fmt.Errorf("explore: %s: %s (%s)\n%s", v.Invariant, v.Text, v.Search, strings.Join(v.Trace, "\n")))
	}
	return errors.Join(errs...)
}

// Run searches every cell. It returns an error if ctx ends or a search exceeds
// MaxStates; broken invariants and bounds are in the result, see [Result.Err].
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.MaxStates <= 0 {
		o.MaxStates = 5_000_000
	}
	began := time.Now()
	r := &Result{Cells: []Cell{}, Violations: []Violation{}, Steps: map[string]int{}}
	var mem memory
	for _, c := range searches(o.Full) {
		found, err := c.run(ctx, &mem, o.MaxStates)
		if err != nil {
			return nil, err
		}
		r.States += found.states
		r.Transitions += found.transitions
		r.Depth = max(r.Depth, found.depth)
		for text, n := range found.steps {
			r.Steps[text] += n
		}
		r.Violations = append(r.Violations, found.violations...)
		if !c.looser {
			r.Cells = append(r.Cells, c.cell(found))
		}
	}
	r.Elapsed = time.Since(began)
	return r, nil
}
