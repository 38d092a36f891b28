package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/check"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/soak"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// leaseTTL is what workers on etcd ask for: short, so that many leases end in a run.
const leaseTTL = 2 * time.Second

// Floors of a soak, beside those of soak.Rates.
const (
	floorCalls  = 20   // a second, with a definite end
	digestSteps = 1000 // of each caller count for the schedule's digest
)

func (r *Report) soak(ctx context.Context, o *Options, keeper *proc.Keeper, dir string) (err error) {
	cfg := soak.Config{Seed: o.Seed, Duration: o.Duration, Workers: o.Workers, Kinds: o.Faults}
	store := o.Store
	if store == "" {
		store = "etcd"
	}
	if store == "etcd" {
		cfg.Members, cfg.TTL, cfg.InWire = o.Members, leaseTTL, true
	}
	tools := soak.Tools(o.Policies, o.Worlds)
	r.Run.Store, r.Run.Members, r.Run.Duration, r.Run.TTL, r.Run.Tools = store, cfg.Members, o.Duration, cfg.TTL, tools
	r.Run.CallTimeout = soak.CallTimeout
	r.Schedule = digest(cfg, o.Callers, tools)

	labDir := filepath.Join(filepath.Dir(dir), "lab")
	if err := os.Mkdir(labDir, 0o700); err != nil {
		return err
	}
	l, err := lab.Open(ctx, lab.Options{Dir: labDir, Keeper: keeper, Command: o.Command, Members: cfg.Members, TTL: cfg.TTL})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	site, err := l.Site(ctx, dir, r.Run, lab.Registered(registry.Stores[store]), o.Path)
	if err != nil {
		return err
	}
	o.progress(fmt.Sprintf("soak: %s, %d workers x %d callers, seed %d, %v; its data are in %s", storeName(store, cfg.Members), o.Workers, o.Callers, o.Seed, o.Duration, dir))
	got, err := soak.Run(ctx, site, &soak.Options{
		Config: cfg, Callers: o.Callers, Tools: tools, Code: o.Tool, Path: o.Path,
		Progress: func(p soak.Progress) {
			o.progress(fmt.Sprintf("soak: %v of %v, %d calls, %.0f/s, kills %d, pauses %d, cuts %d, members %d …", p.Elapsed.Round(time.Second), o.Duration,
				p.Calls, float64(p.Calls)/p.Elapsed.Seconds(), p.Faults[trace.FaultKill], p.Faults[trace.FaultPause], cuts(p.Faults), p.Faults[trace.FaultMember]+p.Faults[trace.FaultLeader]))
		},
	})
	if err == nil {
		o.progress("soak: everything is healed; each call that did not come to its end is made once more …")
		err = site.Settle(ctx, worker.Job{Worker: o.Workers, Tools: tools, Code: o.Tool, Path: o.Path})
	}
	if err := errors.Join(err, site.End(ctx)); err != nil {
		return err
	}
	o.progress("soak: checking what was written down …")
	r.Run.From, r.Run.To = site.Run.From, site.Run.To
	found, err := check.Run(ctx, dir, nil)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	r.merge(found, dir)
	for kind, n := range got.Faults {
		r.Faults[kind] += n
	}
	r.Beyond, r.Windows = r.Beyond+got.Beyond, summed(r.Windows, got.Windows)
	r.Rate = float64(got.Calls) / got.Took.Seconds()
	if r.Latency, err = latency(dir); err != nil {
		return err
	}
	r.floors(o, &cfg, got)
	o.progress(fmt.Sprintf("soak: %d calls, %.0f/s, under %d faults", got.Calls, r.Rate, len(got.Faults)))
	return nil
}

func storeName(store string, members int) string {
	if members > 0 {
		return fmt.Sprintf("%s of %d members", store, members)
	}
	return store
}

func cuts(faults map[string]int) int {
	return faults[trace.FaultCut] + faults[trace.FaultCutIn] + faults[trace.FaultCutOut]
}

// floors says what the soak had to reach, and what it did.
func (r *Report) floors(o *Options, cfg *soak.Config, got *soak.Result) {
	minutes := got.Took.Minutes()
	want := func(kind string) bool { return len(o.Faults) == 0 || slices.Contains(o.Faults, kind) }
	add := func(name string, floor, have float64) {
		r.Floors = append(r.Floors, trace.Floor{Name: name, Want: floor, Got: have})
	}
	// A rate a minute says nothing of a fraction of one, and the last event may come after the end.
	perMinute := func(floor float64) float64 { return max(0, math.Floor(floor*minutes)-1) / minutes }
	for _, c := range r.Findings.Checks {
		// The whole workload has something for each; a part of it has no replays perhaps.
		if whole := len(o.Policies) == len(policies) && len(o.Worlds) == len(worlds); c.Checked <= c.Unknown && (whole || c.Invariant != "I8") {
			add("what "+c.Invariant+" decided", 1, float64(c.Checked-c.Unknown))
		}
	}
	calls := 0
	for outcome, n := range r.Findings.Outcomes {
		if outcome != trace.NotStarted && outcome != trace.Invalid && outcome != trace.Unknown {
			calls += n
		}
	}
	add("calls a second", floorCalls, float64(calls)/got.Took.Seconds())
	for _, kind := range o.Faults {
		add("faults of the kind "+kind, 1, float64(got.Faults[kind]))
	}
	if want(trace.FaultKill) {
		add("kills a minute", perMinute(20), float64(got.Faults[trace.FaultKill])/minutes)
	}
	if want(trace.FaultPause) {
		add("pauses a minute", perMinute(3), float64(got.Faults[trace.FaultPause])/minutes)
	}
	if cfg.Members == 0 {
		return
	}
	if want(trace.FaultCut) && want(trace.FaultCutIn) && want(trace.FaultCutOut) {
		add("partitions a minute", perMinute(3), float64(cuts(got.Faults))/minutes)
	}
	if cfg.Members > 1 && want(trace.FaultMember) && want(trace.FaultLeader) {
		floor := perMinute(1)
		if minutes >= 1 {
			floor = max(floor, 1/minutes)
		}
		add("member kills a minute", floor, float64(got.Faults[trace.FaultMember]+got.Faults[trace.FaultLeader])/minutes)
	}
}

// digest is that of the schedule: of the faults, and of the first operations of each caller.
func digest(cfg soak.Config, callers int, tools []trace.Tool) string {
	h := sha256.New()
	soak.Digest(h, soak.Schedule(cfg))
	worker.Digest(h, cfg.Seed, cfg.Workers, callers, digestSteps, tools)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// latency reads how long the calls took from the histories.
func latency(dir string) (map[string]time.Duration, error) {
	var took []time.Duration
	for _, lines := range trace.Histories(dir) {
		open := map[uint64]int64{}
		for l, err := range lines {
			switch {
			case err != nil:
				return nil, err
			case l.Kind != trace.Do:
			case !l.End:
				open[l.N] = l.At
			default:
				took = append(took, time.Duration(l.At-open[l.N]))
				delete(open, l.N)
			}
		}
	}
	if len(took) == 0 {
		return nil, nil
	}
	slices.Sort(took)
	return map[string]time.Duration{"p50": took[len(took)/2], "p99": took[len(took)*99/100], "max": took[len(took)-1]}, nil
}
