package check

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A tale is a run that a test makes up: what its files hold, and a clock that
// moves on by a microsecond with each line.
type tale struct {
	t       testing.TB
	run     trace.Run
	at      int64
	version int64
	n       uint64
	lines   map[string][]trace.Line
	effects []trace.Effect
	faults  []trace.Fault
	writes  []trace.Write
	watched bool
	opened  map[string]bool            // sessions
	records map[string]*trace.Snapshot // as the store has them
	blocked map[string]int64
	unsaved bool // final.jsonl is left out
	nonces  int
}

const (
	msec = int64(time.Millisecond)
	sec  = int64(time.Second)
)

// Tools of all tales; the name says policy and world.
var taleTools = []trace.Tool{
	{Name: "retry", InDoubt: "retry", World: trace.WorldPlain, Replay: true},
	{Name: "token", InDoubt: "retry", World: trace.WorldToken, Replay: true},
	{Name: "block", InDoubt: "block", World: trace.WorldPlain, Replay: true},
	{Name: "fence", InDoubt: "reconcile", World: trace.WorldFence, Replay: true},
	{Name: "ask", InDoubt: "reconcile", World: trace.WorldPlain, Replay: true},
	{Name: "twice", InDoubt: "retry", World: trace.WorldPlain, Replay: true, Max: 2},
	{Name: "quiet", InDoubt: "retry", World: trace.WorldPlain},
}

func newTale(t testing.TB, store string) *tale {
	return &tale{
		t: t, at: sec, lines: map[string][]trace.Line{}, records: map[string]*trace.Snapshot{}, blocked: map[string]int64{},
		watched: store == "etcd", opened: map[string]bool{},
		run: trace.Run{Schema: trace.Schema, Layer: "soak", Store: store, TTL: time.Second, Tools: taleTools, CallTimeout: time.Minute},
	}
}

func id(tool string) string { return "flow/" + tool + "/f00" }

func (b *tale) tick() int64 { b.at += 1000; return b.at }

func (b *tale) sleep(d int64) { b.at += d }

// A deed is an operation that has begun.
type deed struct {
	b    *tale
	p    string
	line trace.Line
}

func (b *tale) begin(p string, l trace.Line) *deed {
	b.n++
	l.N, l.At = b.n, b.tick()
	b.lines[p] = append(b.lines[p], l)
	return &deed{b, p, l}
}

func (d *deed) end(l trace.Line) {
	l.N, l.Kind, l.End, l.At = d.line.N, d.line.Kind, true, d.b.tick()
	d.b.lines[d.p] = append(d.b.lines[d.p], l)
}

func (b *tale) do(p, tool string) *deed { return b.guard(p, tool, trace.Do) }

func (b *tale) guard(p, tool string, kind trace.Kind) *deed {
	return b.begin(p, trace.Line{Kind: kind, ID: id(tool), Tool: tool})
}

// part begins an operation that is a part of d.
func (d *deed) part(l trace.Line) *deed {
	l.In, l.ID = d.line.N, d.line.ID
	return d.b.begin(d.p, l)
}

// blocked ends the operation with one of the outcomes that are counted.
func (d *deed) answered(outcome, value string) {
	d.end(trace.Line{Outcome: outcome, Value: value})
	d.b.blocked[d.line.ID]++
}

func (b *tale) write(key string, s *trace.Snapshot, id string, gone bool, session string) {
	if b.watched {
		w := trace.Write{Rev: b.version, At: b.at, Key: key, Name: id, Gone: gone, Session: session}
		if s != nil {
			copied := *s
			w.Record = &copied
		}
		b.writes = append(b.writes, w)
	}
}

// put carries out a claim in the store.
func (b *tale) put(p string, next trace.Snapshot) *trace.Snapshot {
	if session := "s-" + p; b.watched && !b.opened[session] {
		b.opened[session] = true
		b.version++
		b.write("session", nil, session, false, "")
	}
	b.version++
	next.Version, next.Fence, next.Session, next.Alive = b.version, b.version, "s-"+p, true
	b.records[next.ID] = &next
	b.write("record", &next, next.ID, false, "")
	b.write("running", nil, next.ID, false, next.Session)
	return &next
}

