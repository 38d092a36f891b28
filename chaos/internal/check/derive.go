package check

import (
	"cmp"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// States of a record, and outcomes in its log, as the files have them.
const (
	running   = "running"
	succeeded = "succeeded"
	failed    = "failed"
	inDoubt   = "in_doubt"

	lost    = "lost"
	forced  = "forced"
	settled = "settled"
)

// A fate says whether a write happened.
type fate uint8

const (
	unknown fate = iota
	happened
	neverDid
)

// A grant is the write of a claim, over all the times it was sent.
type grant struct {
	nonce string
	ops   []*op // in order of their starts
	next  *trace.Snapshot
	seen  int64
	steal bool
	proc  *process
	in    *op // the guard's operation; nil: not known
	fence int64
	fate  fate
	// If it happened, then after from, and before by; never: nobody saw it.
	from, by int64
	deadFrom int64 // when its session may have ended
	expired  bool  // the store's writes show that its running key went with its lease
	run      int   // of the call, counted from 0; with number
}

// won returns when the first of its claims was answered with a win; never: none was.
func (g *grant) won() int64 {
	at := int64(never)
	for _, o := range g.ops {
		if o.won {
			at = min(at, o.end)
		}
	}
	return at
}

// starts reports whether the claim starts the tool, rather than a query or a resolution.
func (g *grant) starts(before *trace.Snapshot) bool {
	return before == nil || g.next.Starts > before.Starts || g.next.Token != before.Token
}

// uncertain reports whether what came before the grant ended without anyone
// knowing whether its effect happened.
func (g *grant) uncertain() bool {
	if g.seen == 0 || len(g.next.Log) == 0 {
		return false
	}
	switch g.next.Log[len(g.next.Log)-1].Outcome {
	case lost, forced, inDoubt:
		return true
	}
	return false
}

// An ending is a finish of one claim with one outcome, over all the times it was
// sent. A record without a state stands for a removal.
type ending struct {
	ops      []*op
	next     *trace.Snapshot
	fence    int64
	version  int64 // that it wrote; 0: nobody saw it
	fate     fate
	from, by int64
	g        *grant // nil: not known
}

func (e *ending) removes() bool { return e.next.State == "" }

// succeeds reports whether the ending is the claim's own success, rather than that
// of an earlier one which is restored.
func (e *ending) succeeds() bool {
	return e.next.State == succeeded && (e.g == nil || e.next.Token == e.g.next.Token && e.next.Executed > e.g.next.Executed)
}

// A sighting is a record as somebody read it.
type sighting struct {
	*trace.Snapshot
	o  *op // nil: in the store's writes, or in the end
	at int64
}

// derived is what follows from a call's lines.
type derived struct {
	grants   []*grant // that happened, in order of their fences, those that nobody knows the fence of last
	maybe    []*grant // that may have happened
	byNonce  map[string]*grant
	byFence  map[int64]*grant
	endings  []*ending
	deletes  []*op // that may have deleted
	sights   []sighting
	versions map[int64]*trace.Snapshot
	watched  bool // the store's writes of it are known, all of them
}

func (k *call) derive(h *history) {
	k.derived = derived{byNonce: map[string]*grant{}, byFence: map[int64]*grant{}, versions: map[int64]*trace.Snapshot{}}
	k.gather()
	k.watched = h.watched && k.complete()
	for _, s := range k.sights {
		if s.Version > 0 && k.versions[s.Version] == nil {
			k.versions[s.Version] = s.Snapshot
		}
	}
	k.decideGrants(h)
	k.decideEndings()
	var all []*grant
	for _, g := range k.byNonce {
		switch g.fate {
		case happened:
			all = append(all, g)
		case unknown:
			k.maybe = append(k.maybe, g)
		}
	}
	order := func(a, b *grant) int {
		if (a.fence == 0) != (b.fence == 0) {
			return cmp.Compare(b.fence, a.fence)
		}
		return cmp.Or(cmp.Compare(a.fence, b.fence), cmp.Compare(a.from, b.from), cmp.Compare(a.nonce, b.nonce))
	}
	slices.SortFunc(all, order)
	slices.SortFunc(k.maybe, order)
	k.grants = all
	run := -1
	for _, g := range k.grants {
		if run < 0 || g.next.Attempt == 1 && g.starts(k.versions[g.seen]) {
			run++
		}
		g.run = run
	}
}

// complete reports whether all versions that anybody has read are among the store's writes.
func (k *call) complete() bool {
	written := map[int64]bool{}
	for _, w := range k.writes {
		written[w.Rev] = written[w.Rev] || w.Record != nil
	}
	return !slices.ContainsFunc(k.sights, func(s sighting) bool { return s.Version > 0 && !written[s.Version] })
}

// gather collects grants, endings and sightings, without their fates.
func (k *call) gather() {
	type end struct {
		fence                int64
		state, token, result string
		omitted              bool
	}
	ends := map[end]*ending{}
	for _, o := range k.ops {
		if o.stands != nil {
			k.sights = append(k.sights, sighting{o.stands, o, o.end})
		}
		switch {
		case o.kind == trace.Claim && o.next != nil:
			g := k.byNonce[o.next.Nonce]
			if g == nil {
				g = &grant{nonce: o.next.Nonce, next: o.next, seen: o.seen, steal: o.steal, proc: o.proc, from: o.start, by: never}
				k.byNonce[o.next.Nonce] = g
			}
			g.ops = append(g.ops, o)
			if g.in == nil {
				g.in = o.proc.parent(o)
			}
		case o.kind == trace.Finish && o.next != nil:
			n := o.next
			id := end{n.Fence, n.State, n.Token, n.Result, n.Omitted}
			e := ends[id]
			if e == nil {
				e = &ending{next: n, fence: n.Fence, from: o.start, by: never}
				ends[id] = e
				k.endings = append(k.endings, e)
			}
			e.ops = append(e.ops, o)
		case o.kind == trace.Delete && !o.refused():
			k.deletes = append(k.deletes, o)
		}
	}
	for _, w := range k.writes {
		if w.Record != nil {
			k.sights = append(k.sights, sighting{w.Record, nil, w.At})
		}
	}
	if k.final != nil && k.final.State != "" {
		k.sights = append(k.sights, sighting{k.final, nil, never})
	}
}

// removals are the operations that may have removed the record, other than those that certainly did not.
func (k *call) removals() []removal {
	var all []removal
	for _, o := range k.deletes {
		all = append(all, removal{o.seen, o.start, o.landed(), o.sure()})
	}
	for _, e := range k.endings {
		if e.removes() && e.fate != neverDid {
			all = append(all, removal{e.fence, e.from, e.by, e.fate == happened})
		}
	}
	slices.SortFunc(all, func(a, b removal) int { return cmp.Compare(a.from, b.from) })
	return all
}

// A removal takes away the record of one version.
type removal struct {
	version  int64
	from, by int64
	sure     bool
}
