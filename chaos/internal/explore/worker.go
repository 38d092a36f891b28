package explore

import "github.com/ledger-once/ledger"

// model is one search's successor function.
type model struct {
	*machine
	config config
	broken []Violation // by the step that is being made
	tokens map[string]uint8
	yield  func(n *state, who int, text string)
}

// act yields what the actor, or the answer to what it sent, can do next.
func (m *model) act(s *state, who int) {
	a := &s.actors[who]
	switch a.pc {
	case idle:
		switch {
		case who == person:
			m.personLooks(s)
		case s.left.calls > 0 && (who == 0 || s.left.healed == 0 && s.actors[who-1].minted+s.actors[who-1].epoch > 0): // workers are alike: the first ones come first
			n := *s
			n.left.calls--
			m.decideOn(&n, who, 0, false, "is called, and claims as if there were no record")
		}
	case claiming:
		m.claimAnswered(s, who)
	case unsure:
		if !a.has(paused) {
			m.claimSentAgain(s, who)
		}
	case claimed:
		if !a.has(paused) {
			m.holding(s, who)
		}
	case calling:
		m.effectAnswered(s, who)
	case finishing:
		if !a.has(paused) {
			m.finishes(s, who)
		}
	}
}

// rest ends the actor's call.
func (a *actor) rest() {
	a.pc, a.flags, a.run, a.view, a.held, a.next = idle, 0, 0, 0, 0, 0
}

// decideOn lets a worker decide on what it saw, and send what follows.
func (m *model) decideOn(n *state, who int, view recID, alive bool, text string) {
	a := &n.actors[who]
	action := m.decide(who, view, alive)
	fresh := view
	if m.config.broken == blockedRuns && action == "replay" {
		action, fresh = "run", 0 // as if nothing stood
	}
	switch action {
	case "run", "reconcile":
		if n.isDead(session(who, a.epoch)) {
			a.epoch++ // a new session
		}
		a.flags = a.flags&paused | viewAlive*bit(alive) | reconciles*bit(action == "reconcile")
		a.view, a.next, a.pc = view, m.claim(who, a.minted, fresh, alive && fresh != 0), claiming
		a.minted++
		if m.config.broken == loosenedPolicy {
			a.next = m.loosen(a.next, m.policy[who].InDoubt)
		}
		text += "; " + action
	case "replay":
		m.replaying(n, view)
		a.rest()
		text += "; is answered with the recorded result"
	default:
		a.rest()
		text += "; is blocked"
	}
	m.yield(n, who, text)
}

// claimAnswered: the claim on its way lands, and its answer comes or not.
func (m *model) claimAnswered(s *state, who int) {
	n := *s
	a := &n.actors[who]
	if n.isDead(session(who, a.epoch)) {
		if a.has(paused) {
			return
		}
		if a.has(steals) {
			m.givesBack(&n, who, a.held, true, "has lost its lease before it claimed again")
			return
		}
		a.epoch++
		m.yield(&n, who, "sends its claim again under a new session")
		return
	}
	won := m.claimLands(&n, who, session(who, a.epoch), a.view, a.next, a.flags)
	if !won && a.has(paused) {
		return // it decides on the refusal when it goes on
	}
	m.claimKnown(&n, who, won)
	if who == person || !m.lossy(s) {
		return
	}
	n = *s
	m.loses(&n)
	m.claimLands(&n, who, session(who, a.epoch), a.view, a.next, a.flags)
	n.actors[who].pc = unsure
	m.yield(&n, who, "its claim lands, and the answer is lost")
	n = *s
	m.loses(&n)
	n.actors[who].pc = unsure
	if n.add(message{kind: lateClaim, actor: uint8(who), session: session(who, a.epoch), flags: a.flags, seen: a.view, rec: a.next}) {
		m.yield(&n, who, "its claim is held up on its way")
	}
}

// claimKnown goes on once the answer to a claim is definite.
func (m *model) claimKnown(n *state, who int, won bool) {
	a := &n.actors[who]
	switch {
	case won:
		a.pc, a.held, a.next, a.run = claimed, n.stored, 0, n.seen.run
		if who == person {
			m.personSettles(n)
			return
		}
		m.yield(n, who, "its claim is granted")
	case a.has(steals) || who == person:
		a.rest()
		m.yield(n, who, "its claim is refused, and it gives up")
	default:
		m.decideOn(n, who, n.stored, m.alive(n) && m.config.broken != wallClock, "its claim is refused; it sees what stands")
	}
}

