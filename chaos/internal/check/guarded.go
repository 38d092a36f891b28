package check

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A told is the state of the model of one call, as its callers see it.
type told struct {
	done bool   // it has succeeded, and neither a forget nor a force came since
	past string // a bit for each result with which it ever succeeded
}

// with returns t after a success with the result of that number.
func (t told) with(value int) told {
	bits := []byte(t.past)
	for len(bits) <= value/8 {
		bits = append(bits, 0)
	}
	bits[value/8] |= 1 << (value % 8)
	return told{true, string(bits)}
}

func (t told) had(value int) bool {
	return value/8 < len(t.past) && t.past[value/8]&(1<<(value%8)) != 0
}

// A saying is what a caller was told.
type saying struct {
	does  says
	maybe bool
	value int // number of the result
	text  string
}

type says uint8

const (
	succeeds  says = iota // it ran, which it must not where it was done
	overrides             // a success of a force
	upsets                // a force that did not succeed: it may have replaced a success
	forgets
	repeats    // it was answered with a result
	duplicates // it was told that it was done before
	fails      // it ran, and failed: it must not have been done
)

// next returns the states after what the caller was told. A caller may be told of a
// success that is forgotten since: what a worker remembers may be stale, but it only blocks.
func (s *saying) next(t told) []any {
	var after []any
	switch s.does {
	case succeeds:
		if !t.done {
			after = []any{t.with(s.value)}
		}
	case overrides:
		after = []any{t.with(s.value)}
	case upsets:
		return []any{t, told{false, t.past}}
	case forgets:
		after = []any{told{false, t.past}}
	case repeats:
		if t.had(s.value) {
			after = []any{t}
		}
	case duplicates:
		if t.past != "" {
			after = []any{t}
		}
	case fails:
		if !t.done {
			after = []any{t}
		}
	}
	if s.maybe {
		after = append(after, t)
	}
	return after
}

func guardModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init:              func() []any { return []any{told{}} },
		Step:              func(state, input, _ any) []any { return input.(*saying).next(state.(told)) },
		Hash:              func(state any) uint64 { return maphash.Comparable(seed, state.(told)) },
		DescribeOperation: func(input, _ any) string { return input.(*saying).text },
		DescribeState: func(state any) string {
			if state.(told).done {
				return "done"
			}
			return "not done"
		},
	}
	return m.ToModel()
}

// guarded checks L2: what callers were told has an order. It is checked for calls that may succeed once.
func (c *checker) guarded(ctx context.Context, k *call) {
	if k.tool == nil || k.tool.Max > 1 {
		return
	}
	if ops := k.sayings(); len(ops) > 0 {
		c.linearizable(ctx, "L2", k, guardModel(), ops)
	}
}

// sayings are what the call's callers were told.
func (k *call) sayings() []porcupine.Operation {
	var all []porcupine.Operation
	values := map[string]int{}
	number := func(v string) int {
		n, ok := values[v]
		if !ok {
			n = len(values)
			values[v] = n
		}
		return n
	}
	type part struct {
		p *process
		n uint64
	}
	// What an operation has written, or may have: its outcome may be recorded after it has returned.
	wrote, queried, claimed := map[part][]*ending{}, map[part]bool{}, map[part]bool{}
	for _, g := range k.byNonce {
		if g.fate != neverDid && g.in != nil {
			claimed[part{g.proc, g.in.n}] = true
		}
	}
	for _, e := range k.endings {
		if !e.succeeds() || e.fate == neverDid {
			continue
		}
		in := e.ops[0].in
		if in == 0 && e.g != nil && e.g.in != nil {
			in = e.g.in.n
		}
		id := part{e.ops[0].proc, in}
		wrote[id] = append(wrote[id], e)
	}
	attempted := map[part]bool{}
	for _, o := range k.ops {
		switch o.kind {
		case trace.Query:
			queried[part{o.proc, o.in}] = true
		case trace.Attempt:
			attempted[part{o.proc, o.in}] = true
		}
	}
	assigned := map[*ending]bool{}
	for _, o := range k.ops {
		if !o.isGuards() {
			continue
		}
		id := part{o.proc, o.n}
		add := func(until int64, s saying) {
			s.text = fmt.Sprintf("%s: %s %s", o.kind, o.outcome, o.value)
			all = append(all, porcupine.Operation{ClientId: o.proc.number, Input: &s, Call: o.start, Return: until})
		}
		recorded := func() { // it may have succeeded, without its caller being told
			for _, e := range wrote[id] {
				assigned[e] = true
				by := e.by
				if e.fate == unknown {
					by = never
				}
				does := succeeds
				if o.kind == trace.Force {
					does = overrides
				}
				add(max(by, o.start), saying{does: does, maybe: e.fate == unknown, value: number(e.next.Result)})
			}
		}
		switch {
		case o.kind == trace.Forget:
			if k.mayApply(o) {
				until := o.end
				if o.outcome != trace.OK {
					until = never
				}
				add(until, saying{does: forgets, maybe: o.outcome != trace.OK})
			}
		case o.kind == trace.Resolve && o.as == "forget":
			if k.mayApply(o) {
				until := o.end
				if o.outcome != trace.OK {
					until = never
				}
				add(until, saying{does: forgets, maybe: o.outcome != trace.OK})
			}
		case o.kind == trace.Resolve:
			recorded()
		case o.outcome == trace.OK && o.kind == trace.Force:
			add(o.end, saying{does: overrides, value: number(k.valueOf(o, wrote[id]))})
		case o.outcome == trace.OK:
			add(o.end, saying{does: succeeds, value: number(k.valueOf(o, wrote[id]))})
		case o.kind == trace.Force && (o.outcome != trace.NotStarted && o.outcome != trace.Invalid || claimed[id]):
			until := o.end
			if o.outcome == trace.Unknown || o.outcome == trace.NotStarted {
				// Its claim may have landed late, and its worker died before it gave that back: then the next call runs.
				until = never
			}
			add(until, saying{does: upsets})
			recorded()
		case queried[id] && len(wrote[id]) > 0: // the world said that it had happened
			recorded()
		case slices.Contains([]string{trace.Replayed, trace.Duplicate, trace.Omitted}, o.outcome) && k.kept(o):
		case o.outcome == trace.Replayed:
			add(o.end, saying{does: repeats, value: number(o.value)})
		case o.outcome == trace.Duplicate, o.outcome == trace.Omitted:
			add(o.end, saying{does: duplicates})
		case o.outcome == trace.ToolFailed && attempted[id]:
			add(o.end, saying{does: fails})
		default:
			recorded()
		}
		if o.outcome == trace.OK {
			for _, e := range wrote[id] {
				assigned[e] = true
			}
		}
	}
	for _, e := range k.endings { // of operations that nobody wrote down
		if e.fate != neverDid && e.succeeds() && !assigned[e] {
			s := &saying{does: overrides, maybe: true, value: number(e.next.Result), text: "an outcome of fence " + itoa(e.fence)}
			all = append(all, porcupine.Operation{ClientId: e.ops[0].proc.number, Input: s, Call: e.from, Return: never})
		}
	}
	return all
}

// valueOf is the result that was recorded of an operation that succeeded: what
// it returned, where its tool's policy keeps none.
func (k *call) valueOf(o *op, wrote []*ending) string {
	for _, e := range wrote {
		if e.next.Result != "" {
			return e.next.Result
		}
	}
	return o.value
}
