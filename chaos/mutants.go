package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/points"
	"github.com/ledger-once/ledger/chaos/internal/powercut"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/failpoint"
)

func (r *Report) mutants(ctx context.Context, o *Options, keeper *proc.Keeper, dir string) (err error) {
	if !failpoint.On {
		return errNoFailpoints
	}
	r.Mutants, err = points.Mutants(ctx, &points.Options{
		Dir: dir, Keeper: keeper, Command: o.Command, Seed: o.Seed, TTL: leaseTTL,
		Progress: func(done, of int, last trace.CellCount) {
			o.progress(fmt.Sprintf("mutants: %d of %d recipes, last %s on %s …", done, of, last.Cell.Point, last.Cell.Store))
		},
	})
	if err != nil {
		return err
	}
	if err := r.normal(ctx, o, keeper, dir); err != nil {
		return err
	}
	caught := 0
	for _, m := range r.Mutants {
		if m.OK {
			caught++
		}
	}
	o.progress(fmt.Sprintf("mutants: %d of %d caught", caught, len(r.Mutants)))
	return nil
}

// normal plays power cuts with the mutant that they alone catch, and without it.
func (r *Report) normal(ctx context.Context, o *Options, keeper *proc.Keeper, dir string) error {
	if o.NoPowerCuts {
		r.Why = append(r.Why, "the mutant "+failpoint.MutantSQLiteNormal+" was not tried: the power cuts were left out")
		o.progress("mutants: " + failpoint.MutantSQLiteNormal + " is left out, with the power cuts")
		return nil
	}
	all := failpoint.Mutants()
	m := all[slices.IndexFunc(all, func(m failpoint.MutantInfo) bool { return m.Name == failpoint.MutantSQLiteNormal })]
	broken, err := powerCuts(ctx, o, keeper, filepath.Join(dir, m.Name), m.Name)
	if err != nil {
		return err
	}
	whole, err := powerCuts(ctx, o, keeper, filepath.Join(dir, m.Name+"-whole"), "")
	if err != nil {
		return err
	}
	sum := trace.MutantResult{Name: m.Name, Text: m.Text, Want: m.Invariants, Runs: 1, Control: whole.Lost == 0}
	for _, v := range broken.Violations {
		if !slices.Contains(sum.Caught, v.Invariant) {
			sum.Caught = append(sum.Caught, v.Invariant)
		}
	}
	sum.OK = sum.Control && slices.ContainsFunc(m.Invariants, func(want string) bool { return slices.Contains(sum.Caught, want) })
	sum.Evidence = fmt.Sprintf("%d of %d power cuts lost something that was acknowledged; with the rule whole %d of %d", broken.LostCuts, broken.Cuts, whole.LostCuts, whole.Cuts)
	r.Mutants = append(r.Mutants, sum)
	return nil
}

// The size of a run of power cuts: calls, and cuts at random beside those at the acknowledgements.
const (
	cutCalls  = 40
	cutRandom = 60
)

// powerCuts plays them in dir, which it makes.
func powerCuts(ctx context.Context, o *Options, keeper *proc.Keeper, dir, mutant string) (*powercut.Result, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return powercut.Run(ctx, powercut.Options{
		Dir: dir, Keeper: keeper, Mutant: mutant, Seed: o.Seed, Ops: cutCalls, Cuts: cutRandom,
		Command: append(slices.Clone(o.Command), lab.RoleArgument, powercut.Role), SpecVariable: lab.SpecVariable,
	})
}
