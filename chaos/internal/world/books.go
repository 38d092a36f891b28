package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// books are what the world knows: they decide what is done with a request.
type books struct {
	worlds   map[string]string // by tool; they do not change
	hold     time.Duration
	seq      uint64
	accounts map[string]*account // by call
	totals   map[string]int      // by what was done
}

// An account is one call's.
type account struct {
	effects, requests, queries int
	fence                      int64 // the greatest that asked or acted, where the world looks at fences
	runs                       []run // with effects; few
}

// A run is all requests with one token.
type run struct {
	token   string
	effects int
	result  string // of the first effect
}

func (a account) effectsOf(token string) int {
	if r := a.run(token); r != nil {
		return r.effects
	}
	return 0
}

func (a account) run(token string) *run {
	for i := range a.runs {
		if a.runs[i].token == token {
			return &a.runs[i]
		}
	}
	return nil
}

// A reply is what the caller is told.
type reply struct {
	status int
	answer answer
	text   string // of a status other than 200
}

func (r reply) send(rw http.ResponseWriter) {
	if r.status != http.StatusOK {
		http.Error(rw, r.text, r.status)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(r.answer) // a caller that is gone does not get it
}

func open(tools []trace.Tool, hold time.Duration) (books, error) {
	if hold < 0 {
		return books{}, fmt.Errorf("answers can not be held for %v", hold)
	}
	if hold == 0 {
		hold = DefaultHold
	}
	b := books{worlds: map[string]string{}, hold: hold, accounts: map[string]*account{}, totals: map[string]int{}}
	for _, t := range tools {
		switch t.World {
		case trace.WorldPlain, trace.WorldToken, trace.WorldFence, trace.WorldHold:
		default:
			return books{}, fmt.Errorf("tool %q has world %q: it may be %s", t.Name, t.World,
				strings.Join([]string{trace.WorldPlain, trace.WorldToken, trace.WorldFence, trace.WorldHold}, ", "))
		}
		if b.worlds[t.Name] != "" {
			return books{}, fmt.Errorf("tool %q is there twice", t.Name)
		}
		b.worlds[t.Name] = t.World
	}
	return b, nil
}

// check refuses what is none of the workload's requests.
func (b *books) check(q Request) error {
	switch {
	case b.worlds[q.Tool] == "":
		return fmt.Errorf("tool %q is not one of this run's", q.Tool)
	case q.ID == "" || q.Token == "" || q.Fence <= 0 || q.Worker == "":
		return fmt.Errorf("a request needs an id, a token, a fence and a worker: %+v", q)
	}
	switch q.Ask {
	case "", AskDeny, AskPermanent, AskFail:
		return nil
	}
	return fmt.Errorf("ask %q is not known: it may be empty, %s, %s or %s", q.Ask, AskDeny, AskPermanent, AskFail)
}

// decide carries out a request that was checked.
func (b *books) decide(q Request) (trace.Effect, reply) {
	a := b.accounts[q.ID]
	if a == nil {
		a = &account{}
		b.accounts[q.ID] = a
	}
	b.seq++
	e := trace.Effect{Seq: b.seq, ID: q.ID, Tool: q.Tool, Token: q.Token, Fence: q.Fence, Attempt: q.Attempt, Worker: q.Worker, PID: q.PID}
	said := reply{status: http.StatusOK}
	if q.Query {
		a.queries++
	} else {
		a.requests++
	}
	world, known := b.worlds[q.Tool], a.run(q.Token)
	fenced := world == trace.WorldFence
	switch {
	case fenced && q.Fence < a.fence:
		e.Did = trace.Refused
		said = reply{status: http.StatusPreconditionFailed, text: fmt.Sprintf("fence %d is older than %d", q.Fence, a.fence)}
	case q.Query:
		e.Did = trace.Asked
		e.Happened = known != nil
		said.answer.Happened = e.Happened
		if known != nil {
			said.answer.Result = known.result
		}
		a.raise(fenced, q.Fence)
	case world == trace.WorldToken && known != nil:
		// Whatever the workload wants of this request: to deny what has happened would be a lie.
		e.Did = trace.Known
		said.answer = answer{true, known.result}
	case q.Ask == AskDeny || q.Ask == AskPermanent:
		e.Did = trace.Denied
		said = reply{status: http.StatusConflict, text: "denied, as asked for"}
		if q.Ask == AskPermanent {
			said = reply{status: http.StatusUnprocessableEntity, text: "denied for good, as asked for"}
		}
	default:
		e.Did = trace.Done
		a.effects++
		result := q.ID + "#" + strconv.Itoa(a.effects)
		if known != nil {
			known.effects++
		} else {
			a.runs = append(a.runs, run{q.Token, 1, result})
		}
		said.answer = answer{true, result}
		a.raise(fenced, q.Fence)
	}
	if said.answer.Result != "" {
		text, _ := json.Marshal(said.answer.Result) // a string has JSON
		e.Result = string(text)
	}
	if q.Ask == AskFail && (e.Did == trace.Done || e.Did == trace.Known) {
		said = reply{status: http.StatusInternalServerError, text: "it failed after its effect, as asked for"}
	}
	b.totals[e.Did]++
	return e, said
}

// raise lets lower fences be refused from now on.
func (a *account) raise(fenced bool, fence int64) {
	if fenced {
		a.fence = max(a.fence, fence)
	}
}
