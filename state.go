package ledger

import (
	"fmt"
	"time"
)

// The state machine: pure functions over (record, policy, now). They do no I/O
// and read no clock. Everything else in this package carries out what they say,
// and the stores only compare and swap.
//
//	(none) -> running -> succeeded | failed | in_doubt
//
// A running record whose owner died is in doubt (Record.Status); its policy
// decides whether a claim takes it over.

// An action is what to do with a call that finds a record.
type action uint8

const (
	actRun       action = iota + 1 // claim, then run the tool
	actReconcile                   // claim, then ask the downstream
	actReplay                      // answer with the recorded result
	actWait                        // wait for the running call's result
	actBlock                       // answer with a BlockedError
)

// How a claim continues what the record tells.
type lineage uint8

const (
	sameRun  lineage = iota // another attempt of the run: keep the token
	newToken                // another attempt of the run: its last one certainly did nothing, and none is in doubt
	newRun                  // another run
)

type decision struct {
	action  action
	reason  error   // of actBlock
	lineage lineage // of actRun
	reset   bool    // of actRun: the TTL has passed, Spent starts anew
}

// An ask is what an arriving call brings along.
type ask struct {
	policy     *Policy
	argsDiffer bool // it has a key, and other arguments than the record
	waited     bool // it waited for the run that the record tells of
}

// decide says what to do with a call that finds r; nil: no record.
func decide(r *Record, q ask, now time.Time) decision {
	p := q.policy
	if r == nil {
		return decision{action: actRun, lineage: newRun}
	}
	if q.argsDiffer && p.Strict {
		return decision{action: actBlock, reason: ErrKeyReused}
	}
	switch status := r.Status(); status {
	case StateRunning:
		if p.Wait > 0 {
			return decision{action: actWait, reason: ErrInProgress}
		}
		return decision{action: actBlock, reason: ErrInProgress}
	case StateSucceeded:
		switch {
		case q.waited:
			return replay(r)
		case expired(r, p, now):
			return decision{action: actRun, lineage: newRun, reset: true}
		case r.Spent < p.max():
			return decision{action: actRun, lineage: newRun}
		case p.Replay:
			return replay(r)
		}
		return decision{action: actBlock, reason: ErrDuplicate}
	case StateFailed:
		switch {
		case r.Error == nil || r.Error.Class != ClassPermanent:
			d := decision{action: actRun, lineage: afterNotDone(r), reset: expired(r, p, now)}
			if r.Settled != nil { // a person's "did not happen" ends the run
				d.lineage = newRun
			}
			return d
		case expired(r, p, now):
			return decision{action: actRun, lineage: newRun, reset: true}
		}
		return decision{action: actBlock, reason: ErrFailed}
	case StateInDoubt:
		switch doubt := stricter(r.InDoubt, p.InDoubt); {
		case doubt == DoubtRetry:
			return decision{action: actRun, lineage: sameRun}
		case doubt == DoubtReconcile && p.Reconcile != nil:
			return decision{action: actReconcile}
		}
		return decision{action: actBlock, reason: ErrInDoubt}
	default:
		// A state that a newer version wrote, or a counter: never run on a guess.
		return decision{action: actBlock, reason: ErrInDoubt}
	}
}

// afterNotDone is how an attempt follows one that certainly did nothing. That one
// speaks for itself alone: what an earlier attempt of the run sent may have
// landed, or may land yet, and only the same token tells the downstream that it is the same.
func afterNotDone(r *Record) lineage {
	if r.Doubted {
		return sameRun
	}
	return newToken
}

func replay(r *Record) decision {
	if r.ResultOmitted || r.Result == nil {
		return decision{action: actBlock, reason: ErrResultOmitted}
	}
	return decision{action: actReplay}
}

// expired reports whether the TTL has passed. It counts from the finish of the
// last success that counts; a failure after that does not make it slide.
func expired(r *Record, p *Policy, now time.Time) bool {
	from := r.Finished
	if r.Spent > 0 && !r.Succeeded.IsZero() && r.State == StateFailed && r.Error != nil && r.Error.Class == ClassNotDone {
		from = r.Succeeded
	}
	return p.TTL > 0 && !now.Before(from.Add(p.TTL))
}

// A start is what a claim brings along.
type start struct {
	id              ID
	key, argsDigest string
	args            []byte
	sealed          bool
	caller          string
	inDoubt         DoubtPolicy
	token, nonce    string  // freshly minted; the token is used unless the run keeps its own
	ended           Outcome // how the attempt that stands running ended; OutcomeLost if its owner died
}

