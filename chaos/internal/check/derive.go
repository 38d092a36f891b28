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
}

func (k *call) derive(h *history) {
	k.derived = derived{byNonce: map[string]*grant{}, byFence: map[int64]*grant{}, versions: map[int64]*trace.Snapshot{}}
	k.gather()
	for _, s := range k.sights {
		if s.Version > 0 && k.versions[s.Version] == nil {
			k.versions[s.Version] = s.Snapshot
		}
	}
	k.decideGrants(h)
	k.decideEndings(h)
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

func (k *call) decideGrants(h *history) {
	for _, s := range k.sights {
		g := k.byNonce[s.Nonce]
		if g == nil {
			continue
		}
		g.fate = happened
		if g.fence == 0 {
			g.fence = s.Fence
		}
		g.by = min(g.by, max(s.at, g.from))
	}
	for _, g := range k.byNonce {
		if g.fate != happened {
			open := false
			for _, o := range g.ops {
				open = open || !o.refused() && !o.sure()
			}
			if !open || h.watched {
				g.fate = neverDid
			}
		}
		if g.fence > 0 {
			k.byFence[g.fence] = g
		}
		g.deadFrom = h.mayEnd(g.proc, g.from)
	}
	k.expiries(func(key, _ *trace.Write) {
		if g := k.byFence[key.Rev]; g != nil {
			g.expired, g.deadFrom = true, min(g.deadFrom, g.from)
		}
	})
}

// expiries calls fn for each running key that went away without a write of the
// record: as it was put, and as it went.
func (k *call) expiries(fn func(key, gone *trace.Write)) {
	var key *trace.Write
	for i, w := range k.writes {
		if w.Key != "running" {
			continue
		}
		if !w.Gone {
			key = w
			continue
		}
		with := false // another write of the same transaction
		for j := i - 1; j >= 0 && k.writes[j].Rev == w.Rev; j-- {
			with = with || k.writes[j].Key == "record"
		}
		for j := i + 1; j < len(k.writes) && k.writes[j].Rev == w.Rev; j++ {
			with = with || k.writes[j].Key == "record"
		}
		if key != nil && !with {
			fn(key, w)
		}
		key = nil
	}
}

func (k *call) decideEndings(h *history) {
	over := map[int64]int64{} // fences that were replaced or deleted while they ran, by when
	for _, g := range k.byNonce {
		if g.fate == happened && g.seen > 0 {
			over[g.seen] = g.by
		}
	}
	for _, o := range k.deletes {
		if o.sure() && k.byFence[o.seen] != nil {
			over[o.seen] = o.end
		}
	}
	written := map[int64]bool{} // revisions at which the record was removed from that version
	last := int64(0)
	for _, w := range k.writes {
		if w.Key != "record" {
			continue
		}
		if w.Gone {
			written[last] = true
		}
		last = w.Rev
	}
	for _, e := range k.endings {
		e.g = k.byFence[e.fence]
		refused := true
		for _, o := range e.ops {
			if o.sure() {
				e.fate, e.by = happened, min(e.by, o.end)
			}
			refused = refused && o.refused()
		}
		for _, s := range k.sights {
			if e.removes() || s.State == running || s.Fence != e.fence || s.State != e.next.State || s.Token != e.next.Token || s.Result != e.next.Result {
				continue
			}
			if e.fate, e.version = happened, s.Version; s.at != never {
				e.by = min(e.by, max(s.at, e.from))
			}
		}
		if e.fate == happened {
			continue
		}
		_, replaced := over[e.fence]
		switch {
		case refused, replaced, e.g != nil && e.g.fate == neverDid:
			e.fate = neverDid
		case h.watched && e.removes() && written[e.fence]:
			e.fate = happened
		case h.watched:
			e.fate = neverDid
		case !e.removes() && k.logged(e):
			e.fate = happened
		}
	}
}

// logged reports whether a later record's log tells of the ending.
func (k *call) logged(e *ending) bool {
	if e.next.Settled != "" || e.next.Log == nil {
		return false
	}
	own := e.next.Log[len(e.next.Log)-1]
	if own.Fence != e.fence {
		return false
	}
	for _, s := range k.sights {
		if s.Fence > e.fence {
			for _, l := range s.Log {
				if l.Fence == e.fence && l.Outcome == own.Outcome {
					return true
				}
			}
		}
	}
	return false
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
