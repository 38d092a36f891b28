package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A process is one worker process: what it did, and what was done to it.
type process struct {
	name        string
	number      int            // for pictures
	first, last int64          // lines of its history
	ops         map[uint64]*op // of the guard, by N
	killed      int64          // when SIGKILL was sent; never: it was not
	exited      int64          // when it was seen to have ended by itself
	faults      []trace.Fault
	slow        []*op // writes to the store that took long, or have no end
}

// slowWrite is how long a write may take on a disk that does not stall.
const slowWrite = int64(time.Second)

// wrote remembers a write to the store if others may have waited as long.
func (p *process) wrote(o *op) {
	switch o.kind {
	case trace.Claim, trace.Finish, trace.Delete:
		if o.end-o.start > slowWrite {
			p.slow = append(p.slow, o)
		}
	}
}

func (p *process) saw(at int64) {
	if p.first == 0 {
		p.first = at
	}
	p.last = max(p.last, at)
}

func (h *history) fault(f trace.Fault) {
	switch f.Kind {
	case trace.FaultMember, trace.FaultLeader:
		h.outages = append(h.outages, f)
		return
	case trace.FaultCompact, trace.FaultStart:
		return
	}
	p := h.process(f.Target)
	switch f.Kind {
	case trace.FaultKill:
		p.killed = min(p.killed, f.At)
	case trace.FaultExit:
		p.exited = min(p.exited, f.At)
	default:
		p.faults = append(p.faults, f)
	}
}

// parent is the operation of the guard that o is a part of; nil: of none, or not known.
func (p *process) parent(o *op) *op {
	if o == nil || o.in == 0 {
		return nil
	}
	return p.ops[o.in]
}

// leases reports whether owners live by leases. SQLite's live as long as their process.
func (h *history) leases() bool { return h.run.Store != "sqlite" }

// mayEnd returns the earliest time at which the session that made a claim of p at
// the time granted may have ended.
func (h *history) mayEnd(p *process, granted int64) int64 {
	// A process that ended by itself closed its store at some time after its last line.
	at := p.killed
	if p.exited != never {
		at = min(at, p.last)
	}
	if !h.leases() {
		return at
	}
	ttl := int64(h.run.TTL)
	for _, f := range p.faults {
		until := f.Until
		switch {
		case until == 0 && f.Kind == trace.FaultRevoke:
			until = f.At
		case until == 0:
			until = never - 4*ttl
		}
		// A lease is renewed several times within its TTL: much of it may be gone when the fault begins.
		long := f.Beyond || until-f.At >= ttl/3 || f.Kind == trace.FaultRevoke
		if long && until+ttl >= granted {
			at = min(at, max(f.At, granted))
		}
	}
	for _, f := range h.outages { // a renewal may have no answer for the whole of them
		if max(f.Until, f.At)+4*ttl >= granted {
			at = min(at, max(f.At, granted))
		}
	}
	return at
}

// flushed returns the time since which counts of p may be lost: they are written
// once a second, and when it ends by itself, if the store can be reached then. never: none are.
func (h *history) flushed(p *process) int64 {
	const window = int64(2 * time.Second) // a second, and as much for a slow machine
	end := min(p.killed, p.exited)
	if end == never {
		return never
	}
	from := end
	if p.killed != never {
		from -= window
	}
	all := append(slices.Clone(p.faults), h.outages...)
	if p.killed != never {
		for _, o := range p.slow { // the disk stalled, or another process held it up
			if until := min(o.end, end); until-o.start > slowWrite {
				all = append(all, trace.Fault{At: o.start, Until: until})
			}
		}
	}
	slices.SortFunc(all, func(a, b trace.Fault) int { return cmp.Compare(b.At, a.At) })
	for _, f := range all { // what kept it from writing, and what did before that
		if f.At < end && (f.Until == 0 || f.Until+int64(h.run.TTL)+window > from) {
			from = min(from, f.At-window)
		}
	}
	if from == end {
		return never
	}
	return from
}