// next is what a claim over the record that stands writes; run is "new", "same" or "ask".
func (b *tale) next(id, run string) trace.Snapshot {
	b.nonces++
	next := trace.Snapshot{ID: id, State: "running", Nonce: fmt.Sprintf("n%d", b.nonces), Token: fmt.Sprintf("t%d", b.nonces)}
	seen := b.records[id]
	for _, t := range taleTools {
		if "flow/"+t.Name+"/f00" == id {
			next.InDoubt = t.InDoubt
		}
	}
	if seen != nil {
		next.Attempt, next.Starts, next.Executed, next.Log = seen.Attempt, seen.Starts, seen.Executed, slices.Clone(seen.Log)
		if seen.State == "running" {
			next.Log = append(next.Log, trace.LogEntry{Fence: seen.Fence, Outcome: "lost"})
			next.Takeovers++
		}
		if run != "new" {
			next.Token = seen.Token
		} else {
			next.Attempt = 0
		}
	}
	if run != "ask" {
		next.Attempt++
		next.Starts++
	}
	return next
}

// claim claims over the record that stands, and wins.
func (d *deed) claim(run string) *trace.Snapshot {
	next := d.b.next(d.line.ID, run)
	return d.claimed(next, d.line.Kind == trace.Force)
}

func (d *deed) claimed(next trace.Snapshot, steal bool) *trace.Snapshot {
	seen := int64(0)
	if s := d.b.records[d.line.ID]; s != nil {
		seen = s.Version
		g := d.part(trace.Line{Kind: trace.Get})
		copied := *s
		g.end(trace.Line{Stands: &copied})
	}
	if steal && len(next.Log) > 0 && next.Log[len(next.Log)-1].Outcome == "lost" {
		next.Log[len(next.Log)-1].Outcome = "forced"
	}
	c := d.part(trace.Line{Kind: trace.Claim, Seen: seen, Next: &next, Steal: steal})
	d.b.tick()
	r := d.b.put(d.p, next)
	copied := *r
	c.end(trace.Line{Won: true, Stands: &copied})
	return r
}

// attempt runs the tool: the world has the effect, and answers with value.
func (d *deed) attempt(r *trace.Snapshot, did, outcome, value string) {
	a := d.part(trace.Line{Kind: trace.Attempt, Tool: tool(d.line.ID), Fence: r.Fence, Token: r.Token, Attempt: r.Attempt})
	if did != "" {
		d.effect(r, did, value)
	}
	if outcome != "" {
		a.end(trace.Line{Outcome: outcome, Value: value})
	}
}

func tool(id string) string { return id[len("flow/") : len(id)-len("/f00")] }

func (d *deed) effect(r *trace.Snapshot, did, value string) {
	d.b.effects = append(d.b.effects, trace.Effect{Seq: uint64(len(d.b.effects) + 1), At: d.b.tick(), Did: did, ID: d.line.ID, Tool: tool(d.line.ID),
		Token: r.Token, Fence: r.Fence, Worker: d.p, Result: value})
}

// over is the record after the claim r ended.
func over(r *trace.Snapshot, state, result string) trace.Snapshot {
	done := *r
	done.State, done.Result, done.Alive = state, result, false
	done.Log = append(slices.Clone(done.Log), trace.LogEntry{Fence: r.Fence, Outcome: state})
	if state == "succeeded" {
		done.Executed++
		done.Omitted = result == ""
	}
	return done
}

// finish writes the outcome of the claim r.
func (d *deed) finish(r *trace.Snapshot, state, result string) {
	done := over(r, state, result)
	f := d.part(trace.Line{Kind: trace.Finish, Next: &done})
	d.b.tick()
	d.b.land(done)
	f.end(trace.Line{Outcome: trace.OK})
}

