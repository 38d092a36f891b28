package explore

import "github.com/ledger-once/ledger"

// Bounds of the model's arrays. Budgets beyond them are refused.
const (
	maxWorkers = 3
	maxRuns    = 2 + maxHeals // each but the first is started by a person
	maxLate    = 2
	person     = maxWorkers // the index of the actor that resolves calls in doubt
)

// A pc is where an actor stands. What an actor does at once by itself is one
// step; everything that another actor, the store or a fault can come before is a pc of its own.
type pc uint8

const (
	idle      pc = iota
	claiming     // a claim is on its way
	unsure       // a claim's answer is lost: it is settled by sending it again
	claimed      // the claim is known to be held
	calling      // the effect is asked for, and no answer has come
	finishing    // the outcome, or a claim to be given back, has to be recorded
)

// flags of an actor.
const (
	paused     uint8 = 1 << iota
	raced            // it was paused beyond its lease, and may act once before it notices
	viewAlive        // the record in view had a living owner
	reconciles       // the claim is to ask, not to run
	asked            // this claim's call has asked the world: it had not happened
	steals           // the claim is over the actor's own
	uncertain        // the tool's error says nothing about the effect
	happened         // the person saw the effect; or a reconciliation did
)

// A recID names a record that was seen during a search; 0 is none.
type recID uint16

// An actor is a worker, or the person.
type actor struct {
	pc     pc
	flags  uint8
	epoch  uint8 // sessions so far
	minted uint8 // claims so far: they name nonces and tokens
	run    uint8 // of its claim
	view   recID // the record on which it decided
	held   recID // its claim
	next   recID // the record that is on its way
}

func (a *actor) has(f uint8) bool { return a.flags&f != 0 }

// A kind of a message that lands late or never.
type kind uint8

const (
	noMessage kind = iota
	lateClaim
	lateFinish
	lateEffect
)

// A message is on its way, and nobody waits for it any more.
type message struct {
	kind    kind
	actor   uint8
	session uint8 // of a claim
	flags   uint8 // of its actor: steals
	run     uint8 // of an effect
	seen    recID // of a claim: the record that it replaces
	rec     recID // what to write; of an effect: the claim
}

func (m message) less(o message) bool {
	if m.kind != o.kind {
		return m.kind > o.kind // none comes last
	}
	if m.actor != o.actor {
		return m.actor < o.actor
	}
	return m.rec < o.rec
}

// A state is one state of the whole model; comparable, so that it is its own key.
type state struct {
	stored  recID
	version uint8  // of the store's last write
	dead    uint32 // sessions that have expired, a bit each
	actors  [maxWorkers + 1]actor
	late    [maxLate]message
	world   world
	left    budget
	seen    oracle
}

// A budget is what may still happen.
type budget struct {
	crashes, pauses, losses, calls, persons uint8
	healed                                  uint8 // calls after all faults are over
}

// session returns the number of the actor's session; eight for each actor.
func session(who int, epoch uint8) uint8 {
	if epoch >= 8 {
		panic("explore: more sessions of a worker than there are bits") // unreachable: the budgets bound them
	}
	return uint8(who)*8 + epoch
}

func (s *state) isDead(session uint8) bool { return s.dead&(1<<session) != 0 }

// add puts a message on its way; false: there is no room for it.
func (s *state) add(m message) bool {
	if s.late[maxLate-1].kind != noMessage {
		return false
	}
	i := maxLate - 1
	for ; i > 0 && m.less(s.late[i-1]); i-- {
		s.late[i] = s.late[i-1]
	}
	s.late[i] = m
	return true
}

func (s *state) remove(i int) {
	copy(s.late[i:], s.late[i+1:])
	s.late[maxLate-1] = message{}
}

// A world is the downstream.
type world struct {
	effects [maxRuns]uint8 // of each run
	first   [maxRuns]uint8 // the fence of each run's first effect, which is its result
	tokens  uint64         // under which there were effects
	landed  uint64         // fences of which there were effects
	sealed  uint8          // fences below are refused
}

// Which downstream it is.
type worldKind uint8

const (
	plain worldKind = iota
	honours
	refuses
)

var worldNames = [...]string{plain: "plain", honours: "honours the token", refuses: "refuses older fences once asked"}

// A fault class is a row of the table of bounds.
type fault uint8

const (
	noFault fault = iota
	crashBefore
	crashAfter
	pauseLate
	partition
)

var faultNames = [...]string{
	noFault:     "none, only duplicates",
	crashBefore: "crash before the effect",
	crashAfter:  "crash after the effect, before the record",
	pauseLate:   "worker paused longer than its lease; message that lands late",
	partition:   "partition, leader loss, ambiguous commit",
}

// A config is one search.
type config struct {
	fault   fault
	policy  ledger.DoubtPolicy
	world   worldKind
	looser  bool // worker 3 comes with DoubtRetry, whatever the others have
	broken  rule
	decider decider // nil: the real one
	until   string  // stop when this invariant was found broken; "": search everything
	budget  budget
}