// begin returns the running record that claims the next attempt after seen (nil: none).
func begin(seen *Record, s start, d decision, now time.Time) Record {
	next := Record{ID: s.id, Created: now, Token: s.token}
	if seen != nil {
		if d.action == actBlock || d.action == actWait || d.action == actReplay {
			panic(fmt.Sprintf("ledger: begin after decision %d", d.action)) // unreachable unless program bug
		}
		next = *seen
		if d.action == actRun && d.lineage != sameRun || next.Token == "" {
			next.Token = s.token
		}
		switch {
		case d.action == actRun && d.lineage == newRun:
			next.Attempt, next.Doubted = 0, false
		case seen.State == StateInDoubt, seen.State == StateRunning && inDoubt(s.ended):
			next.Doubted = true // a reconciliation does not clear it: what is still on its way can land after the answer
		}
		if d.reset {
			next.Spent = 0
		}
		if seen.State == StateRunning {
			if s.ended == OutcomeLost {
				next.Takeovers++
			}
			next.Log = logged(seen, s.ended, time.Time{})
		}
	}
	next.State, next.Version, next.Fence, next.Alive = StateRunning, 0, 0, false
	next.Nonce, next.Owner = s.nonce, Owner{Caller: s.caller}
	next.InDoubt = stricter(next.InDoubt, s.inDoubt)
	next.Started, next.Finished = now, time.Time{}
	if d.action == actReconcile {
		return next // it asks about the attempts so far, and starts none
	}
	next.Attempt++
	next.Starts++
	next.Key, next.Args, next.ArgsDigest, next.Sealed = s.key, s.args, s.argsDigest, s.sealed
	next.Result, next.ResultOmitted, next.Error, next.Settled = nil, false, nil, nil
	return next
}

// inDoubt reports whether the effect of an attempt that ended so may have happened.
func inDoubt(o Outcome) bool {
	return o == OutcomeInDoubt || o == OutcomeLost || o == OutcomeForced
}

// An ending is how an attempt ended.
type ending struct {
	failure *Failure // nil: success
	result  []byte   // of a success, nil: omitted; of a permanent failure, nil: none
	settled *Settlement
}

// finish returns the record to write after the claim r ended.
func finish(r Record, e ending, now time.Time) Record {
	if r.State != StateRunning {
		panic("ledger: finish of a record that is " + string(r.State)) // unreachable unless program bug
	}
	outcome := OutcomeSucceeded
	r.Finished, r.Settled, r.Error = now, e.settled, e.failure
	r.Result, r.ResultOmitted = nil, false
	switch {
	case e.failure == nil:
		r.Result, r.ResultOmitted = e.result, e.result == nil
		r.Executed++
		r.Spent++
		r.Succeeded = now
	case e.failure.Class == ClassUncertain:
		outcome = OutcomeInDoubt
		r.Doubted = true
	default:
		outcome = OutcomeFailed
		if e.failure.Class == ClassPermanent {
			r.Result = e.result
		}
	}
	r.State = State(outcome)
	if e.settled != nil {
		outcome = OutcomeSettled
	}
	r.Log = logged(&r, outcome, now)
	r.Alive = false
	return r
}

// giveBack returns the record to write when the claim r is not used: what
// was seen before it (nil: removed), a running one as in doubt.
func giveBack(r Record, seen *Record) Record {
	if seen == nil {
		return Record{ID: r.ID, Fence: r.Fence, Nonce: r.Nonce}
	}
	back := *seen
	back.Fence, back.Nonce, back.Version, back.Alive = r.Fence, r.Nonce, 0, false
	back.InDoubt = r.InDoubt
	if seen.State == StateRunning {
		back.State, back.Doubted = StateInDoubt, true
		back.Takeovers, back.Log = r.Takeovers, r.Log
		if back.Error == nil {
			back.Error = &Failure{Message: "its worker died while it was running", Class: ClassUncertain}
			if seen.Alive {
				back.Error.Message = "its claim was stolen while it was running"
			}
		}
	}
	return back
}

// settle returns the record to write for a resolution of the claim r, and
// false if it is to be removed.
func settle(r Record, res Resolution, now time.Time) (Record, bool) {
	how := &Settlement{How: res.As.String(), By: res.By, Reason: res.Reason, At: now}
	switch res.As {
	case ResolveHappened:
		return finish(r, ending{result: res.Result, settled: how}, now), true
	case ResolveDidNotHappen:
		return finish(r, ending{failure: &Failure{Message: "settled: it did not happen: " + res.Reason, Class: ClassNotDone}, settled: how}, now), true
	case ResolveForget:
		if !res.Keep {
			return Record{ID: r.ID, Fence: r.Fence, Nonce: r.Nonce}, false
		}
		done := finish(r, ending{failure: &Failure{Message: "forgotten: " + res.Reason, Class: ClassNotDone}, settled: how}, now)
		done.Key, done.Args, done.ArgsDigest, done.Sealed, done.Log = "", nil, "", false, nil
		done.Spent, done.Succeeded = 0, time.Time{}
		return done, true
	}
	panic(fmt.Sprintf("ledger: settle as %d", res.As)) // unreachable unless program bug
}

// logged returns r's log with its current attempt appended, in memory of its own.
func logged(r *Record, o Outcome, ended time.Time) []Attempt {
	from := max(0, len(r.Log)-MaxLog+1)
	log := make([]Attempt, 0, len(r.Log)-from+1)
	log = append(log, r.Log[from:]...)
	return append(log, Attempt{Fence: r.Fence, Owner: r.Owner, Started: r.Started, Ended: ended, Outcome: o})
}
