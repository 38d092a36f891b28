package points

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ledger-once/ledger/chaos/internal/check"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// mutantRun bounds one recipe.
const mutantRun = settleWithin + reachWithin

// Mutants plays the recipes of all mutants, each with its rule broken and with it whole. A
// mutant is caught if one of its invariants is violated in each recipe with it, and nothing is without it.
func Mutants(ctx context.Context, o *Options) (_ []trace.MutantResult, err error) {
	labDir := filepath.Join(o.Dir, "lab")
	if err := os.MkdirAll(labDir, 0o700); err != nil {
		return nil, err
	}
	l, err := lab.Open(ctx, lab.Options{Dir: labDir, Keeper: o.Keeper, Command: o.Command, Members: 1, TTL: o.TTL})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	type result struct {
		caught, control []string
		err             error
		events          []string
	}
	results := make([]result, len(recipes))
	var group sync.WaitGroup
	var mu sync.Mutex
	done := 0
	slots := make(chan struct{}, beside)
	for i, rec := range recipes {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			r := &results[i]
			r.caught, r.events, r.err = o.recipe(ctx, l, rec, rec.mutant, filepath.Join(o.Dir, fmt.Sprintf("%s-%s", rec.mutant, rec.store)))
			if r.err == nil {
				r.control, _, r.err = o.recipe(ctx, l, rec, "", filepath.Join(o.Dir, fmt.Sprintf("%s-%s-whole", rec.mutant, rec.store)))
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; o.Progress != nil {
				o.Progress(done, len(recipes), trace.CellCount{Cell: trace.Cell{Store: rec.store, Point: rec.mutant}, OK: r.err == nil})
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []trace.MutantResult
	for _, m := range failpoint.Mutants() {
		if m.Name == failpoint.MutantSQLiteNormal {
			continue // no kill shows it: see package powercut
		}
		sum := trace.MutantResult{Name: m.Name, Text: m.Text, Want: m.Invariants, OK: true, Control: true}
		for i, rec := range recipes {
			if rec.mutant != m.Name {
				continue
			}
			r := results[i]
			sum.Runs++
			switch {
			case r.err != nil:
				sum.OK = false
				sum.Evidence += fmt.Sprintf("on %s: %v [%s]; ", rec.store, r.err, strings.Join(r.events, "; "))
			case !slices.ContainsFunc(m.Invariants, func(want string) bool { return slices.Contains(r.caught, want) }):
				sum.OK = false
				sum.Evidence += fmt.Sprintf("on %s: caught by %v [%s]; ", rec.store, r.caught, strings.Join(r.events, "; "))
			case len(r.control) > 0:
				sum.OK, sum.Control = false, false
				sum.Evidence += fmt.Sprintf("on %s: the same run without it violates %v; ", rec.store, r.control)
			}
			for _, c := range r.caught {
				if !slices.Contains(sum.Caught, c) {
					sum.Caught = append(sum.Caught, c)
				}
			}
		}
		if sum.Runs == 0 {
			sum.OK, sum.Evidence = false, "nothing provokes it"
		}
		all = append(all, sum)
	}
	return all, nil
}

// recipe plays one, and returns the invariants that were violated.
func (o *Options) recipe(ctx context.Context, l *lab.Lab, rec recipe, mutant, dir string) (violated, events []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, mutantRun)
	defer cancel()
	run := trace.Run{Layer: "mutants", Seed: o.Seed, Store: rec.store, Workers: 3, Tools: []trace.Tool{rec.tool}, Mutant: mutant}
	if rec.store == "etcd" {
		run.Members = 1
	}
	site, err := l.Site(ctx, dir, run, nil, "")
	if err != nil {
		return nil, nil, err
	}
	s := &scenario{site: site}
	err = s.begin(ctx, rec)
	if err == nil {
		err = rec.play(ctx, s)
	}
	if err == nil { // and what stands then
		err = s.tries(ctx, s.other, step(trace.Do))
	}
	if err == nil {
		err = errors.Join(s.victim.Exit(ctx, settleWithin), s.other.Exit(ctx, settleWithin))
	}
	if err != nil {
		site.KillAll()
	}
	if err = errors.Join(err, site.End(ctx)); err != nil {
		return nil, s.events, err
	}
	found, err := check.Run(ctx, dir, nil)
	if err != nil {
		return nil, s.events, err
	}
	for _, c := range found.Checks {
		if c.Violations > 0 {
			violated = append(violated, c.Invariant)
		}
	}
	return violated, s.events, nil
}

// begin starts the workers of a recipe.
func (s *scenario) begin(ctx context.Context, rec recipe) (err error) {
	if s.id, err = idOf(ctx); err != nil {
		return err
	}
	job := worker.Job{Worker: 1, Tools: s.site.Run.Tools, TTL: rec.ttl}
	if s.victim, err = s.site.Start(ctx, job); err != nil {
		return err
	}
	job.Worker = 2
	if rec.loose {
		t := rec.tool
		t.InDoubt = "retry"
		job.Tools = []trace.Tool{t}
	}
	s.other, err = s.site.Start(ctx, job)
	return err
}
