package check

import (
	"cmp"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// writes checks I2, I3 and I4: what was written under a claim.
func (c *checker) writes(k *call) {
	c.onceDone(k)
	c.sameBytes(k)
	c.fenced(k)
	c.fencedWorld(k)
}

// onceDone checks I2. A run is known by its token.
func (c *checker) onceDone(k *call) {
	type run struct {
		sure, maybe map[int64]bool // fences
		at          int64
	}
	runs := map[string]*run{}
	for _, e := range k.endings {
		if e.fate == neverDid || !e.succeeds() {
			continue
		}
		r := runs[e.next.Token]
		if r == nil {
			r = &run{map[int64]bool{}, map[int64]bool{}, 0}
			runs[e.next.Token] = r
		}
		if e.fate == happened {
			r.sure[e.fence], r.at = true, e.by
		} else {
			r.maybe[e.fence] = true
		}
	}
	for token, r := range runs {
		c.looked("I2")
		for f := range r.sure {
			delete(r.maybe, f)
		}
		switch {
		case len(r.sure) > 1:
			c.violated("I2", k, r.at, "the run with token %s succeeded %d times", token, len(r.sure))
		case len(r.sure)+len(r.maybe) > 1:
			c.undecided("I2", "a second success of a run was sent, and nobody knows whether it was written")
		}
	}
}

// sameBytes checks I3.
func (c *checker) sameBytes(k *call) {
	type bytes struct {
		result  string
		omitted bool
	}
	runs := map[string]bytes{}
	see := func(s *trace.Snapshot, at int64) {
		if s.State != succeeded {
			return
		}
		c.looked("I3")
		now := bytes{s.Result, s.Omitted}
		if was, ok := runs[s.Token]; ok && was != now {
			c.violated("I3", k, at, "the result of the run with token %s was %q and is %q", s.Token, was.result, now.result)
		}
		runs[s.Token] = now
	}
	for _, e := range k.endings {
		if e.fate == happened {
			see(e.next, e.by)
		}
	}
	for _, s := range k.sights {
		see(s.Snapshot, s.at)
	}
}

// fenced checks I4 in the store.
func (c *checker) fenced(k *call) {
	var fences []int64
	for _, g := range k.grants {
		if g.fence > 0 {
			fences = append(fences, g.fence)
		}
	}
	told := map[int64]bool{}
	for _, s := range k.sights {
		if s.State == running || s.Version == 0 || told[s.Version] {
			continue
		}
		told[s.Version] = true
		c.looked("I4")
		i, _ := slices.BinarySearch(fences, s.Fence+1)
		if i < len(fences) && fences[i] < s.Version {
			c.violated("I4", k, s.at, "version %d was written by fence %d after fence %d was granted", s.Version, s.Fence, fences[i])
		}
	}
	replaced := map[int64]*grant{}
	for _, g := range k.grants {
		replaced[g.seen] = g
	}
	for _, e := range k.endings {
		if e.fate != happened || e.removes() || told[e.version] {
			continue
		}
		c.looked("I4")
		next := fences[min(len(fences), search(fences, e.fence+1)):]
		by := replaced[e.fence]
		switch {
		case by != nil && k.logged(e):
			c.undecided("I4", "a finish was acknowledged after its claim was replaced by its own worker")
		case by != nil:
			c.violated("I4", k, e.by, "an outcome of fence %d was acknowledged, and fence %d had replaced its running claim", e.fence, by.fence)
		case len(next) > 0 && k.byFence[next[0]].won() < e.from:
			c.violated("I4", k, e.by, "an outcome of fence %d was sent after fence %d was granted, and it was acknowledged", e.fence, next[0])
		}
	}
}

func search(s []int64, v int64) int {
	i, _ := slices.BinarySearchFunc(s, v, cmp.Compare[int64])
	return i
}

// fencedWorld checks I4 in a downstream that refuses old fences.
func (c *checker) fencedWorld(k *call) {
	if k.tool == nil || k.tool.World != trace.WorldFence {
		return
	}
	greatest := int64(0)
	for _, e := range k.effects {
		switch e.Did {
		case trace.Done, trace.Known, trace.Asked:
			c.looked("I4")
			if e.Fence < greatest && e.Did != trace.Asked {
				c.violated("I4", k, e.At, "the world accepted fence %d after fence %d", e.Fence, greatest)
			}
			greatest = max(greatest, e.Fence)
		}
	}
}
