package check_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// simWorld is the downstream.
type simWorld struct {
	s       *sim
	mu      sync.Mutex
	journal *trace.Writer
	seq     uint64
	calls   map[string]*simAccount
}

type simAccount struct {
	effects int
	fence   int64
	results map[string]string // by token
	denied  map[string]bool
}

var (
	errDenied  = errors.New("denied")
	errForGood = errors.New("denied for good")
	errFailed  = errors.New("failed after its effect")
	errOld     = errors.New("the fence is too old")
)

// request carries out a request, and returns the result, and whether a query found one.
func (w *simWorld) request(tool *trace.Tool, c ledger.ClaimInfo, worker string, query, deny bool) (string, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.calls[c.ID.String()]
	if a == nil {
		a = &simAccount{results: map[string]string{}, denied: map[string]bool{}}
		w.calls[c.ID.String()] = a
	}
	w.seq++
	e := trace.Effect{Seq: w.seq, At: w.s.now(), ID: c.ID.String(), Tool: tool.Name, Token: c.Token, Fence: int64(c.Fence), Attempt: c.Attempt, Worker: worker}
	result, known := a.results[c.Token]
	fenced := tool.World == trace.WorldFence
	var err error
	switch {
	case fenced && e.Fence < a.fence && w.s.mutant != "old fences are accepted":
		e.Did, err = trace.Refused, errOld
	case query:
		e.Did, e.Happened = trace.Asked, known
	case tool.World == trace.WorldToken && known:
		e.Did = trace.Known
	case deny, tool.World == trace.WorldToken && a.denied[c.Token]:
		// What honours a token gives its first answer again, a denial too: an earlier
		// attempt's message that lands late must not act where a later attempt was denied.
		e.Did, err = trace.Denied, errDenied
		a.denied[c.Token] = true
	default:
		e.Did = trace.Done
		a.effects++
		result = fmt.Sprintf("%s#%d", e.ID, a.effects)
		if !known {
			a.results[c.Token] = result
		}
	}
	if fenced && err == nil {
		a.fence = max(a.fence, e.Fence)
	}
	if err == nil && result != "" {
		text, _ := json.Marshal(result)
		e.Result = string(text)
	}
	if err := w.journal.Write(e); err != nil {
		w.s.t.Error(err)
	}
	return result, known, err
}
