package check

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// never is a time that does not come.
const never = math.MaxInt64

// An op is one operation of a process: its first line and its last.
type op struct {
	proc       *process
	n, in      uint64
	kind       trace.Kind
	start, end int64 // end is never if it has none
	id, tool   string

	seen   int64
	steal  bool
	next   *trace.Snapshot
	won    bool
	stands *trace.Snapshot

	outcome, err     string
	definite         bool
	fence            int64
	token, value, as string
}

func (o *op) ended() bool { return o.end != never }

// sure reports whether a call of the store was answered without an error.
func (o *op) sure() bool {
	return o.ended() && o.err == "" && (o.outcome == "" || o.outcome == trace.OK)
}

// refused reports whether the answer says that nothing was written, and nothing will be.
func (o *op) refused() bool { return o.ended() && !o.sure() && o.definite }

// landed returns by when a call of the store has been carried out, if it ever is.
func (o *op) landed() int64 {
	if o.sure() {
		return o.end
	}
	return never
}

func (o *op) isGuards() bool {
	return o.kind == trace.Do || o.kind == trace.Force || o.kind == trace.Forget || o.kind == trace.Resolve
}

// A history is all of a run.
type history struct {
	run     trace.Run
	tools   map[string]*trace.Tool
	procs   map[string]*process
	calls   map[string]*call
	outages []trace.Fault      // of the store, not of one process
	gone    map[string][]int64 // revisions at which a session's key went away
	words   map[string]string  // strings that come again and again are kept once

	watched  bool            // store.jsonl tells of the store's own writes
	sessions map[string]bool // those that it tells of
	healed   bool            // final.jsonl tells how it ended
}

// A call is all that is known of one ID.
type call struct {
	id   string
	tool *trace.Tool // nil: run.json does not name it

	ops     []*op // in order of their starts
	effects []*trace.Effect
	writes  []*trace.Write // of its record and running key
	final   *trace.Snapshot
	derived
}

