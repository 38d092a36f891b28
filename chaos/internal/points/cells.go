// Package points is chaos with an aim: each fault at each named point of a call, under each
// in-doubt policy and each kind of downstream. A pair of them is a cell, and a
// cell that never happened has shown nothing: each has a counter.
package points

import (
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Kinds of cells that a mode wants.
type Mode struct {
	SQLite bool
	Etcd   []int // numbers of members
	Full   bool  // all valid cells; otherwise each point and fault at least once, with policies and worlds in turn
	Filter func(trace.Cell) bool
}

var (
	policies = []string{"retry", "block", "reconcile"}
	worlds   = []string{trace.WorldPlain, trace.WorldToken, trace.WorldFence, trace.WorldHold}
	faults   = []string{
		trace.FaultKill, trace.FaultPause, trace.FaultCut, trace.FaultCutIn, trace.FaultCutOut, trace.FaultLate,
		trace.FaultMember, trace.FaultLeader, trace.FaultCompact, trace.FaultRevoke,
	}
)

// Excluded returns why there is no such cell, or "".
func Excluded(c trace.Cell) string {
	p := point.Point(c.Point)
	cluster := c.Store == "etcd"
	switch {
	case !cluster && c.Fault != trace.FaultKill && c.Fault != trace.FaultPause:
		return "SQLite is a file: there is nothing to cut, no member, no lease"
	case !cluster && p == point.Renewal:
		return "SQLite's owners hold a lock, and renew nothing"
	case p == point.ReconcileQuery && c.InDoubt != "reconcile":
		return "only DoubtReconcile asks"
	case c.Fault == trace.FaultLeader && c.Members < 2:
		return "an only member is its leader: fault member is the same"
	case c.Fault == trace.FaultLate && !sends(p):
		return "no request to the store leaves there that could be late"
	case !cluster && c.Fault == trace.FaultPause && holdsTurn(p):
		return "a process that is stopped within a commit holds the turn of all writers: nobody could act meanwhile (docs/adr/0002-sqlite.md)"
	case p == point.EffectSent && c.World == trace.WorldHold, p == point.EffectDone && c.World == trace.WorldHold:
		return "the downstream holds its answers: the same as plain there, since the answer is never read"
	}
	return ""
}

// sends reports whether a request to the store leaves at the point.
func sends(p point.Point) bool {
	return p == point.ClaimSent || p == point.FinishSent || p == point.DeleteSent
}

// holdsTurn reports whether SQLite's writers have to wait while a process is at the point.
func holdsTurn(p point.Point) bool {
	switch p {
	case point.ClaimSent, point.ClaimCommitted, point.FinishSent, point.FinishCommitted, point.DeleteSent, point.DeleteCommitted:
		return true
	}
	return false
}

// Cells returns the valid cells of a mode, in order.
func Cells(m Mode) []trace.Cell {
	var all []trace.Cell
	turn := 0
	for _, s := range stores(m) {
		for _, f := range faults {
			for _, p := range point.All {
				var valid []trace.Cell
				for _, d := range policies {
					for _, w := range worlds {
						c := trace.Cell{Store: s.Store, Members: s.Members, Point: string(p), Fault: f, InDoubt: d, World: w}
						if Excluded(c) == "" && (m.Filter == nil || m.Filter(c)) {
							valid = append(valid, c)
						}
					}
				}
				if !m.Full && len(valid) > 1 {
					turn++
					valid = []trace.Cell{valid[(turn*5)%len(valid)]} // 5 and 12 have no common divisor: all have their turn
				}
				all = append(all, valid...)
			}
		}
	}
	return all
}

func stores(m Mode) []trace.Cell {
	var all []trace.Cell
	if m.SQLite {
		all = append(all, trace.Cell{Store: "sqlite"})
	}
	for _, n := range m.Etcd {
		all = append(all, trace.Cell{Store: "etcd", Members: n})
	}
	return all
}

// shared reports whether the cell's fault is felt by everybody on the cluster, so that no other cell may run beside it.
func shared(c trace.Cell) bool {
	return slices.Contains([]string{trace.FaultMember, trace.FaultLeader, trace.FaultCompact}, c.Fault)
}
