package check

import "github.com/ledger-once/ledger/chaos/internal/trace"

// strictness orders the policies; a word that it does not know is the strictest.
func strictness(inDoubt string) int {
	switch inDoubt {
	case "", "retry":
		return 0
	case "reconcile":
		return 1
	}
	return 2
}

// doubts checks I13.
func (c *checker) doubts(k *call) {
	ends := map[int64][]*ending{}
	for _, e := range k.endings {
		ends[e.fence] = append(ends[e.fence], e)
		if e.g != nil && !e.removes() {
			c.looked("I13")
			if strictness(e.next.InDoubt) < strictness(e.g.next.InDoubt) {
				c.violated("I13", k, e.from, "the outcome of fence %d loosens the record's policy from %s to %s", e.fence, e.g.next.InDoubt, e.next.InDoubt)
			}
		}
	}
	for _, o := range k.ops {
		if o.kind != trace.Attempt || o.outcome != trace.ToolFailed || o.value != "uncertain" {
			continue
		}
		c.looked("I13")
		for _, e := range ends[o.fence] {
			if e.next.State != inDoubt && !e.removes() && e.next.Settled == "" {
				c.violated("I13", k, e.from, "an attempt of fence %d ended with an uncertain error, and was recorded as %s", o.fence, e.next.State)
			}
		}
	}
	for _, g := range k.grants {
		if g.seen == 0 {
			continue
		}
		c.looked("I13")
		before := k.versions[g.seen]
		if before == nil {
			c.undecided("I13", "a claim replaced a version that nobody is known to have read")
			continue
		}
		if strictness(g.next.InDoubt) < strictness(before.InDoubt) {
			c.violated("I13", k, g.by, "fence %d loosens the record's policy from %s to %s", g.fence, before.InDoubt, g.next.InDoubt)
		}
		c.notByItself(k, g, before)
	}
}

// notByItself checks that a call in doubt was run again only by those who may.
func (c *checker) notByItself(k *call, g *grant, before *trace.Snapshot) {
	if before.State != inDoubt && before.State != running || strictness(before.InDoubt) == 0 || !g.starts(before) {
		return
	}
	last := ""
	if n := len(g.next.Log); n > 0 {
		last = g.next.Log[n-1].Outcome
	}
	switch {
	case g.in != nil && g.in.kind == trace.Force, g.in == nil && g.steal && last == forced:
	case !g.steal:
		c.violated("I13", k, g.by, "fence %d runs the call again, which was in doubt under %s", g.fence, before.InDoubt)
	case last == inDoubt:
		c.violated("I13", k, g.by, "fence %d runs the call again after an uncertain error under %s", g.fence, before.InDoubt)
	}
}
