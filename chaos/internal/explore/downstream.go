package explore

import (
	"github.com/ledger-once/ledger"
)

// token returns the bit of the record's idempotency token.
func (m *model) token(rec recID) uint64 {
	name := m.records[rec].Token
	n, ok := m.tokens[name]
	if !ok {
		n = uint8(len(m.tokens))
		if n >= 64 {
			panic("explore: more tokens than there are bits") // unreachable: the budgets bound them
		}
		m.tokens[name] = n
	}
	return uint64(1) << n
}

// effectLands: the world takes a request of the claim, or refuses it.
func (m *model) effectLands(n *state, run uint8, claim recID) (result uint8, ok bool) {
	w, fence, token := &n.world, uint8(m.records[claim].Fence), m.token(claim)
	switch {
	case m.config.world == refuses && fence < w.sealed:
		return 0, false
	case m.config.world == honours && w.tokens&token != 0:
		return w.first[run], true
	}
	w.effects[run]++
	w.tokens |= token
	w.landed |= 1 << fence
	if w.first[run] == 0 {
		w.first[run] = fence
	}
	m.effect(n, run, fence)
	return fence, true
}

// query asks the world whether there was an effect under the claim's token.
func (m *model) query(n *state, who int) (result uint8, happened bool) {
	a := &n.actors[who]
	w := &n.world
	if m.config.world == refuses && m.config.broken != unsealed {
		w.sealed = max(w.sealed, uint8(m.records[a.held].Fence))
	}
	return w.first[a.run], w.tokens&m.token(a.held) != 0
}

// asksWorld is a reconciliation, under its claim.
func (m *model) asksWorld(n *state, who int) {
	result, did := m.query(n, who)
	a := &n.actors[who]
	if did {
		a.next, a.pc = m.succeed(a.held, result, true), finishing
		m.yield(n, who, "asks the world: it happened")
		return
	}
	a.next = m.claimAgain(who, a.minted, a.held)
	a.minted++
	a.view, a.pc, a.flags = a.held, claiming, a.flags&paused|viewAlive|asked|steals
	m.yield(n, who, "asks the world: it did not happen; claims again, to run")
}

// effectAnswered: the request for the effect lands, or not, and the tool returns.
func (m *model) effectAnswered(s *state, who int) {
	end := func(n *state, next recID, more uint8, text string) {
		a := &n.actors[who]
		a.next, a.pc, a.flags = next, finishing, a.flags&(paused|asked)|more
		m.yield(n, who, text)
	}
	n := *s
	held, run := n.actors[who].held, n.actors[who].run
	doubt := ledger.ClassUncertain
	if m.config.broken == timeoutFailed {
		doubt = ledger.ClassNotDone
	}
	result, ok := m.effectLands(&n, run, held)
	if ok {
		end(&n, m.succeed(held, result, false), 0, "the world answers: done")
	} else {
		end(&n, m.fail(held, ledger.ClassNotDone), 0, "the world answers: refused, the fence is old")
	}
	if s.actors[who].has(paused) {
		return
	}
	if s.isDead(m.sessionOf(held)) && m.config.fault >= pauseLate {
		n = *s
		if n.add(message{kind: lateEffect, actor: uint8(who), run: run, rec: held}) {
			end(&n, m.fail(held, doubt), uncertain, "its tool is cut short: the lease is lost; the request is still on its way")
		}
	}
	if !m.lossy(s) {
		return
	}
	n = *s
	m.loses(&n)
	m.effectLands(&n, run, held)
	end(&n, m.fail(held, doubt), uncertain, "the effect happens, and the world's answer is lost")
	n = *s
	m.loses(&n)
	if n.add(message{kind: lateEffect, actor: uint8(who), run: run, rec: held}) {
		end(&n, m.fail(held, doubt), uncertain, "its tool times out; the request is still on its way")
	}
	n = *s
	m.loses(&n)
	end(&n, m.fail(held, ledger.ClassNotDone), 0, "can not connect to the world: certainly not done")
}

// personLooks: somebody looks at a call in doubt, and at the world, and decides.
func (m *model) personLooks(s *state) {
	r := &m.records[s.stored]
	if s.left.persons == 0 || s.stored == 0 || m.config.policy != ledger.DoubtBlock || m.alive(s) {
		return
	}
	if r.State != ledger.StateInDoubt && r.State != ledger.StateRunning {
		return
	}
	n := *s
	a := &n.actors[person]
	n.left.persons--
	a.view, a.pc, a.next = s.stored, claiming, m.claim(person, a.minted, s.stored, false)
	a.minted++
	text := "looks at the call in doubt: it did not happen"
	if s.world.tokens&m.token(s.stored) != 0 {
		a.flags |= happened
		text = "looks at the call in doubt: it happened"
	}
	m.yield(&n, person, text)
}

// personSettles: the person's claim is granted.
func (m *model) personSettles(n *state) {
	a := &n.actors[person]
	a.next, a.pc = m.settle(a.held, a.has(happened), n.world.first[a.run]), finishing
	m.yield(n, person, "its claim is granted")
}
