package explore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/seam"
)

// decider is the state machine under test: the pure functions of the ledger's state.go.
type decider interface {
	Decide(r *ledger.Record, p *ledger.Policy, now time.Time) (action string, reason error)
	Claim(seen *ledger.Record, p *ledger.Policy, id ledger.ID, token, nonce string, now time.Time) ledger.Record
	ClaimAgain(held *ledger.Record, p *ledger.Policy, token, nonce string, now time.Time) ledger.Record
	ClaimToSettle(seen *ledger.Record, token, nonce string, now time.Time) ledger.Record
	Settle(claimed ledger.Record, res ledger.Resolution, now time.Time) ledger.Record
	Finish(claimed ledger.Record, failure *ledger.Failure, result []byte, settled *ledger.Settlement, now time.Time) ledger.Record
	GiveBack(claimed ledger.Record, seen *ledger.Record) ledger.Record
}

var _ decider = ledger.StateMachine(seam.Key{})

// A machine calls the decider, and remembers: each question is asked once.
type machine struct {
	decider decider
	id      ledger.ID
	now     time.Time // nothing depends on time: no policy here has a TTL
	policy  [maxWorkers]ledger.Policy

	records []ledger.Record // by recID; the first is none
	ids     map[string]recID
	made    map[question]recID
	decided map[question]string
}

// A question is the key of what was asked before.
type question struct {
	op   byte
	a, b recID
	x, y uint8
}

func newMachine(c *config) *machine {
	m := &machine{
		decider: ledger.StateMachine(seam.Key{}),
		id:      ledger.ID{Workflow: "default", Tool: "charge_card", Fingerprint: "0"},
		now:     time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		records: make([]ledger.Record, 1),
		ids:     map[string]recID{}, made: map[question]recID{}, decided: map[question]string{},
	}
	if c.decider != nil {
		m.decider = c.decider
	}
	for i := range m.policy {
		m.policy[i] = ledger.Policy{Replay: true, InDoubt: c.policy}
		if c.looser && i == maxWorkers-1 {
			m.policy[i].InDoubt = ledger.DoubtRetry
		}
		if m.policy[i].InDoubt == ledger.DoubtReconcile {
			m.policy[i].Reconcile = func(context.Context, ledger.Record) (ledger.Verdict, error) {
				return ledger.Unknown(), errors.New("the explorer asks its world itself")
			}
		}
	}
	return m
}

// record returns the record of id, with its owner alive or not; nil for none.
func (m *machine) record(id recID, alive bool) *ledger.Record {
	if id == 0 {
		return nil
	}
	r := m.records[id]
	r.Alive = alive
	return &r
}

// intern returns the name of r. What no decision depends on is left out, so
// that states which differ in nothing else are one.
func (m *machine) intern(r ledger.Record) recID {
	if r.State == ledger.StateNone {
		r = ledger.Record{ID: r.ID, Fence: r.Fence, Nonce: r.Nonce}
	}
	r.Log, r.Starts, r.Executed, r.Takeovers, r.Attempt, r.Alive = nil, 0, 0, 0, 0, false
	failure, settled := "", ""
	if r.Error != nil {
		failure = r.Error.Class.String()
	}
	if r.Settled != nil {
		settled = r.Settled.How
	}
	key := fmt.Sprintf("%s %d %d %s %s %d %v %d %s %s %v %s %s", r.State, r.Version, r.Fence, r.Token, r.Nonce, r.InDoubt, r.Doubted, r.Spent, r.Owner.Session, r.Result, r.ResultOmitted, failure, settled)
	id, ok := m.ids[key]
	if !ok {
		id = recID(len(m.records))
		if id == 0 {
			panic("explore: more records than a recID can name") // unreachable: states are bounded far below
		}
		m.ids[key] = id
		m.records = append(m.records, r)
	}
	return id
}

