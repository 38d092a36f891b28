package explore

import "github.com/ledger-once/ledger"

// The modelled store compares and swaps, as ledger.Store has to.

// alive reports whether the stored record runs under a living owner.
func (m *model) alive(s *state) bool {
	r := &m.records[s.stored]
	return s.stored != 0 && r.State == ledger.StateRunning && !s.isDead(m.sessionOf(s.stored))
}

// sessionOf returns the session of a granted claim.
func (m *model) sessionOf(rec recID) uint8 {
	name := m.records[rec].Owner.Session // "w1.2"
	return session(int(name[1]-'1'), name[3]-'1')
}

func (m *model) version(rec recID) uint8 { return uint8(m.records[rec].Version) }

// claimLands applies a claim. The session must be alive.
func (m *model) claimLands(n *state, who int, session uint8, seen, next recID, flags uint8) (won bool) {
	stands := &m.records[n.stored]
	if n.stored != 0 && stands.State == ledger.StateRunning && stands.Nonce == m.records[next].Nonce {
		return m.alive(n) // sent again
	}
	allowed := m.version(n.stored) == m.version(seen) && (!m.alive(n) || flags&steals != 0)
	switch m.config.broken {
	case unconditionalClaim:
		allowed = true
	case getDeleteClaim: // the dead record was deleted, whatever stands by now
		allowed = allowed || seen != 0
	case wallClock: // a clock that has jumped makes each lease look old
		allowed = m.version(n.stored) == m.version(seen)
	}
	if !allowed {
		return false
	}
	if n.version++; n.version >= 64 {
		panic("explore: more versions than there are bits") // unreachable: the budgets bound them
	}
	fence := n.version
	if m.config.broken == localFence {
		fence = n.actors[who].minted
	}
	before := n.stored
	n.stored = m.grant(next, fence, session)
	m.granting(n, who, session, flags, before, n.stored)
	return true
}

// finishLands applies the end of a claim.
func (m *model) finishLands(n *state, who int, flags uint8, done recID) (ok bool) {
	stands, r := &m.records[n.stored], &m.records[done]
	if n.stored == 0 && r.State == ledger.StateNone {
		return true // removed already
	}
	fenced := n.stored == 0 || stands.Fence != r.Fence || stands.Nonce != r.Nonce
	if fenced && m.config.broken != unfencedFinish {
		return false
	}
	if n.stored != 0 && stands.State != ledger.StateRunning && m.config.broken != unfencedFinish {
		return m.write(done, m.version(n.stored)) == n.stored // sent again
	}
	n.version++
	if n.stored = 0; r.State != ledger.StateNone {
		n.stored = m.write(done, n.version)
	}
	m.ending(n, who, flags, done, n.stored)
	return true
}

// expires ends a session: what it holds can be taken over.
func (m *model) expires(n *state, session uint8) {
	n.dead |= 1 << session
	r := &m.records[n.stored]
	if n.stored == 0 || m.sessionOf(n.stored) != session {
		return
	}
	if m.config.broken == leasedSuccess && r.State == ledger.StateSucceeded || m.config.broken == leasedEvidence && r.State == ledger.StateRunning {
		n.stored = 0
		m.written(n, 0)
	}
}
