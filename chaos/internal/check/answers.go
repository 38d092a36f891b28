package check

import (
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// blockedOutcomes are of calls that were answered without running.
var blockedOutcomes = []string{trace.Replayed, trace.Duplicate, trace.InProgress, trace.InDoubt, trace.Failed, trace.Omitted}

// answers checks I8 and I12: what calls that did not run were answered.
func (c *checker) answers(k *call) {
	recorded := map[string]int64{} // results, by when they were written at the earliest
	see := func(s *trace.Snapshot, at int64) {
		if s.State == succeeded && !s.Omitted {
			if was, ok := recorded[s.Result]; !ok || at < was {
				recorded[s.Result] = at
			}
		}
	}
	for _, e := range k.endings {
		if e.fate != neverDid {
			see(e.next, e.from)
		}
	}
	for _, s := range k.sights {
		if s.o != nil {
			see(s.Snapshot, s.o.start)
		}
	}
	type part struct {
		p *process
		n uint64
	}
	ran := map[part]*op{}
	for _, o := range k.ops {
		if o.kind == trace.Attempt && o.in != 0 {
			ran[part{o.proc, o.in}] = o
		}
	}
	for _, o := range k.ops {
		if o.kind != trace.Do && o.kind != trace.Force || !o.ended() {
			continue
		}
		if o.outcome == trace.Replayed {
			c.looked("I8")
			switch at, ok := recorded[o.value]; {
			case k.kept(o):
			case !ok:
				c.violated("I8", k, o.end, "%s was answered with %q, which was never recorded", o.proc.name, o.value)
			case at > o.end:
				c.violated("I8", k, o.end, "%s was answered with %q before that was recorded", o.proc.name, o.value)
			}
		}
		if o.outcome != trace.NotStarted && o.outcome != trace.Invalid && !slices.Contains(blockedOutcomes, o.outcome) {
			continue
		}
		c.looked("I12")
		if a := ran[part{o.proc, o.n}]; a != nil {
			c.violated("I12", k, a.start, "a call of %s was answered with %s, and its tool ran with fence %d", o.proc.name, o.outcome, a.fence)
		}
	}
}

// kept reports whether the process of o had an outcome of its own in memory that
// explains the answer, and that was never recorded: a guard answers duplicates from such an
// outcome while it sends it again and again. The answer then dies with the process.
func (k *call) kept(o *op) bool {
	return slices.ContainsFunc(k.endings, func(e *ending) bool {
		return e.fate == neverDid && e.succeeds() && e.ops[0].proc == o.proc && e.from <= o.end &&
			(e.next.Result == o.value || o.outcome != trace.Replayed)
	})
}
