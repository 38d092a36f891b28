package check

import (
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A budget is how many effects a call may have.
type budget struct {
	runs      int // runs that the workload asked for
	uncertain int // attempts after ones of which nobody knows whether they had an effect
	late      int // effects that landed after a query with a greater fence had been answered
}

// effects checks I5 and I10.
func (c *checker) effects(k *call) {
	done, perFence, perToken := 0, map[int64]int{}, map[string]int{}
	b := budget{runs: k.runs()}
	lateOf := map[string]int{}
	asked := int64(0)
	for _, e := range k.effects {
		c.out.Effects[e.Did]++
		switch e.Did {
		case trace.Asked:
			asked = max(asked, e.Fence)
		case trace.Done:
			done++
			perFence[e.Fence]++
			perToken[e.Token]++
			if e.Fence < asked {
				b.late++
				lateOf[e.Token]++
			}
		}
	}
	attempts := map[string]int{}
	for _, g := range k.grants {
		if !g.starts(k.versions[g.seen]) {
			continue
		}
		attempts[g.next.Token]++
		if g.uncertain() {
			b.uncertain++
		}
	}
	c.succeededByEffect(k)
	if done == 0 {
		return
	}
	if k.tool == nil {
		c.looked("I5")
		c.undecided("I5", "run.json does not name the tool of a call")
		return
	}
	at := k.effects[len(k.effects)-1].At
	for f, n := range perFence {
		if n > 1 {
			c.violated("I5", k, at, "one attempt, of fence %d, had %d effects", f, n)
		}
	}
	for token, n := range perToken {
		c.looked("I5")
		if most := bound(k.tool, attempts[token], lateOf[token]); n > most {
			c.violated("I5", k, at, "the attempts with token %s had %d effects; %s in a world that is %s allows %d", token, n, k.tool.InDoubt, k.tool.World, most)
		}
	}
	if most := k.mostEffects(b); done > most {
		c.violated("I5", k, at, "the call had %d effects; %d runs of %s in a world that is %s allow %d", done, b.runs, k.tool.InDoubt, k.tool.World, most)
	}
}

// runs counts the runs that the workload may have asked for.
func (k *call) runs() int {
	most := 1
	if k.tool != nil {
		most = max(1, k.tool.Max)
	}
	forgotten, others := 1, 0
	for _, o := range k.ops {
		switch {
		case o.kind == trace.Force:
			// The run that it steals from may act all the same, until its context tells it: that is the effect of its own run.
			others++
		case o.kind == trace.Forget && k.mayApply(o), o.kind == trace.Resolve && o.as == "forget" && k.mayApply(o):
			forgotten++ // with the successes that count against Max
		case o.kind == trace.Resolve && o.as == "did_not_happen" && k.mayApply(o):
			others++
		}
	}
	return most*forgotten + others
}

// mayApply reports whether the Forget or Resolve may have done, or may still do, what it is for.
func (k *call) mayApply(o *op) bool {
	switch o.outcome {
	case trace.OK, trace.Unknown, trace.Unrecorded, "":
		return true
	case trace.NotStarted: // of a deletion whose answer was lost too: the store was unavailable
		return slices.ContainsFunc(k.deletes, func(d *op) bool { return d.proc == o.proc && (d.in == o.n || d.in == 0) })
	}
	return false
}

// bound is how many effects the attempts with one token may have. The token
// is the same over the attempts of a run, but after one that certainly did nothing and where none is in doubt.
func bound(t *trace.Tool, attempts, late int) int {
	switch {
	case t.World == trace.WorldToken, t.InDoubt == "block":
		return 1
	case t.InDoubt == "reconcile" && t.World == trace.WorldFence:
		return 1
	case t.InDoubt == "reconcile":
		return 1 + late
	}
	return max(1, attempts)
}

// mostEffects is how many effects the call may have over all its runs.
func (k *call) mostEffects(b budget) int {
	switch t := k.tool; {
	case t.World == trace.WorldToken, t.InDoubt == "block":
		return b.runs
	case t.InDoubt == "reconcile" && t.World == trace.WorldFence:
		return b.runs
	case t.InDoubt == "reconcile":
		return b.runs + b.late
	}
	return b.runs + b.uncertain
}

// succeededByEffect checks I10.
func (c *checker) succeededByEffect(k *call) {
	told := map[string]bool{}
	see := func(s *trace.Snapshot, before, at int64) {
		if s.State != succeeded || s.Settled != "" || told[s.Token] {
			return
		}
		told[s.Token] = true
		c.looked("I10")
		if !slices.ContainsFunc(k.effects, func(e *trace.Effect) bool {
			return (e.Did == trace.Done || e.Did == trace.Known) && e.Token == s.Token && e.At <= before && (s.Omitted || s.Result == "" || e.Result == "" || e.Result == s.Result)
		}) {
			c.violated("I10", k, at, "the run with token %s succeeded with %q, and the world has no effect with that result", s.Token, s.Result)
		}
	}
	for _, e := range k.endings {
		if e.fate == happened {
			see(e.next, e.from, e.by)
		}
	}
	for _, s := range k.sights {
		see(s.Snapshot, s.at, s.at)
	}
}

// histogram counts runs by their effects.
func (c *checker) histogram(k *call) {
	if k.tool == nil || len(k.grants) == 0 {
		return
	}
	runs := map[int]int{}
	for _, g := range k.grants {
		runs[g.run] += 0
	}
	for _, e := range k.effects {
		if g := k.byFence[e.Fence]; g != nil && e.Did == trace.Done {
			runs[g.run]++
		}
	}
	name := k.tool.InDoubt + "/" + k.tool.World
	if c.out.Histogram[name] == nil {
		c.out.Histogram[name] = map[int]int{}
	}
	for _, n := range runs {
		c.out.Histogram[name][n]++
	}
}