func load(ctx context.Context, dir string) (*history, error) {
	run, err := trace.Load(dir)
	if err != nil {
		return nil, err
	}
	h := &history{
		run: run, tools: map[string]*trace.Tool{}, procs: map[string]*process{}, calls: map[string]*call{},
		gone: map[string][]int64{}, sessions: map[string]bool{}, words: map[string]string{},
	}
	for i := range run.Tools {
		h.tools[run.Tools[i].Name] = &run.Tools[i]
	}
	for _, read := range []func(string) error{
		func(dir string) error { return h.loadHistories(ctx, dir) },
		h.loadFaults, h.loadWorld, h.loadWrites, h.loadFinal,
	} {
		if err := read(dir); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	for _, k := range h.calls {
		slices.SortStableFunc(k.ops, func(a, b *op) int { return int(min(max(a.start-b.start, -1), 1)) })
		slices.SortStableFunc(k.writes, func(a, b *trace.Write) int { return int(min(max(a.Rev-b.Rev, -1), 1)) })
	}
	return h, nil
}

func (h *history) loadHistories(ctx context.Context, dir string) error {
	for name, lines := range trace.Histories(dir) {
		p := h.process(name)
		open := map[uint64]*op{}
		for line, err := range lines {
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p.saw(line.At)
			o := open[line.N]
			switch {
			case !line.End && o != nil:
				return fmt.Errorf("%s: operation %d begins twice", trace.HistoryFile(name), line.N)
			case line.End && o == nil:
				return fmt.Errorf("%s: operation %d ends before it begins", trace.HistoryFile(name), line.N)
			case o == nil:
				o = &op{proc: p, n: line.N, kind: line.Kind, start: line.At, end: never}
				open[line.N] = o
			default:
				o.end = line.At
				delete(open, line.N)
				p.wrote(o)
			}
			h.merge(o, &line)
			if line.End {
				continue
			}
			if o.isGuards() {
				p.ops[o.n] = o
			}
			if o.id == "" {
				return fmt.Errorf("%s: operation %d (%s) has no ID", trace.HistoryFile(name), line.N, line.Kind)
			}
			k := h.call(o.id)
			k.ops = append(k.ops, o)
		}
		for _, o := range open {
			p.wrote(o)
		}
	}
	return nil
}

// merge adds what the line tells.
func (h *history) merge(o *op, l *trace.Line) {
	for _, f := range []struct {
		to   *string
		from string
	}{{&o.id, l.ID}, {&o.tool, l.Tool}, {&o.outcome, l.Outcome}, {&o.err, l.Err}, {&o.token, l.Token}, {&o.value, l.Value}, {&o.as, l.As}} {
		if f.from != "" {
			*f.to = h.word(f.from)
		}
	}
	o.in, o.seen, o.fence = max(o.in, l.In), max(o.seen, l.Seen), max(o.fence, l.Fence)
	o.steal, o.won, o.definite = o.steal || l.Steal, o.won || l.Won, o.definite || l.Definite
	if l.Next != nil {
		o.next = h.snapshot(l.Next)
	}
	if l.Stands != nil && l.Stands.State != "" {
		o.stands = h.snapshot(l.Stands)
	}
}

func (h *history) snapshot(s *trace.Snapshot) *trace.Snapshot {
	for _, w := range []*string{&s.ID, &s.State, &s.Nonce, &s.Token, &s.InDoubt, &s.Session, &s.Caller, &s.Result, &s.Class, &s.Settled, &s.SettledBy} {
		*w = h.word(*w)
	}
	for i := range s.Log {
		s.Log[i].Session, s.Log[i].Outcome = h.word(s.Log[i].Session), h.word(s.Log[i].Outcome)
	}
	return s
}

func (h *history) word(s string) string {
	if s == "" || len(s) > 4096 {
		return s
	}
	if w, ok := h.words[s]; ok {
		return w
	}
	h.words[s] = s
	return s
}

func (h *history) process(name string) *process {
	p := h.procs[name]
	if p == nil {
		p = &process{name: h.word(name), number: len(h.procs), ops: map[uint64]*op{}, killed: never, exited: never}
		h.procs[name] = p
	}
	return p
}

func (h *history) call(id string) *call {
	k := h.calls[id]
	if k == nil {
		k = &call{id: h.word(id)}
		if parts := strings.Split(id, "/"); len(parts) == 3 {
			if name, err := url.PathUnescape(parts[1]); err == nil {
				k.tool = h.tools[name]
			}
		}
		h.calls[id] = k
	}
	return k
}

func (h *history) loadFaults(dir string) error {
	for f, err := range trace.Read[trace.Fault](filepath.Join(dir, trace.FaultsFile)) {
		if err != nil {
			return err
		}
		h.fault(f)
	}
	return nil
}

func (h *history) loadWorld(dir string) error {
	for e, err := range trace.Read[trace.Effect](filepath.Join(dir, trace.WorldFile)) {
		if err != nil {
			return err
		}
		e.Did, e.ID, e.Tool, e.Token, e.Worker, e.Result = h.word(e.Did), h.word(e.ID), h.word(e.Tool), h.word(e.Token), h.word(e.Worker), h.word(e.Result)
		k := h.call(e.ID)
		k.effects = append(k.effects, &e)
	}
	return nil
}

func (h *history) loadWrites(dir string) error {
	path := filepath.Join(dir, trace.StoreFile)
	if _, err := os.Stat(path); err == nil {
		h.watched = true
	}
	for w, err := range trace.Read[trace.Write](path) {
		if err != nil {
			return err
		}
		if w.Key == "session" {
			h.sessions[w.Name] = true
			if w.Gone {
				h.gone[w.Name] = append(h.gone[w.Name], w.Rev)
			}
			continue
		}
		if w.Record != nil {
			if w.Record.Version == 0 {
				w.Record.Version = w.Rev
			}
			h.snapshot(w.Record)
		}
		w.Session = h.word(w.Session)
		k := h.call(w.Name)
		k.writes = append(k.writes, &w)
	}
	return nil
}

func (h *history) loadFinal(dir string) error {
	path := filepath.Join(dir, trace.FinalFile)
	if _, err := os.Stat(path); err == nil {
		h.healed = true
	}
	for s, err := range trace.Read[trace.Snapshot](path) {
		if err != nil {
			return err
		}
		if strings.HasSuffix(s.ID, "/") { // the counter of an unlimited tool
			continue
		}
		h.call(s.ID).final = h.snapshot(&s)
	}
	return nil
}
