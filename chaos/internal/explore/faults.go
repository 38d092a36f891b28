package explore

// lossy reports whether an answer can be lost now.
func (m *model) lossy(s *state) bool { return m.config.fault == partition && s.left.losses > 0 }

func (m *model) loses(n *state) {
	n.left.losses--
	n.seen.faulted = true
}

// faults yields crashes, pauses and expiries.
func (m *model) faults(s *state) {
	for who := range maxWorkers {
		a := &s.actors[who]
		if m.canCrash(s, who) {
			m.crash(s, who)
		}
		current := session(who, a.epoch)
		for e := range a.epoch { // of the dead
			if old := session(who, e); !s.isDead(old) {
				n := *s
				m.expires(&n, old)
				m.yield(&n, who, "the lease that it left behind expires")
			}
		}
		if a.pc == idle {
			continue
		}
		switch {
		case a.has(paused) && s.isDead(current):
			n := *s
			n.actors[who].flags = a.flags&^paused | raced
			m.yield(&n, who, "goes on")
		case a.has(paused):
			n := *s
			n.seen.faulted = true
			m.expires(&n, current)
			m.yield(&n, who, "its lease expires while it is paused")
		case m.config.fault == pauseLate && s.left.pauses > 0:
			n := *s
			n.left.pauses--
			n.actors[who].flags |= paused
			m.yield(&n, who, "is paused")
		case m.lossy(s) && !s.isDead(current):
			n := *s
			m.loses(&n)
			m.expires(&n, current)
			m.yield(&n, who, "is cut off: its lease expires")
		}
	}
}

// canCrash says where the fault class lets workers die.
func (m *model) canCrash(s *state, who int) bool {
	a := &s.actors[who]
	if s.left.crashes == 0 || a.pc == idle || a.has(paused) {
		return false
	}
	switch m.config.fault {
	case crashBefore:
		for other := range maxWorkers {
			if other != who && s.actors[other].pc == calling {
				return false
			}
		}
		return s.world.effects[s.seen.run] == 0
	case crashAfter:
		return s.world.effects[s.seen.run] > 0 && s.seen.success[s.seen.run] == 0
	}
	return true
}

// crash kills a worker; what it sent may still land. Its process starts again.
func (m *model) crash(s *state, who int) {
	a := s.actors[who]
	msg := message{actor: uint8(who)}
	switch a.pc {
	case claiming, unsure:
		msg.kind, msg.session, msg.flags, msg.seen, msg.rec = lateClaim, session(who, a.epoch), a.flags, a.view, a.next
	case calling:
		if m.config.fault >= pauseLate {
			msg.kind, msg.run, msg.rec = lateEffect, a.run, a.held
		}
	case finishing:
		msg.kind, msg.flags, msg.rec = lateFinish, a.flags&uncertain, a.next
	}
	n := *s
	n.left.crashes--
	n.seen.faulted = true
	n.actors[who] = actor{epoch: a.epoch + 1, minted: a.minted}
	m.yield(&n, who, "is killed")
	if msg.kind != noMessage && n.add(msg) {
		m.yield(&n, who, "is killed; what it sent is still on its way")
	}
}

// lateMessages: what is on its way lands.
func (m *model) lateMessages(s *state) {
	for i, msg := range s.late {
		n := *s
		switch msg.kind {
		case noMessage:
			return
		case lateClaim:
			n.remove(i)
			if n.isDead(msg.session) {
				m.yield(&n, int(msg.actor), "its late claim is refused: its session has ended")
			} else if m.claimLands(&n, int(msg.actor), msg.session, msg.seen, msg.rec, msg.flags) {
				m.yield(&n, int(msg.actor), "its late claim lands")
			} else {
				m.yield(&n, int(msg.actor), "its late claim is refused")
			}
		case lateFinish:
			n.remove(i)
			if m.finishLands(&n, int(msg.actor), msg.flags, msg.rec) {
				m.yield(&n, int(msg.actor), "its late "+m.what(msg.rec)+" lands")
			} else {
				m.yield(&n, int(msg.actor), "its late "+m.what(msg.rec)+" is refused: fenced")
			}
		case lateEffect:
			n.remove(i)
			if _, ok := m.effectLands(&n, msg.run, msg.rec); ok {
				m.yield(&n, int(msg.actor), "its late request lands in the world")
			} else {
				m.yield(&n, int(msg.actor), "its late request is refused by the world")
			}
		}
	}
}
