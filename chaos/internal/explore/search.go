package explore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/ledger-once/ledger"
)

// maxHeals is how often a call is asked for again after all faults are over
// before it has to have ended (I7).
const maxHeals = 3

// errTooMany says that the budgets were too large.
var errTooMany = errors.New("more states than Options.MaxStates")

// A search is what one exhaustive search found.
type search struct {
	states, transitions, depth int
	most                       [16]int // effects of a run, by its takeovers; -1: no such run
	max, min                   int     // effects of a run in a state after the fault; min where all is over
	takeovers                  int
	steps                      map[string]int // transitions, by what they are
	violations                 []Violation
}

// A node is how the search came to a state.
type node struct {
	parent int32
	alike  int32 // another state with the same hash; 0: none
	who    uint8
	text   uint16
}

// memory is what one search after the other uses.
type memory struct {
	states []state
	nodes  []node
	known  map[uint64]int32 // by hash: the last state that has it
}

// run searches all states, breadth first, so that the first trace found is the shortest.
func (c config) run(ctx context.Context, mem *memory, maxStates int) (*search, error) {
	m := &model{machine: newMachine(&c), config: c, tokens: map[string]uint8{}}
	found := &search{max: -1, min: -1, steps: map[string]int{}}
	for i := range found.most {
		found.most[i] = -1
	}
	start := state{left: c.budget}
	states, nodes, known := append(mem.states[:0], start), append(mem.nodes[:0], node{parent: -1}), mem.known
	defer func() { mem.states, mem.nodes = states, nodes }()
	if known == nil {
		known = map[uint64]int32{}
		mem.known = known
	}
	clear(known)
	seed := maphash.MakeSeed()
	texts, textIDs := []string{""}, map[string]uint16{}
	at, children := int32(0), 0
	tell := func(n node) string { return texts[n.text] }
	m.yield = func(n *state, who int, text string) {
		children++
		found.transitions++
		id, ok := textIDs[text]
		if !ok {
			id = uint16(len(texts))
			texts, textIDs[text] = append(texts, text), id
		}
		found.steps[text]++
		if len(m.broken) > 0 {
			found.violated(m, states, nodes, node{parent: at, who: uint8(who), text: id}, n, tell)
			m.broken = m.broken[:0]
			return // what follows a broken rule tells nothing more
		}
		sum := maphash.Comparable(seed, *n)
		last, ok := known[sum]
		for i := last; ok && i > 0; i = nodes[i].alike {
			if states[i] == *n {
				return
			}
		}
		known[sum] = int32(len(states))
		states, nodes = append(states, *n), append(nodes, node{parent: at, alike: last, who: uint8(who), text: id})
		found.note(n, c.fault == noFault)
	}
	for ; int(at) < len(states) && !found.saw(c.until); at++ {
		if len(states) > maxStates {
			return nil, fmt.Errorf("explore: %s: %w (%d)", c, errTooMany, maxStates)
		}
		if at%1024 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s := states[at]
		children = 0
		for who := range s.actors {
			m.act(&s, who)
		}
		m.faults(&s)
		if children == 0 {
			m.rests(&s, found, func(v Violation) {
				m.broken = append(m.broken, v)
				found.violated(m, states, nodes, nodes[at], &s, tell)
				m.broken = m.broken[:0]
			})
		}
		m.lateMessages(&s)
	}
	found.states = len(states)
	for i := int32(len(nodes) - 1); i > 0; i = nodes[i].parent {
		found.depth++
	}
	return found, nil
}

// rests is told of a state in which nothing more happens by itself: the call
// has ended, or somebody asks for it again, without faults from now on.
func (m *model) rests(s *state, found *search, violated func(Violation)) {
	r := &m.records[s.stored]
	over := s.stored != 0 && (r.State == ledger.StateSucceeded || r.State == ledger.StateFailed && r.Settled != nil)
	switch {
	case over:
		found.ended(s, m.config.fault == noFault)
	case s.left.healed == maxHeals:
		status := "none"
		if s.stored != 0 {
			status = string(r.State)
		}
		violated(Violation{Invariant: "I7", Text: fmt.Sprintf("after all faults are over and %d more calls the record is still %s", maxHeals, status)})
	default:
		n := *s
		n.left = budget{calls: 1, persons: 1, healed: s.left.healed + 1}
		m.yield(&n, 0, "all faults are over, and the call is asked for again")
	}
}

// saw reports whether the invariant was found broken.
func (f *search) saw(invariant string) bool {
	return slices.ContainsFunc(f.violations, func(v Violation) bool { return v.Invariant == invariant })
}

// note keeps the extremes.
func (f *search) note(s *state, faultless bool) {
	for run, effects := range s.world.effects {
		if !s.seen.started[run] {
			continue
		}
		t := s.seen.takeovers[run]
		f.most[t] = max(f.most[t], int(effects))
		if s.seen.faulted || faultless {
			f.max = max(f.max, int(effects))
			f.takeovers = max(f.takeovers, int(t))
		}
	}
}

// ended is told of a state in which all is over.
func (f *search) ended(s *state, faultless bool) {
	for run, effects := range s.world.effects {
		if s.seen.started[run] && (s.seen.faulted || faultless) && (f.min < 0 || int(effects) < f.min) {
			f.min = int(effects)
		}
	}
}

// violated keeps the first, and so the shortest, trace of each invariant that the step broke.
func (f *search) violated(m *model, states []state, nodes []node, last node, s *state, tell func(node) string) {
	for _, v := range m.broken {
		if f.saw(v.Invariant) {
			continue
		}
		var path []string
		v.Search = m.config.String()
		path = append(path, m.line(last.who, tell(last), s))
		for at := last.parent; at > 0; at = nodes[at].parent {
			path = append(path, m.line(nodes[at].who, tell(nodes[at]), &states[at]))
		}
		for i := len(path) - 1; i >= 0; i-- {
			v.Trace = append(v.Trace, fmt.Sprintf("%2d. %s", len(path)-i, path[i]))
		}
		f.violations = append(f.violations, v)
	}
}

// line is one step for people, with what stands after it.
func (m *model) line(who uint8, text string, s *state) string {
	name := "person"
	if who < maxWorkers {
		name = fmt.Sprintf("worker %d", who+1)
	}
	stands := "no record"
	if s.stored != 0 {
		r := &m.records[s.stored]
		stands = fmt.Sprintf("%s, fence %d", r.State, r.Fence)
		if r.State == ledger.StateRunning {
			stands += ", owner " + map[bool]string{true: "alive", false: "dead"}[m.alive(s)]
		}
		stands += ", " + r.Token
	}
	effects := strings.Trim(fmt.Sprint(s.world.effects[:s.seen.run+1]), "[]")
	return fmt.Sprintf("%s %s (%s; effects %s)", name, text, stands, effects)
}

func (c config) String() string {
	s := fmt.Sprintf("%s; %s; %s", faultNames[c.fault], policyName(c.policy), worldNames[c.world])
	if c.looser {
		s += "; worker 3 has DoubtRetry"
	}
	if c.broken != keepAll {
		s += "; broken: " + ruleNames[c.broken]
	}
	return s
}

func policyName(p ledger.DoubtPolicy) string {
	return [...]string{ledger.DoubtRetry: "DoubtRetry", ledger.DoubtReconcile: "DoubtReconcile", ledger.DoubtBlock: "DoubtBlock"}[p]
}
