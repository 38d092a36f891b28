package powercut

import (
	"math/rand/v2"
	"slices"
)

// plan chooses the cuts.
func (o *Options) plan(d *disk, said []heard) []cut {
	var ends []int
	syncs := func(n *node) {
		for _, s := range n.syncs {
			ends = append(ends, s.end)
		}
	}
	syncs(d.root)
	for _, n := range d.files {
		syncs(n)
	}
	slices.Sort(ends)
	var cuts []cut
	before := -1
	for _, h := range said {
		if h.Asked {
			continue
		}
		n, _ := slices.BinarySearch(ends, h.line)
		if n == before {
			cuts = cuts[:len(cuts)-1] // the same is on the disk, and more was acknowledged
		}
		before = n
		cuts = append(cuts, cut{at: h.line})
	}
	r := rand.New(rand.NewPCG(o.Seed, 6))
	for i := range o.Cuts {
		cuts = append(cuts, cut{at: 1 + r.IntN(d.length), variant: Variant(i % 4), seed: r.Uint64()})
	}
	return append(cuts, cut{at: d.length + 1, variant: Kept})
}