// claimSentAgain settles a claim of unknown answer.
func (m *model) claimSentAgain(s *state, who int) {
	n := *s
	a := &n.actors[who]
	nonce := m.records[a.next].Nonce
	if m.config.broken != lateCopy { // the session's key is written anew: no older copy can land
		for i := maxLate - 1; i >= 0; i-- {
			if msg := &n.late[i]; msg.kind == lateClaim && m.records[msg.rec].Nonce == nonce {
				n.remove(i)
			}
		}
	}
	landed := func() bool {
		r := &m.records[n.stored]
		return n.stored != 0 && r.State == ledger.StateRunning && r.Nonce == nonce
	}
	if !landed() {
		if n.isDead(session(who, a.epoch)) {
			a.epoch++
		}
		m.claimLands(&n, who, session(who, a.epoch), a.view, a.next, a.flags)
	}
	switch {
	case landed():
		if m.alive(&n) {
			go1 := n
			m.claimKnown(&go1, who, true) // within the store's own patience
		} else if !a.has(steals) {
			go1 := n
			m.decideOn(&go1, who, n.stored, false, "finds its own claim, of a session that has died")
		}
		a.held = n.stored // its caller has given up
		a.run = n.seen.run
		back, alive := a.view, a.has(viewAlive)
		if a.has(steals) {
			back, alive = a.held, true
		}
		m.givesBack(&n, who, back, alive, "finds its claim granted, and nobody wants it any more")
	default:
		gone := n
		m.claimKnown(&gone, who, false)
		a.rest()
		m.yield(&n, who, "finds its claim refused, and its caller has given up")
	}
}

// holding: the worker has a claim, and starts what it claimed for.
func (m *model) holding(s *state, who int) {
	a := &s.actors[who]
	if s.isDead(m.sessionOf(a.held)) {
		n := *s
		back, alive := a.view, a.has(viewAlive)
		if a.has(steals) {
			back, alive = a.held, true
		}
		m.givesBack(&n, who, back, alive, "notices that its lease is lost before it starts")
		if !a.has(raced) {
			return
		}
	}
	n := *s
	a = &n.actors[who]
	a.flags &^= raced
	if a.has(reconciles) {
		m.asksWorld(&n, who)
		if m.lossy(s) {
			n = *s
			m.loses(&n)
			m.query(&n, who)
			m.givesBack(&n, who, n.actors[who].view, n.actors[who].has(viewAlive), "asks the world whether it happened, and the answer is lost")
		}
		return
	}
	a.pc = calling
	m.yield(&n, who, "asks the world for the effect")
}

// givesBack lets the actor end its claim as if it had not been.
func (m *model) givesBack(n *state, who int, view recID, alive bool, text string) {
	a := &n.actors[who]
	a.next = m.giveBack(a.held, view, alive)
	a.pc, a.flags = finishing, a.flags&paused
	m.yield(n, who, text+"; gives it back")
}

// finishes: the outcome is recorded, or a claim given back.
func (m *model) finishes(s *state, who int) {
	n := *s
	a := &n.actors[who]
	done := a.next
	if m.finishLands(&n, who, a.flags, done) {
		m.acknowledging(&n, done)
		a.rest()
		m.yield(&n, who, "its "+m.what(done)+" is recorded")
	} else {
		a.rest()
		m.yield(&n, who, "its "+m.what(done)+" is refused: fenced")
	}
	if m.config.broken == ackedEarly && who != person {
		n = *s
		m.acknowledging(&n, done)
		m.yield(&n, who, "acknowledges before the commit")
	}
	if who == person || !m.lossy(s) {
		return
	}
	n = *s
	a = &n.actors[who]
	m.loses(&n)
	m.finishLands(&n, who, a.flags, done)
	if m.config.broken == ambiguousFailed {
		a.next = m.fail(a.held, ledger.ClassNotDone)
	}
	m.yield(&n, who, "its "+m.what(done)+" is recorded, and the answer is lost")
	n = *s
	m.loses(&n)
	if n.add(message{kind: lateFinish, actor: uint8(who), flags: s.actors[who].flags & uncertain, rec: done}) {
		if m.config.broken == ambiguousFailed {
			n.actors[who].next = m.fail(n.actors[who].held, ledger.ClassNotDone)
		}
		m.yield(&n, who, "its "+m.what(done)+" is held up on its way")
	}
}

func (m *model) what(done recID) string {
	switch r := &m.records[done]; {
	case r.State == ledger.StateNone:
		return "giving back"
	case r.State == ledger.StateFailed && r.Error != nil:
		return "failure (" + r.Error.Class.String() + ")"
	default:
		return "outcome (" + string(r.State) + ")"
	}
}
