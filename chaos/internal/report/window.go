package report

import (
	"cmp"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Bounds of the swimlanes.
const (
	windowLength = int64(3e9)  // of a soak's window
	longWindow   = int64(10e9) // the most that a violation's surroundings may take
	leastWindow  = int64(10e6) // to which a crowded window is narrowed
	maxShapes    = 2000
	maxLanes     = 24      // of processes
	maxOps       = 50_000  // held of one window
	maxFaults    = 500_000 // of a run
	maxEffects   = 5_000_000
)

// interesting is how much a fault counts when the densest window is sought.
func interesting(f trace.Fault) int {
	switch {
	case f.Kind == trace.FaultStart || f.Kind == trace.FaultExit:
		return 0
	case f.InCall:
		return 5 // the window that the whole library is about
	case f.Beyond, f.Kind == trace.FaultMember, f.Kind == trace.FaultLeader:
		return 3
	default:
		return 1
	}
}

// moment is something that happened, with its weight.
type moment struct {
	at     int64
	weight int
}

// densest returns the window of the given length which holds the most weight, the earliest of equals.
func densest(moments []moment, length int64) (from, to int64) {
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	sum, best, last, first := 0, -1, 0, 0
	var at int64
	for i, m := range moments {
		for sum += m.weight; m.at-moments[first].at > length; first++ {
			sum -= moments[first].weight
		}
		if sum > best {
			best, at, last = sum, moments[first].at, i
		}
	}
	if best < 0 {
		return 0, 0
	}
	spare := length - (moments[last].at - at) // on both sides
	return at - spare/2, at - spare/2 + length
}

// surroundings is the window of a violation of the call id: all that was done to it,
// if that is short enough; else what is around the effect that was one too many, or the last thing done.
func surroundings(dir, id string) (from, to int64, found bool, err error) {
	var times []int64
	names, file := histories(dir)
	for _, name := range names {
		err := scan(file(name), 0, 1<<62, func(o op) bool { return o.ID == id && len(times) < maxOps }, func(o op) {
			times = append(times, o.From)
			if !o.open() {
				times = append(times, o.To)
			}
		})
		if err != nil {
			return 0, 0, false, err
		}
	}
	effects := 0
	var surplus int64
	for e, err := range trace.Read[trace.Effect](worldFile(dir)) {
		if err != nil {
			return 0, 0, false, err
		}
		if e.ID != id || e.Did != trace.Done {
			continue
		}
		times = append(times, e.At)
		if effects++; effects == 2 {
			surplus = e.At
		}
	}
	if len(times) == 0 {
		return 0, 0, false, nil
	}
	first, last := slices.Min(times), slices.Max(times)
	if last-first <= longWindow {
		pad := max((last-first)/10, 50e6)
		return first - pad, last + pad, true, nil
	}
	if surplus == 0 {
		surplus = last
	}
	return surplus - windowLength*2/3, surplus + windowLength/3, true, nil
}