// make answers q from memory, or with answer.
func (m *machine) make(q question, answer func() ledger.Record) recID {
	id, ok := m.made[q]
	if !ok {
		id = m.intern(answer())
		m.made[q] = id
	}
	return id
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (m *machine) decide(who int, view recID, alive bool) string {
	q := question{op: 'd', a: view, x: uint8(who), y: bit(alive)}
	action, ok := m.decided[q]
	if !ok {
		action, _ = m.decider.Decide(m.record(view, alive), &m.policy[who], m.now)
		m.decided[q] = action
	}
	return action
}

// token and nonce of an actor's n-th claim.
func minted(who int, n uint8) (token, nonce string) {
	if n >= 32 {
		panic("explore: more claims of a worker than a question can name") // unreachable: the budgets bound them
	}
	name := strconv.Itoa(who) + "." + strconv.Itoa(int(n))
	return "t" + name, "n" + name
}

func (m *machine) claim(who int, n uint8, view recID, alive bool) recID {
	return m.make(question{'c', view, 0, uint8(who)<<5 | n, bit(alive)}, func() ledger.Record {
		token, nonce := minted(who, n)
		if who == person {
			return m.decider.ClaimToSettle(m.record(view, alive), token, nonce, m.now)
		}
		return m.decider.Claim(m.record(view, alive), &m.policy[who], m.id, token, nonce, m.now)
	})
}

func (m *machine) claimAgain(who int, n uint8, held recID) recID {
	return m.make(question{'a', held, 0, uint8(who), n}, func() ledger.Record {
		token, nonce := minted(who, n)
		return m.decider.ClaimAgain(m.record(held, true), &m.policy[who], token, nonce, m.now)
	})
}

// loosen is a rule broken: the claim stores the policy of whoever came last.
func (m *machine) loosen(next recID, policy ledger.DoubtPolicy) recID {
	return m.make(question{'l', next, 0, uint8(policy), 0}, func() ledger.Record {
		r := m.records[next]
		r.InDoubt = policy
		return r
	})
}

// grant returns the claim as the store writes it.
func (m *machine) grant(next recID, version, session uint8) recID {
	return m.make(question{'g', next, 0, version, session}, func() ledger.Record {
		r := m.records[next]
		r.Version, r.Fence = ledger.Version(version), ledger.Version(version)
		r.Owner.Session = fmt.Sprintf("w%d.%d", session/8+1, session%8+1)
		return r
	})
}

// write returns the outcome as the store writes it.
func (m *machine) write(done recID, version uint8) recID {
	return m.make(question{'w', done, 0, version, 0}, func() ledger.Record {
		r := m.records[done]
		r.Version = ledger.Version(version)
		return r
	})
}

func (m *machine) succeed(held recID, result uint8, reconciled bool) recID {
	return m.make(question{'s', held, 0, result, bit(reconciled)}, func() ledger.Record {
		var settled *ledger.Settlement
		if reconciled {
			settled = &ledger.Settlement{How: ledger.ResolveHappened.String(), By: "reconcile", At: m.now}
		}
		return m.decider.Finish(m.records[held], nil, strconv.AppendInt(nil, int64(result), 10), settled, m.now)
	})
}

func (m *machine) fail(held recID, class ledger.Class) recID {
	return m.make(question{'f', held, 0, uint8(class), 0}, func() ledger.Record {
		return m.decider.Finish(m.records[held], &ledger.Failure{Message: class.String(), Class: class}, nil, nil, m.now)
	})
}

func (m *machine) giveBack(held, seen recID, alive bool) recID {
	return m.make(question{'b', held, seen, bit(alive), 0}, func() ledger.Record {
		return m.decider.GiveBack(m.records[held], m.record(seen, alive))
	})
}

func (m *machine) settle(claimed recID, happened bool, result uint8) recID {
	return m.make(question{'r', claimed, 0, result, bit(happened)}, func() ledger.Record {
		res := ledger.Resolution{As: ledger.ResolveDidNotHappen, By: "person"}
		if happened {
			res.As, res.Result = ledger.ResolveHappened, strconv.AppendInt(nil, int64(result), 10)
		}
		return m.decider.Settle(m.records[claimed], res, m.now)
	})
}
