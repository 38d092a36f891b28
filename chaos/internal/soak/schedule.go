// Package soak is chaos at random: a long run of a random workload under random
// faults, both from one seed.
package soak

import (
	"encoding/json"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// An Event is one fault that is to come.
type Event struct {
	At     time.Duration // from the start
	Kind   string        // trace.Fault...
	Worker int           // that it hits; -1: none
	Member int           // of the cluster; -1: whichever leads then
	For    time.Duration // how long it lasts
	Point  point.Point   // where the process is when it hits; "": anywhere
}

// A Rate is how many faults of a kind there are a minute.
type Rate struct {
	Kind     string
	PerMin   float64
	Floor    float64 // a run with fewer a minute is invalid
	Clusters bool    // only where the store is a cluster
}

// Rates are the faults of a soak. Those that are aimed land less often than they are tried, so
// more are planned than asked for.
var Rates = []Rate{
	{trace.FaultKill, 30, 20, false},
	{trace.FaultPause, 4.5, 3, false},
	{trace.FaultCut, 2.5, 1, true},
	{trace.FaultCutIn, 1.5, 0, true},
	{trace.FaultCutOut, 1.5, 0, true},
	{trace.FaultDelay, 2, 0, true},
	{trace.FaultMember, 1, 0, true},
	{trace.FaultLeader, 1, 0, true},
	{trace.FaultCompact, 1, 0, true},
	{trace.FaultRevoke, 1.5, 0, true},
}

// possible reports whether a store with that many members (0: no cluster) can have the fault in a soak. One
// member alone has no kills: they are a restart of the store, which the named points have.
func (r Rate) possible(members int) bool {
	if r.Kind == trace.FaultMember || r.Kind == trace.FaultLeader {
		return members > 1
	}
	return !r.Clusters || members > 0
}

// Kinds are the faults that a soak of such a store can have.
func Kinds(members int) []string {
	var kinds []string
	for _, r := range Rates {
		if r.possible(members) {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

// aims are the points at which workers are killed and paused; "" stands for anywhere.
var aims = []point.Point{
	"", "", point.BeforeClaim, point.ClaimSent, point.ClaimCommitted, point.Claimed, point.EffectSent, point.EffectDone, point.EffectDone,
	point.EffectAnswered, point.EffectAnswered, point.FinishSent, point.FinishCommitted, point.Finished,
	point.Takeover, point.TakeoverClaimed, point.ReconcileQuery, point.DeleteCommitted,
}

// Config is what a schedule depends on.
type Config struct {
	Seed     uint64
	Duration time.Duration
	Workers  int
	Members  int           // 0: no cluster
	TTL      time.Duration // of leases; 0: the store has none
	Kinds    []string      // of faults; nil: all
	InWire   bool          // the points of requests can be reached
}

// Schedule returns the faults of a run, in order. It depends on c alone.
func Schedule(c Config) []Event {
	r := rand.New(rand.NewPCG(c.Seed, 0xfa017))
	var events []Event
	for _, rate := range Rates {
		if len(c.Kinds) > 0 && !slices.Contains(c.Kinds, rate.Kind) || !rate.possible(c.Members) {
			continue
		}
		// Evenly spread with jitter, so that each minute has its share.
		n := int(rate.PerMin*c.Duration.Minutes() + 0.5)
		if rate.Kind == trace.FaultLeader {
			n = max(n, 1) // in the shortest run, too
		}
		for i := range n {
			slot := float64(c.Duration) / float64(n)
			events = append(events, Event{At: time.Duration((float64(i) + r.Float64()) * slot), Kind: rate.Kind, Worker: -1, Member: -1})
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
	return place(events, c, r)
}

// place chooses whom each event hits and for how long. A worker has one fault at a
// time, at most half of them are paused or cut, and one member is down at most.
func place(events []Event, c Config, r *rand.Rand) []Event {
	busy := make([]time.Duration, c.Workers) // until when
	var memberBusy time.Duration
	var placed []Event
	for _, e := range events {
		switch e.Kind {
		case trace.FaultCompact:
			placed = append(placed, e)
			continue
		case trace.FaultMember, trace.FaultLeader:
			if e.For = time.Second + time.Duration(r.Int64N(int64(3*time.Second))); e.Kind == trace.FaultMember {
				e.Member = r.IntN(c.Members)
			}
			e.At = max(e.At, memberBusy)
			memberBusy = e.At + e.For + 5*time.Second // its restart, and a quorum that has caught up
			placed = append(placed, e)
			continue
		case trace.FaultKill:
			e.Point = aims[r.IntN(len(aims))]
			e.For = time.Second
		case trace.FaultPause: // beyond the lease: the store may grant a longer one, and notices late
			e.Point = aims[r.IntN(len(aims))]
			e.For = 2*c.TTL + 2*time.Second + time.Duration(r.Int64N(int64(2*time.Second)))
		case trace.FaultCut, trace.FaultCutIn, trace.FaultCutOut:
			e.For = c.TTL/2 + time.Duration(r.Int64N(int64(3*c.TTL+time.Second)))
		case trace.FaultDelay:
			e.For = time.Second + time.Duration(r.Int64N(int64(2*time.Second)))
		}
		if !c.InWire && onWire(e.Point) {
			e.Point = ""
		}
		var free []int
		for w, until := range busy {
			if until <= e.At {
				free = append(free, w)
			}
		}
		if len(free) <= c.Workers/2 {
			continue // too much is broken already; the rates leave room for that
		}
		e.Worker = free[r.IntN(len(free))]
		busy[e.Worker] = e.At + e.For + 2*time.Second
		placed = append(placed, e)
	}
	slices.SortStableFunc(placed, func(a, b Event) int { return int(a.At - b.At) })
	return placed
}

func onWire(p point.Point) bool {
	switch p {
	case point.ClaimSent, point.ClaimCommitted, point.FinishSent, point.FinishCommitted, point.DeleteSent, point.DeleteCommitted, point.Renewal:
		return true
	}
	return false
}

// Digest adds the schedule to h.
func Digest(h hash.Hash, events []Event) {
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			panic(fmt.Sprintf("soak: an event that is no JSON: %v", err)) // unreachable unless program bug
		}
		h.Write(line)
	}
}
