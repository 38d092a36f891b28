package check

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// linear checks L1: there is an order of the store's operations on the call, within
// the times that they took, in which each answer is what a record that is compared and swapped gives.
func (c *checker) linear(ctx context.Context, k *call) {
	ops := k.steps()
	if len(ops) == 0 {
		return
	}
	c.linearizable(ctx, "L1", k, storeModel(), ops)
}

// linearizable has porcupine check a history.
func (c *checker) linearizable(ctx context.Context, name string, k *call, m porcupine.Model, ops []porcupine.Operation) {
	c.checks[name].Checked += len(ops)
	if len(ops) > c.opts.MaxOps {
		c.checks[name].Unknown += len(ops)
		c.violated(name, k, 0, "not checked: %d operations are more than %d", len(ops), c.opts.MaxOps)
		return
	}
	if ctx.Err() != nil {
		return
	}
	timeout := c.opts.Timeout
	if c.timedOut >= maxTimeouts { // the run is red already
		timeout = min(timeout, time.Second)
	}
	switch porcupine.CheckOperationsTimeout(m, ops, timeout) {
	case porcupine.Ok:
		return
	case porcupine.Unknown:
		c.timedOut++
		c.checks[name].Unknown += len(ops)
		c.violated(name, k, 0, "timed out: %d operations were not checked within %v", len(ops), timeout)
		return
	}
	at := int64(0)
	if c.checks[name].Violations == 0 { // the search for it takes as long as the check
		at = c.stuck(name, m, ops, timeout)
	}
	c.violated(name, k, at, "the history of %d operations is not linearizable", len(ops))
}

// stuck draws the history, if it is the run's first that is not linearizable, and
// returns when the operation ended that no order has room for; 0: that is not known.
func (c *checker) stuck(name string, m porcupine.Model, ops []porcupine.Operation, timeout time.Duration) int64 {
	result, info := porcupine.CheckOperationsVerbose(m, ops, timeout)
	if result != porcupine.Illegal {
		return 0
	}
	if c.out.Picture == "" {
		page := "porcupine-" + name + ".html"
		if err := porcupine.VisualizePath(m, info, filepath.Join(c.dir, page)); err == nil {
			c.out.Picture = page
		} else if ch := c.checks[name]; ch.Note == "" {
			ch.Note = "there is no picture: " + err.Error()
		}
	}
	longest := map[[2]int64]bool{}
	for _, partials := range info.PartialLinearizationsOperations() {
		best := slices.MaxFunc(append(partials, nil), func(a, b []porcupine.Operation) int { return len(a) - len(b) })
		for _, o := range best {
			longest[[2]int64{o.Call, o.Return}] = true
		}
	}
	at := int64(never)
	for _, o := range ops {
		if !longest[[2]int64{o.Call, o.Return}] {
			at = min(at, o.Return)
		}
	}
	return at
}

// steps are the call's operations on the store.
func (k *call) steps() []porcupine.Operation {
	var all []porcupine.Operation
	add := func(p *process, from, by int64, s *step) {
		s.died, s.by = k.died, by
		s.guess = s.seen > 0 && k.versions[s.seen] == nil
		all = append(all, porcupine.Operation{ClientId: p.number, Input: s, Call: from, Return: by})
	}
	hidden := int64(math.MinInt64) // stands for the fence of a claim that nobody saw
	for _, o := range k.ops {
		switch {
		case o.kind == trace.Get && (o.sure() || o.refused() && o.outcome == trace.NotFound):
			add(o.proc, o.start, o.end, &step{kind: o.kind, saw: standingOf(o.stands), text: "get: " + brief(o.stands)})
		case o.kind == trace.Claim && o.next != nil && o.sure() && !o.won:
			add(o.proc, o.start, o.end, &step{kind: o.kind, reads: true, seen: o.seen, steal: o.steal, saw: standingOf(o.stands), write: standing{nonce: o.next.Nonce},
				text: fmt.Sprintf("claim over %d is not won: %s", o.seen, brief(o.stands))})
		case o.kind == trace.Finish && o.next != nil && o.refused() && o.outcome == trace.Fenced:
			add(o.proc, o.start, o.end, &step{kind: o.kind, reads: true, fence: o.next.Fence, text: fmt.Sprintf("finish of fence %d is refused", o.next.Fence)})
		case o.kind == trace.Delete && o.refused() && slices.Contains([]string{trace.NotFound, trace.Running, trace.Fenced}, o.outcome):
			add(o.proc, o.start, o.end, &step{kind: o.kind, seen: o.seen, says: o.outcome, text: fmt.Sprintf("delete of version %d: %s", o.seen, o.outcome)})
		case o.kind == trace.Delete && !o.refused():
			add(o.proc, o.start, o.landed(), &step{kind: o.kind, seen: o.seen, maybe: !o.sure(), text: fmt.Sprintf("delete of version %d", o.seen)})
		}
	}
	grant := func(g *grant) {
		s := &step{kind: trace.Claim, seen: g.seen, steal: g.steal, maybe: g.fate == unknown, text: fmt.Sprintf("claim over %d is granted: fence %d", g.seen, g.fence)}
		s.write = standing{g.fence, g.fence, true, g.nonce, content(g.next)}
		if g.fence == 0 {
			s.write.version, s.write.fence = hidden, hidden
			hidden++
		}
		add(g.proc, g.from, g.by, s)
	}
	for _, g := range k.grants {
		grant(g)
	}
	for _, g := range k.maybe {
		grant(g)
	}
	for _, e := range k.endings {
		if e.fate == neverDid {
			continue
		}
		s := &step{kind: trace.Finish, fence: e.fence, maybe: e.fate == unknown, text: fmt.Sprintf("finish of fence %d: %s", e.fence, brief(e.next))}
		if !e.removes() {
			s.write = standing{e.version, e.fence, false, e.next.Nonce, content(e.next)}
			if e.version == 0 {
				s.write.version = -e.fence
			}
		}
		add(e.ops[0].proc, e.from, e.by, s)
	}
	return all
}

// died returns when the owner of the claim may have ended; at once, if nobody knows it.
func (k *call) died(nonce string) int64 {
	if g := k.byNonce[nonce]; g != nil {
		return g.deadFrom
	}
	return 0
}