// land carries out a finish in the store.
func (b *tale) land(done trace.Snapshot) {
	b.version++
	id := done.ID
	if done.State == "" {
		delete(b.records, id)
		b.write("record", nil, id, true, "")
	} else {
		done.Version = b.version
		b.records[id] = &done
		b.write("record", &done, id, false, "")
	}
	b.write("running", nil, id, true, "")
}

// remove is a Forget that deletes the record.
func (b *tale) forget(p, tool string) {
	d := b.guard(p, tool, trace.Forget)
	r := *b.records[id(tool)]
	d.part(trace.Line{Kind: trace.Get}).end(trace.Line{Stands: &r})
	x := d.part(trace.Line{Kind: trace.Delete, Seen: r.Version})
	b.version++
	b.tick()
	delete(b.records, id(tool))
	delete(b.blocked, id(tool))
	b.write("record", nil, id(tool), true, "")
	x.end(trace.Line{Outcome: trace.OK})
	d.end(trace.Line{Outcome: trace.OK})
}

// kill ends the process, and with it its session.
func (b *tale) kill(p string) {
	at := b.tick()
	b.faults = append(b.faults, trace.Fault{At: at, Until: at + msec, Kind: trace.FaultKill, Target: p, Done: true})
	b.sleep(3 * sec)
	b.expire("s-" + p)
}

// expire ends the session.
func (b *tale) expire(session string) {
	b.version++
	b.write("session", nil, session, true, "")
	for id, r := range b.records {
		if r.State == "running" && r.Session == session && r.Alive {
			r.Alive = false
			b.write("running", nil, id, true, "")
		}
	}
}

// success is a whole call that succeeds.
func (b *tale) success(p, tool, value string) *trace.Snapshot {
	d := b.do(p, tool)
	r := d.claim("new")
	d.attempt(r, trace.Done, trace.OK, value)
	d.finish(r, "succeeded", value)
	d.end(trace.Line{Outcome: trace.OK, Value: value})
	return r
}

// save writes the tale's files and returns their directory.
func (b *tale) save() string {
	b.t.Helper()
	dir := b.t.TempDir()
	b.run.To = b.tick()
	must := func(err error) {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	must(trace.Save(filepath.Join(dir, trace.RunFile), b.run))
	for p, lines := range b.lines {
		slices.SortStableFunc(lines, func(x, y trace.Line) int { return cmp.Compare(x.At, y.At) })
		write(b.t, filepath.Join(dir, trace.HistoryFile(p)), lines)
	}
	write(b.t, filepath.Join(dir, trace.WorldFile), b.effects)
	write(b.t, filepath.Join(dir, trace.FaultsFile), b.faults)
	if b.watched {
		write(b.t, filepath.Join(dir, trace.StoreFile), b.writes)
	}
	if !b.unsaved {
		var final []trace.Snapshot
		for id, r := range b.records {
			s := *r
			s.Blocked = b.blocked[id]
			s.Attempts = s.Starts + s.Blocked
			final = append(final, s)
		}
		write(b.t, filepath.Join(dir, trace.FinalFile), final)
	}
	return dir
}

func write[T any](t testing.TB, path string, lines []T) {
	t.Helper()
	w, err := trace.Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := w.Write(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// check runs the checker on the tale.
func (b *tale) check(o *Options) *trace.Findings {
	b.t.Helper()
	f, err := Run(b.t.Context(), b.save(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// broken returns the names of the invariants that the findings say are violated.
func broken(f *trace.Findings) []string {
	var names []string
	for _, c := range f.Checks {
		if c.Violations > 0 {
			names = append(names, c.Invariant)
		}
	}
	return names
}

func tell(t testing.TB, f *trace.Findings) {
	t.Helper()
	for _, v := range f.Violations {
		t.Logf("%s %s: %s", v.Invariant, v.ID, v.Text)
		for _, e := range v.Evidence {
			t.Log("    ", e)
		}
	}
	for _, c := range f.Checks {
		if c.Unknown > 0 {
			t.Logf("%s: %d unknown: %s", c.Invariant, c.Unknown, c.Note)
		}
	}
}
