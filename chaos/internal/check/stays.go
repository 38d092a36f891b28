package check

import (
	"cmp"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// stays checks I6: what was acknowledged is there in the end, or was replaced or
// removed by somebody who had the right to.
func (c *checker) stays(k *call) {
	c.notLost(k)
	c.notVanished(k)
	if !c.healed {
		return
	}
	removals, latest := k.removals(), int64(0)
	for _, g := range k.grants {
		latest = max(latest, g.fence)
	}
	removed := func(atLeast int64) (may, sure bool) {
		for _, r := range removals {
			if r.version >= atLeast {
				may, sure = true, sure || r.sure
			}
		}
		return may, sure
	}
	stands := k.final
	if stands != nil && stands.State == "" {
		stands = nil
	}
	judge := func(ok bool, atLeast, at int64, what string) {
		c.looked("I6")
		if ok {
			return
		}
		may, sure := removed(atLeast)
		switch {
		case stands == nil && sure:
		case may:
			c.undecided("I6", "something acknowledged is not there in the end, and a removal without an answer may have taken it away")
		default:
			c.violated("I6", k, at, "%s, and in the end there is %s", what, brief(stands))
		}
	}
	for _, e := range k.endings {
		if e.fate != happened || e.removes() || !slices.ContainsFunc(e.ops, (*op).sure) {
			continue
		}
		ok := e.fence < latest || stands != nil && (stands.Fence > e.fence || stands.Fence == e.fence && stands.State == e.next.State && stands.Token == e.next.Token)
		judge(ok, max(e.version, e.fence+1), e.by, "an outcome of fence "+itoa(e.fence)+", "+e.next.State+", was acknowledged")
	}
	for _, g := range k.grants {
		if g.won() == never {
			continue
		}
		judge(g.fence < latest || stands != nil && stands.Fence >= g.fence, g.fence, g.by, "fence "+itoa(g.fence)+" was granted")
	}
}

// notLost checks that no claim was made on what an acknowledged outcome had replaced.
func (c *checker) notLost(k *call) {
	type ack struct {
		at    int64
		fence int64
	}
	var acks []ack
	for _, e := range k.endings {
		if e.removes() {
			continue
		}
		for _, o := range e.ops {
			if o.sure() {
				acks = append(acks, ack{o.end, e.fence})
			}
		}
	}
	slices.SortFunc(acks, func(a, b ack) int { return cmp.Compare(a.at, b.at) })
	byStart := slices.Clone(k.grants)
	slices.SortFunc(byStart, func(a, b *grant) int { return cmp.Compare(a.from, b.from) })
	removals := k.removals()
	greatest, i := int64(0), 0
	for _, g := range byStart {
		for ; i < len(acks) && acks[i].at < g.from; i++ {
			greatest = max(greatest, acks[i].fence)
		}
		if greatest == 0 {
			continue
		}
		c.looked("I6")
		if g.seen > greatest || g.seen == 0 && slices.ContainsFunc(removals, func(r removal) bool { return r.version > greatest && r.from <= g.by }) {
			continue
		}
		c.violated("I6", k, g.by, "fence %d was granted over version %d; an outcome of fence %d had been acknowledged before", g.fence, g.seen, greatest)
	}
}

// notVanished checks that each removal in the store was asked for.
func (c *checker) notVanished(k *call) {
	removals, last := k.removals(), int64(0)
	for _, w := range k.writes {
		if w.Key != "record" {
			continue
		}
		if w.Gone {
			c.looked("I6")
			if !slices.ContainsFunc(removals, func(r removal) bool { return r.version == last }) {
				c.violated("I6", k, w.At, "version %d vanished at revision %d, and nobody removed it", last, w.Rev)
			}
		}
		last = w.Rev
	}
}

// ends checks I7.
func (c *checker) ends(k *call) {
	for _, o := range k.ops {
		if !o.isGuards() {
			continue
		}
		c.tell(o)
		if !o.ended() && o.proc.killed != never {
			continue
		}
		c.looked("I7")
		switch limit, within := c.limit(k, o); {
		case !o.ended():
			c.violated("I7", k, o.start, "%s of %s has no end, and its process was not killed", o.kind, o.proc.name)
		case o.outcome == trace.Unknown || o.outcome == "":
			c.violated("I7", k, o.end, "%s of %s ended with an error that says nothing: %s", o.kind, o.proc.name, o.err)
		case within && o.end-o.start > limit:
			c.violated("I7", k, o.end, "%s of %s took %v", o.kind, o.proc.name, seconds(o.end-o.start))
		}
	}
	if k.final == nil || k.final.State == "" || k.tool == nil {
		return
	}
	c.looked("I7")
	switch s := k.final; {
	case s.State == succeeded || s.State == failed:
	case s.State == running && s.Alive:
		c.violated("I7", k, 0, "the call is running in the end")
	case (s.State == inDoubt || s.State == running) && (k.tool.InDoubt == "block" || s.InDoubt == "block"):
	default:
		c.violated("I7", k, 0, "the call is %s in the end, under %s", s.State, k.tool.InDoubt)
	}
}

// tell counts an operation of the guard.
func (c *checker) tell(o *op) {
	switch {
	case !o.ended():
		c.out.Open++
	case o.outcome != trace.Unknown && o.outcome != "":
		c.out.Calls++
	}
	if o.ended() && (o.kind == trace.Do || o.kind == trace.Force) {
		c.out.Outcomes[cmp.Or(o.outcome, trace.Unknown)]++
	}
}

// grace is what a call may take beyond its deadline: an outcome is recorded in a
// context of its own, which lasts 10 s.
const grace = int64(15e9)

// limit is how long the operation may take, if the run has a limit.
func (c *checker) limit(k *call, o *op) (limit int64, ok bool) {
	if c.run.CallTimeout <= 0 {
		return 0, false
	}
	limit = int64(c.run.CallTimeout) + grace
	for _, f := range o.proc.faults {
		if f.Kind == trace.FaultPause && f.Until > o.start && f.At < o.end {
			limit += f.Until - f.At
		}
	}
	return limit, true
}
