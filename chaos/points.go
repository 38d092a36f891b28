package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/points"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/failpoint"
)

func (r *Report) points(ctx context.Context, o *Options, keeper *proc.Keeper, dir string) error {
	if !failpoint.On {
		return errNoFailpoints
	}
	mode := points.Mode{Full: o.Full}
	switch o.Store {
	case "":
		mode.SQLite, mode.Etcd = true, []int{1}
		if o.Members > 1 {
			mode.Etcd = append(mode.Etcd, o.Members)
		}
	case "etcd":
		mode.Etcd = []int{o.Members}
	case "sqlite":
		mode.SQLite = true
	default:
		return fmt.Errorf("%w: the layer %s has no points in a store of a registry; use %s", ErrOptions, Points, Soak)
	}
	mode.Filter = func(c trace.Cell) bool {
		return slices.Contains(o.Policies, c.InDoubt) && slices.Contains(o.Worlds, c.World) && (len(o.Faults) == 0 || slices.Contains(o.Faults, c.Fault))
	}
	bad := 0
	counts, err := points.Run(ctx, &points.Options{
		Mode: mode, Dir: dir, Keeper: keeper, Command: o.Command, Seed: o.Seed, TTL: leaseTTL,
		Found: func(f *trace.Findings, dir string) {
			r.merge(f, dir)
			for fault, err := range trace.Read[trace.Fault](filepath.Join(dir, trace.FaultsFile)) {
				if err == nil && fault.Beyond { // the checkers have read the file
					r.Beyond++
				}
			}
		},
		Progress: func(done, of int, last trace.CellCount) {
			if !last.OK {
				bad++
				o.progress(fmt.Sprintf("points: %s: %s", last.Cell, last.Text))
			}
			o.progress(fmt.Sprintf("points: %d of %d cells, %d failed, last %s in %v …", done, of, bad, last.Cell, last.Took.Round(time.Millisecond)))
		},
	})
	r.Cells = counts
	r.Floors = append(r.Floors, trace.Floor{Name: "cells", Want: 1, Got: float64(len(counts))})
	var stores []string
	for _, c := range counts {
		if !slices.Contains(stores, c.Cell.Store) {
			stores = append(stores, c.Cell.Store)
		}
		if c.Landed == 0 {
			continue
		}
		r.Faults[c.Cell.Fault]++
		if c.Cell.Fault == trace.FaultKill || c.Cell.Fault == trace.FaultPause {
			r.Windows = summed(r.Windows, map[string]int{c.Cell.Fault + " " + c.Cell.Point: 1})
		}
	}
	if r.Run.Store == "" {
		r.Run.Store = strings.Join(stores, " and ")
	}
	if err != nil {
		return err
	}
	o.progress(fmt.Sprintf("points: %d cells, %d failed", len(counts), bad))
	if !mode.SQLite || o.NoPowerCuts {
		return nil
	}
	cut, err := powerCuts(ctx, o, keeper, filepath.Join(dir, "power"), "")
	if err != nil {
		return err
	}
	r.Floors = append(r.Floors, trace.Floor{Name: "power cuts", Want: 1, Got: float64(cut.Cuts)})
	r.PowerCuts = &trace.PowerCuts{Acknowledged: cut.Acknowledged, Cuts: cut.ByVariant, Lost: cut.Lost}
	r.merge(&trace.Findings{
		Checks: []trace.Check{{Invariant: "I6", Checked: cut.Cuts, Violations: cut.Lost}}, Violations: cut.Violations,
	}, "")
	o.progress(fmt.Sprintf("points: %d power cuts, %d acknowledged writes, %d lost", cut.Cuts, cut.Acknowledged, cut.Lost))
	return nil
}

var errNoFailpoints = fmt.Errorf("%w: this binary holds no failpoints, which the layers %s and %s need; run: go run -tags failpoint ./cmd/ledger chaos --layer %s,%s",
	ErrOptions, Points, Mutants, Points, Mutants)
