package check

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// sparedRuns are runs in which answers were lost, writes came late and workers
// died at bad moments, and nothing is wrong. unknown is 1 if some of it can not be decided.
var sparedRuns = []struct {
	name    string
	etcd    bool
	unknown int
	tell    func(b *tale)
}{
	{"a claim that is sent again wins", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		next := b.next(id("retry"), "new")
		c := d.part(trace.Line{Kind: trace.Claim, Next: &next})
		r := *b.put("w00.0", next)
		c.end(trace.Line{Outcome: trace.Unknown, Err: "deadline exceeded"})
		d.part(trace.Line{Kind: trace.Claim, Next: &next}).end(trace.Line{Won: true, Stands: &r})
		d.attempt(&r, trace.Done, trace.OK, `1`)
		d.finish(&r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a claim lands late, and is given back", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		next := b.next(id("retry"), "new")
		d.part(trace.Line{Kind: trace.Claim, Next: &next}).end(trace.Line{Outcome: trace.Unknown, Err: "deadline exceeded"})
		d.end(trace.Line{Outcome: trace.NotStarted, Err: "unavailable"})
		b.begin("w01.0", trace.Line{Kind: trace.Get, ID: id("retry")}).end(trace.Line{Outcome: trace.NotFound, Err: "no such record", Definite: true})
		r := *b.put("w00.0", next)
		again := b.begin("w00.0", trace.Line{Kind: trace.Claim, ID: id("retry"), Next: &next})
		again.end(trace.Line{Won: true, Stands: &r})
		back := trace.Snapshot{ID: id("retry"), Fence: r.Fence, Nonce: r.Nonce}
		f := b.begin("w00.0", trace.Line{Kind: trace.Finish, ID: id("retry"), Next: &back})
		b.land(back)
		f.end(trace.Line{})
		b.success("w01.0", "retry", `1`)
	}},
	{"killed in a claim that landed", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		next := b.next(id("retry"), "new")
		d.part(trace.Line{Kind: trace.Claim, Next: &next})
		b.put("w00.0", next)
		b.kill("w00.0")
		d = b.do("w01.0", "retry")
		r := d.claim("same")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"killed in a claim that did not land", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		next := b.next(id("retry"), "new")
		d.part(trace.Line{Kind: trace.Claim, Next: &next})
		b.kill("w00.0")
		b.success("w01.0", "retry", `1`)
	}},
	{"killed in a finish that landed", true, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		done := over(r, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done})
		b.land(done)
		b.kill("w00.0")
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
	}},
	{"killed in a finish that landed, which only a log tells", false, 1, func(b *tale) {
		d := b.do("w00.0", "twice")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		done := over(r, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done})
		b.land(done)
		b.kill("w00.0")
		d = b.do("w01.0", "twice")
		next := b.next(id("twice"), "new")
		c := d.part(trace.Line{Kind: trace.Claim, Seen: b.version, Next: &next}) // its reader left no line
		r = b.put("w01.0", next)
		stands := *r
		c.end(trace.Line{Won: true, Stands: &stands})
		d.attempt(r, trace.Done, trace.OK, `2`)
		d.finish(r, "succeeded", `2`)
		d.end(trace.Line{Outcome: trace.OK, Value: `2`})
	}},
	{"killed in a finish that did not land", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		done := over(r, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done})
		b.kill("w00.0")
		d = b.do("w01.0", "retry")
		r = d.claim("same")
		d.attempt(r, trace.Done, trace.OK, `2`)
		d.finish(r, "succeeded", `2`)
		d.end(trace.Line{Outcome: trace.OK, Value: `2`})
	}},
	{"an outcome is recorded after its caller has left", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		done := over(r, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done}).end(trace.Line{Outcome: trace.Unknown, Err: "unavailable"})
		d.end(trace.Line{Outcome: trace.Unrecorded, Value: `1`})
		b.do("w01.0", "retry").answered(trace.InProgress, "")
		f := b.begin("w00.0", trace.Line{Kind: trace.Finish, ID: id("retry"), Next: &done})
		b.land(done)
		f.end(trace.Line{})
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
	}},
	{"an outcome that was answered from dies with its worker", false, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		done := over(r, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done}).end(trace.Line{Outcome: trace.Unknown, Err: "unavailable"})
		d.end(trace.Line{Outcome: trace.Unrecorded, Value: `1`})
		b.do("w00.0", "retry").end(trace.Line{Outcome: trace.Replayed, Value: `1`}) // and its count too
		b.kill("w00.0")
		d = b.do("w01.0", "retry")
		r = d.claim("same")
		d.attempt(r, trace.Done, trace.OK, `2`)
		d.finish(r, "succeeded", `2`)
		d.end(trace.Line{Outcome: trace.OK, Value: `2`})
	}},
	{"an outcome after the lease is gone, and nobody has claimed", true, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		from := b.tick()
		b.sleep(3 * sec)
		b.expire("s-w00.0")
		b.faults = append(b.faults, trace.Fault{At: from, Until: b.tick(), Kind: trace.FaultPause, Target: "w00.0", Beyond: true})
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a paused worker acts after it was taken over, and is refused", true, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		old := d.claim("new")
		from := b.tick()
		b.sleep(3 * sec)
		b.expire("s-w00.0")
		e := b.do("w01.0", "retry")
		r := e.claim("same")
		b.faults = append(b.faults, trace.Fault{At: from, Until: b.tick(), Kind: trace.FaultPause, Target: "w00.0", Beyond: true})
		e.attempt(r, trace.Done, trace.OK, `1`)
		d.attempt(old, trace.Done, trace.OK, `2`)
		done := over(old, "succeeded", `2`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done}).end(trace.Line{Outcome: trace.Fenced, Err: "fenced", Definite: true})
		d.end(trace.Line{Outcome: trace.Fenced, Value: `2`})
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a starved worker loses its lease", true, 0, func(b *tale) {
		d := b.do("w00.0", "retry")
		d.claim("new")
		b.sleep(3 * sec)
		b.expire("s-w00.0")
		e := b.do("w01.0", "retry")
		r := e.claim("same")
		e.attempt(r, trace.Done, trace.OK, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
		d.end(trace.Line{Outcome: trace.NotStarted, Err: "lease lost"})
	}},
	{"the watch of the store has a gap", true, 1, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.success("w00.0", "twice", `1`)
		b.writes = slices.DeleteFunc(b.writes, func(w trace.Write) bool { return w.Name == id("retry") })
	}},
	{"the tool of a forced call acts all the same", false, 0, func(b *tale) {
		d := b.do("w00.0", "block")
		old := d.claim("new")
		f := b.guard("w01.0", "block", trace.Force)
		r := f.claim("new")
		f.attempt(r, trace.Done, trace.OK, `2`)
		f.finish(r, "succeeded", `2`)
		f.end(trace.Line{Outcome: trace.OK, Value: `2`})
		d.attempt(old, trace.Done, trace.OK, `1`)
		done := over(old, "succeeded", `1`)
		d.part(trace.Line{Kind: trace.Finish, Next: &done}).end(trace.Line{Outcome: trace.Fenced, Err: "fenced", Definite: true})
		d.end(trace.Line{Outcome: trace.Fenced, Value: `1`})
	}},
	{"a force is killed before it runs, and the call runs again", false, 0, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		f := b.guard("w01.0", "retry", trace.Force)
		f.claim("new")
		b.kill("w01.0")
		d := b.do("w00.0", "retry")
		r := d.claim("same")
		d.attempt(r, trace.Done, trace.OK, `2`)
		d.finish(r, "succeeded", `2`)
		d.end(trace.Line{Outcome: trace.OK, Value: `2`})
	}},
	{"killed in a deletion that landed", false, 1, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		f := b.guard("w01.0", "retry", trace.Forget)
		f.part(trace.Line{Kind: trace.Delete, Seen: b.records[id("retry")].Version})
		b.kill("w01.0")
		delete(b.records, id("retry"))
	}},
	{"killed in a deletion that did not land", false, 0, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		f := b.guard("w01.0", "retry", trace.Forget)
		f.part(trace.Line{Kind: trace.Delete, Seen: b.records[id("retry")].Version})
		b.kill("w01.0")
		b.do("w00.0", "retry").answered(trace.Replayed, `1`)
	}},
	{"a worker remembers what is forgotten, for a moment", false, 0, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.forget("w01.0", "retry")
		b.do("w00.0", "retry").end(trace.Line{Outcome: trace.Replayed, Value: `1`}) // counted for no record
		b.success("w01.0", "retry", `2`)
	}},
	{"a killed worker takes its last second of counts along", false, 0, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
		b.kill("w01.0")
		b.blocked[id("retry")] = 0
	}},
	{"a killed worker whose disk stalled takes more of its counts along", false, 0, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
		d := b.do("w01.0", "block")
		next := b.next(id("block"), "new")
		d.part(trace.Line{Kind: trace.Claim, Next: &next})
		b.sleep(5 * sec)
		b.kill("w01.0")
		b.blocked[id("retry")] = 0
	}},
	{"an attempt that certainly did nothing, and another", false, 0, func(b *tale) {
		d := b.do("w00.0", "block")
		r := d.claim("new")
		d.attempt(r, trace.Denied, trace.ToolFailed, "not_done")
		d.finish(r, "failed", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "not_done"})
		b.success("w01.0", "block", `1`)
	}},
	{"a tool whose results are not kept", true, 0, func(b *tale) {
		d := b.do("w00.0", "quiet")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", "")
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
		b.do("w01.0", "quiet").answered(trace.Duplicate, "")
	}},
}

