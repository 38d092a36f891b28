package explore

import (
	"fmt"
	"strconv"

	"github.com/ledger-once/ledger"
)

// The oracle watches what is written and what the world does, and states the
// invariants in its own words. It shares no code with state.go: it never asks
// the decider, and keeps its own account of runs, grants and doubts.
type oracle struct {
	run       uint8          // a person's "did not happen" starts another
	open      uint8          // 1 + the session of the grant that has not ended; 0: none
	fence     uint8          // of the last grant
	granted   uint64         // fences
	strictest uint8          // in-doubt policy of all that were granted
	running   bool           // the last grant was to run the tool, and has not ended
	doubt     bool           // an earlier attempt of the run may have had its effect
	success   [maxRuns]uint8 // 1 + the recorded result of each run; 0: none
	settled   bool           // the success was found by a person or by asking the world
	acked     uint8          // 1 + the result that a caller was told is recorded
	takeovers [maxRuns]uint8 // grants of each run that followed a doubt
	faulted   bool           // the fault of this search has happened
	started   [maxRuns]bool  // it had a grant
}

// violate notes a broken invariant in the step that is being made.
func (m *model) violate(invariant, format string, args ...any) {
	m.broken = append(m.broken, Violation{Invariant: invariant, Text: fmt.Sprintf(format, args...)})
}

// granting is told of a claim that the store granted over what stood before.
func (m *model) granting(n *state, who int, session, flags uint8, before, after recID) {
	own := flags&steals != 0
	o := &n.seen
	fence := uint8(m.records[after].Fence)
	if o.open != 0 && !n.isDead(o.open-1) && !own {
		m.violate("I1", "fence %d is granted while the owner of fence %d lives and has not finished", fence, o.fence)
	}
	if fence <= o.fence {
		m.violate("I11", "fence %d is granted after fence %d", fence, o.fence)
	}
	stood := &m.records[before]
	inDoubt := before != 0 && (stood.State == ledger.StateRunning || stood.State == ledger.StateInDoubt)
	if inDoubt && !own && who != person {
		o.takeovers[o.run]++
	}
	if o.success[o.run] != 0 {
		m.violate("I12", "fence %d is granted although the run's success is recorded", fence)
	}
	m.starting(o, who, flags)
	o.open, o.fence, o.granted = session+1, fence, o.granted|1<<fence
	o.started[o.run] = true
	if who != person {
		o.strictest = max(o.strictest, uint8(m.policy[who].InDoubt))
	}
	m.written(n, after)
}

// written is told of everything that is stored; 0: the record was removed.
func (m *model) written(n *state, rec recID) {
	o, r := &n.seen, &m.records[rec]
	if rec == 0 {
		o.strictest = 0 // nothing was started, and nothing is remembered
	}
	if o.acked != 0 && (rec == 0 || r.State != ledger.StateSucceeded || result(r) != o.acked-1) {
		m.violate("I6", "a success that was acknowledged with result %d is stored no more", o.acked-1)
	}
	if rec != 0 && uint8(r.InDoubt) < o.strictest && r.State != ledger.StateSucceeded {
		m.violate("I13", "the stored policy is %v, and was %v", r.InDoubt, ledger.DoubtPolicy(o.strictest))
	}
}

// ending is told of the write that ends a claim.
func (m *model) ending(n *state, who int, flags uint8, done, stored recID) {
	o, r := &n.seen, &m.records[done]
	if fence := uint8(r.Fence); fence != o.fence || o.open == 0 {
		m.violate("I4", "fence %d writes %q after the grant of fence %d", fence, r.State, o.fence)
	}
	o.open = 0
	if o.running && r.State == ledger.StateInDoubt && flags&uncertain != 0 {
		o.doubt = true
	}
	o.running = false
	switch {
	case r.State == ledger.StateSucceeded:
		got := result(r)
		if was := o.success[o.run]; was != 0 {
			m.violate("I2", "a second success is recorded in one run")
			if was-1 != got {
				m.violate("I3", "the recorded result %d becomes %d", was-1, got)
			}
		}
		o.success[o.run] = got + 1
		o.settled = r.Settled != nil
		if !o.settled && n.world.landed&(1<<got) == 0 {
			m.violate("I10", "a success is recorded with result %d, and there was no such effect", got)
		}
	case who == person:
		o.doubt = false
	case r.State == ledger.StateFailed && flags&uncertain != 0:
		if o.strictest >= uint8(ledger.DoubtReconcile) {
			m.violate("I13", "an error that says nothing about the effect is recorded as failed")
		}
	}
	m.written(n, stored)
	if who == person && r.State != ledger.StateSucceeded {
		o.run++
	}
}

// acknowledging is told that a caller learns of a recorded success.
func (m *model) acknowledging(n *state, done recID) {
	if r := &m.records[done]; r.State == ledger.StateSucceeded {
		n.seen.acked = result(r) + 1
	}
}

// replaying is told that a duplicate is answered with the result of rec.
func (m *model) replaying(n *state, rec recID) {
	got := result(&m.records[rec])
	for _, recorded := range n.seen.success {
		if recorded == got+1 {
			return
		}
	}
	m.violate("I8", "a duplicate is answered with %d, which is not a recorded result", got)
}

// starting keeps the account of doubts: of attempts of the run that may have
// had their effect although nobody was told.
func (m *model) starting(o *oracle, who int, flags uint8) {
	if o.running { // the last grant was to run, and never ended
		o.doubt = true
	}
	if flags&asked != 0 {
		o.doubt = false // as far as the policy is concerned
	}
	o.running = who != person && flags&reconciles == 0
	if !o.running || !o.doubt {
		return
	}
	switch ledger.DoubtPolicy(o.strictest) {
	case ledger.DoubtBlock:
		m.violate("I13", "a call in doubt runs again under DoubtBlock")
	case ledger.DoubtReconcile:
		m.violate("I13", "a call in doubt runs again under DoubtReconcile, and nobody asked the world")
	}
}

// effect is told of each effect.
func (m *model) effect(n *state, run, fence uint8) {
	if n.seen.granted&(1<<fence) == 0 {
		m.violate("I9", "there is an effect of fence %d, which was never granted", fence)
	}
	most := m.config.bound(n.seen.takeovers[run])
	if got := n.world.effects[run]; got > most {
		m.violate("I5", "%d effects of one run with %d takeovers; at most %d are promised", got, n.seen.takeovers[run], most)
	}
}

// result is the result that a record tells; they are small numbers here.
func result(r *ledger.Record) uint8 {
	n, err := strconv.ParseUint(string(r.Result), 10, 8)
	if err != nil {
		return 0
	}
	return uint8(n)
}
