package check

import (
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// counts checks I14: the counters of a record against what the processes wrote down.
func (c *checker) counts(k *call) {
	if k.final == nil || k.final.State == "" {
		return
	}
	c.looked("I14")
	f := k.final
	if f.Attempts != f.Starts+f.Blocked {
		c.violated("I14", k, 0, "%d attempts are counted; %d starts and %d blocked calls make %d", f.Attempts, f.Starts, f.Blocked, f.Starts+f.Blocked)
	}
	removals := k.removals()
	c.countBlocked(k, removals)
	if len(removals) > 0 {
		return // a removal takes the counts along
	}
	done, maybe := map[int64]bool{}, map[int64]bool{}
	for _, e := range k.endings {
		switch {
		case !e.succeeds():
		case e.fate == happened:
			done[e.fence] = true
		case e.fate == unknown:
			maybe[e.fence] = true
		}
	}
	if n := f.Executed; n < int64(len(done)) || n > int64(len(done)+len(maybe)) {
		c.violated("I14", k, 0, "%d successes are counted; %d were recorded, and %d more may have been", n, len(done), len(maybe))
	}
	started, granted := map[int64]bool{}, len(k.maybe)
	for _, o := range k.ops {
		if o.kind == trace.Attempt {
			started[o.fence] = true
		}
	}
	for _, g := range k.grants {
		if g.starts(k.versions[g.seen]) {
			granted++
		}
	}
	if n := f.Starts; n < int64(len(started)) || n > int64(granted) {
		c.violated("I14", k, 0, "%d starts are counted; the tool was started %d times, under %d claims", n, len(started), granted)
	}
}

func (c *checker) countBlocked(k *call, removals []removal) {
	// Counts go with the record. One that is written while none stands is dropped, and a worker that
	// remembers a removed record goes on counting for it, for a moment.
	from := int64(0)
	for _, r := range removals {
		from = max(from, r.by)
	}
	if from > 0 && from != never {
		again := int64(never)
		for _, g := range k.grants {
			if g.from > from {
				again = min(again, g.won())
			}
		}
		if from = again; from != never {
			from += int64(2 * time.Second)
		}
	}
	least, most := int64(0), int64(0)
	for _, o := range k.ops {
		switch {
		case o.kind != trace.Do && o.kind != trace.Force:
		case !o.ended() || o.outcome == trace.Unknown || o.outcome == "":
			most++
		case slices.Contains(blockedOutcomes, o.outcome):
			most++
			if o.start >= from && o.end < c.flushed(o.proc) {
				least++
			}
		}
	}
	switch n := k.final.Blocked; {
	case n < least:
		c.violated("I14", k, 0, "%d blocked calls are counted; at least %d were answered so and written", n, least)
	case n > most && c.disturbed():
		// Counts whose write had no answer are sent again, and may be counted twice.
		c.undecided("I14", "more blocked calls are counted than there were, and answers of the store were lost")
	case n > most:
		c.violated("I14", k, 0, "%d blocked calls are counted; there were at most %d", n, most)
	}
}

// disturbed reports whether answers of the store may have been lost by processes that lived on.
func (c *checker) disturbed() bool {
	if len(c.outages) > 0 {
		return true
	}
	for _, p := range c.procs {
		if len(p.faults) > 0 {
			return true
		}
	}
	return false
}