func TestSparedRuns(t *testing.T) {
	for _, tt := range sparedRuns {
		t.Run(tt.name, func(t *testing.T) {
			store := "sqlite"
			if tt.etcd {
				store = "etcd"
			}
			b := newTale(t, store)
			tt.tell(b)
			f := b.check(nil)
			unknown := 0
			for _, c := range f.Checks {
				unknown += c.Unknown
			}
			if !f.OK() || min(unknown, 1) != tt.unknown {
				tell(t, f)
				t.Errorf("violated: %v, unknown %d; want none, and %d or more", broken(f), unknown, tt.unknown)
			}
			if f.Calls == 0 {
				t.Error("nothing was checked")
			}
		})
	}
}

// What a SIGKILL cut short is left out; what is damaged otherwise is an error.
func TestDamagedFiles(t *testing.T) {
	dir := good(t, "sqlite").save()
	path := filepath.Join(dir, trace.HistoryFile("w00.0"))
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(`{"at":12345,"n":9`)
	if f, err := Run(t.Context(), dir, nil); err != nil || !f.OK() {
		t.Fatalf("a torn last line: %v", err)
	}
	add("\n")
	if _, err := Run(t.Context(), dir, nil); err == nil {
		t.Error("a line that is no JSON was read")
	}
	if _, err := Run(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("an empty directory was checked")
	}
}
