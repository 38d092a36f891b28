package check

import (
	"cmp"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// grants checks I1, I9 and I11: who was granted the call, one after the other.
func (c *checker) grants(k *call) {
	c.out.Grants += len(k.grants)
	for _, g := range k.grants {
		if n := len(g.next.Log); g.seen > 0 && n > 0 && g.next.Log[n-1].Outcome == lost && g.next.Log[n-1].Fence == g.seen {
			c.out.Takeovers++
		}
	}
	if k.watched {
		c.separatedInStore(k)
	} else {
		c.separated(k)
	}
	c.growing(k)
	c.granted(k)
}

// separated checks I1 by what the claims have seen: each replaced the version
// that it names, if the store compares and swaps at all.
func (c *checker) separated(k *call) {
	removals := k.removals()
	var before *grant
	for _, g := range k.grants {
		if g.fence == 0 {
			continue
		}
		c.looked("I1")
		switch {
		case before == nil:
		case g.seen == 0:
			if !slices.ContainsFunc(removals, func(r removal) bool { return r.version >= before.fence && r.from <= g.by }) {
				c.violated("I1", k, g.by, "fence %d was granted as if there were no record, after fence %d, and nobody removed it", g.fence, before.fence)
			}
		case g.seen < before.fence:
			c.violated("I1", k, g.by, "fence %d was granted over version %d, which fence %d had replaced", g.fence, g.seen, before.fence)
		case g.seen == before.fence:
			c.takenOver(k, g, before)
		case k.versions[g.seen] == nil:
			c.undecided("I1", "a claim replaced a version that nobody is known to have read")
		case k.versions[g.seen].State == running:
			if victim := k.byNonce[k.versions[g.seen].Nonce]; victim != nil {
				c.takenOver(k, g, victim)
			} else {
				c.undecided("I1", "a claim replaced a running one whose claim nobody wrote down")
			}
		}
		before = g
	}
}

// takenOver checks that g was allowed to replace the victim while that was running.
func (c *checker) takenOver(k *call, g, victim *grant) {
	switch {
	case g.steal:
		c.stolen(k, g, victim)
	case victim.deadFrom > g.by:
		c.violated("I1", k, g.by, "fence %d was granted to %s while the claim with fence %d of %s was running and its owner lived", g.fence, g.proc.name, victim.fence, victim.proc.name)
	}
}

// stolen checks that only a force, or another try of the same call, takes a running claim from a living owner.
func (c *checker) stolen(k *call, g, victim *grant) {
	switch {
	case g.in != nil && g.in.kind == trace.Force, victim.deadFrom <= g.by:
	case victim.proc == g.proc && (g.in == victim.in || g.in == nil || victim.in == nil):
	case g.in == nil:
		c.undecided("I1", "a claim was stolen by an operation that nobody wrote down")
	default:
		c.violated("I1", k, g.by, "fence %d of %s stole the running claim with fence %d of %s, and it is no force", g.fence, g.proc.name, victim.fence, victim.proc.name)
	}
}

// separatedInStore checks I1 by the store's own writes.
func (c *checker) separatedInStore(k *call) {
	landed := map[string]int64{}
	var key *trace.Write // the running key that stands
	for i := 0; i < len(k.writes); {
		rev, before := k.writes[i].Rev, key
		for ; i < len(k.writes) && k.writes[i].Rev == rev; i++ {
			w := k.writes[i]
			if w.Key == "running" {
				if key = w; w.Gone {
					key = nil
				}
				continue
			}
			if w.Record == nil && w.Gone && before != nil && !k.removes(before.Rev) {
				c.violated("I1", k, w.At, "the record of fence %d was deleted at revision %d while its running key was there, and its owner removed nothing", before.Rev, rev)
			}
			if w.Record == nil || w.Record.State != running {
				continue
			}
			c.looked("I1")
			if first, ok := landed[w.Record.Nonce]; ok {
				c.violated("I1", k, w.At, "the claim that was granted at revision %d landed again at revision %d", first, rev)
				continue
			}
			landed[w.Record.Nonce] = rev
			if before == nil {
				continue
			}
			g, victim := k.byNonce[w.Record.Nonce], k.byFence[before.Rev]
			switch {
			case g == nil || victim == nil:
				c.undecided("I1", "a claim in the store was made by nobody who has a history")
			case !g.steal:
				c.violated("I1", k, w.At, "fence %d was granted to %s while the running key of fence %d, of %s, was there", rev, g.proc.name, victim.fence, victim.proc.name)
			default:
				c.stolen(k, g, victim)
			}
		}
	}
	k.expiries(func(key, gone *trace.Write) {
		switch {
		case !c.sessions[key.Session]:
			c.undecided("I1", "the store's writes do not tell of a session")
		case !slices.ContainsFunc(c.gone[key.Session], func(rev int64) bool { return rev <= gone.Rev }): // a session that knows that it is lost deletes its own key first
			c.violated("I1", k, gone.At, "the running key of fence %d went away at revision %d, and its session %s did not", key.Rev, gone.Rev, key.Session)
		}
	})
}

// removes reports whether the owner of the fence has sent its claim's removal.
func (k *call) removes(fence int64) bool {
	return slices.ContainsFunc(k.endings, func(e *ending) bool { return e.fence == fence && e.removes() })
}

// growing checks I11: of the grants, and of what the tools were told.
func (c *checker) growing(k *call) {
	type seen struct{ at, version int64 }
	var all []seen
	for _, s := range k.sights {
		if s.o != nil {
			all = append(all, seen{s.at, s.Version})
		}
		if s.State == running && s.Fence != s.Version {
			c.violated("I11", k, s.at, "a running record has version %d and fence %d", s.Version, s.Fence)
		}
	}
	slices.SortFunc(all, func(a, b seen) int { return cmp.Compare(a.at, b.at) })
	byStart := slices.Clone(k.grants)
	slices.SortFunc(byStart, func(a, b *grant) int { return cmp.Compare(a.from, b.from) })
	greatest, i := int64(0), 0
	fences := map[int64]string{}
	for _, g := range byStart {
		if g.fence == 0 {
			continue
		}
		c.looked("I11")
		for ; i < len(all) && all[i].at < g.from; i++ {
			greatest = max(greatest, all[i].version)
		}
		if g.fence <= greatest {
			c.violated("I11", k, g.by, "fence %d was granted after version %d had been read", g.fence, greatest)
		} else if other, ok := fences[g.fence]; ok {
			c.violated("I11", k, g.by, "fence %d was granted to two claims, %s and %s", g.fence, other, g.nonce)
		}
		fences[g.fence] = g.nonce
	}
	told := map[int64]*op{}
	for _, o := range k.ops {
		if o.kind != trace.Attempt {
			continue
		}
		c.looked("I11")
		if other := told[o.fence]; other != nil {
			c.violated("I11", k, o.start, "the tool was started twice with fence %d: by %s and by %s", o.fence, other.proc.name, o.proc.name)
		}
		told[o.fence] = o
	}
}

// granted checks I9.
func (c *checker) granted(k *call) {
	for _, e := range k.effects {
		if e.Worker == trace.Person {
			continue // whoever resolves a call asks under no claim of his own
		}
		c.looked("I9")
		g := k.byFence[e.Fence]
		switch {
		case g == nil:
			c.violated("I9", k, e.At, "%s asked the world with fence %d, which was never granted", e.Worker, e.Fence)
		case g.won() > e.At:
			c.violated("I9", k, e.At, "%s asked the world with fence %d before it was told of the grant", e.Worker, e.Fence)
		case e.Worker != "" && e.Worker != g.proc.name:
			c.violated("I9", k, e.At, "%s asked the world with fence %d, which was granted to %s", e.Worker, e.Fence, g.proc.name)
		}
	}
}
