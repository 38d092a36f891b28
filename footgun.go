package ledger

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger/fingerprint"
)

const (
	footgunCalls  = 3
	footgunWithin = 10 * time.Second
	footgunTools  = 1000     // tools that are looked at
	footgunBytes  = 16 << 10 // larger arguments are not looked at
)

// footgun finds tools whose arguments change with every retry (a timestamp, a
// random ID), so that no retry is ever a duplicate.
type footgun struct {
	c     *core
	mu    sync.Mutex
	tools map[ID]*recent // by workflow and tool
	said  map[string]bool
}

type recent struct {
	at    [footgunCalls - 1]time.Time
	canon [footgunCalls - 1][]byte
	n     int
}

// started is told of each call that runs, and warns once per tool.
func (w *footgun) started(p *prepared) {
	if p.key != "" || len(p.canon) > footgunBytes {
		return
	}
	tool := ID{Workflow: p.id.Workflow, Tool: p.id.Tool}
	fields := w.note(tool, p.canon)
	if len(fields) == 0 {
		return
	}
	w.c.opts.Logger.Warn(fmt.Sprintf("ledger: %s ran %d times within %v with arguments that differ in: %s. If these were retries, each was a new action to ledger. "+
		"Give the call a key (ledger.WithKey, Call.Key or a field tagged `ledger:\"key\"`), or leave those fields out with Policy.Ignore.",
		tool.Tool, footgunCalls, footgunWithin, strings.Join(fields, ", ")), "tool", tool.Tool, "workflow", tool.Workflow, "fields", fields)
}

// note remembers the arguments of a call that runs, and returns the fields to warn of.
func (w *footgun) note(tool ID, canon []byte) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said[tool.Tool] || len(w.said) >= footgunTools {
		return nil
	}
	if w.tools == nil {
		w.tools, w.said = make(map[ID]*recent), make(map[string]bool)
	}
	r := w.tools[tool]
	if r == nil {
		if len(w.tools) >= footgunTools {
			clear(w.tools)
		}
		r = &recent{}
		w.tools[tool] = r
	}
	canon = bytes.Clone(canon) // the call's own memory is used again
	now, slot := time.Now(), r.n%len(r.at)
	oldest := r.at[slot]
	if r.n >= len(r.at) && now.Sub(oldest) <= footgunWithin {
		if fields := changing(canon, r.canon[:]); len(fields) > 0 {
			w.said[tool.Tool] = true
			delete(w.tools, tool)
			return fields
		}
	}
	r.at[slot], r.canon[slot] = now, canon
	r.n++
	return nil
}

// changing names the fields in which last differs from each of the others.
func changing(last []byte, others [][]byte) []string {
	var fields []string
	for i, other := range others {
		diff := fingerprint.Diff(last, other, 20)
		if i == 0 {
			fields = diff
			continue
		}
		both := fields[:0]
		for _, f := range fields {
			for _, d := range diff {
				if f == d {
					both = append(both, f)
					break
				}
			}
		}
		fields = both
	}
	return fields
}
