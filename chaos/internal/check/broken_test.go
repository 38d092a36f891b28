package check

import (
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// brokenRuns are runs in each of which something is wrong, and the invariants that have to say so, and no others.
var brokenRuns = []struct {
	name string
	etcd bool
	want []string
	tell func(b *tale)
}{
	{"claimed while the owner lives", false, []string{"I1", "L1"}, func(b *tale) {
		d, e := b.do("w00.0", "retry"), b.do("w01.0", "retry")
		d.claim("new")
		r := e.claim("same")
		e.attempt(r, trace.Done, trace.OK, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
		d.end(trace.Line{Outcome: trace.Fenced})
	}},
	{"claimed while the running key is there", true, []string{"I1"}, func(b *tale) {
		d, e := b.do("w00.0", "retry"), b.do("w01.0", "retry")
		d.claim("new")
		// Its session might have ended, says the history of faults; it did not, says the store.
		b.faults = append(b.faults, trace.Fault{At: b.tick(), Kind: trace.FaultRevoke, Target: "w00.0"})
		r := e.claim("same")
		e.attempt(r, trace.Done, trace.OK, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
		d.end(trace.Line{Outcome: trace.Fenced})
	}},
	{"claimed whatever stood", false, []string{"I1", "L1"}, func(b *tale) {
		d, e := b.do("w00.0", "token"), b.do("w01.0", "token")
		d.claim("new")
		delete(b.records, id("token")) // as if
		r := e.claim("new")
		e.attempt(r, trace.Done, trace.OK, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
		d.end(trace.Line{Outcome: trace.Fenced})
	}},
	{"a late copy of a settled claim lands", true, []string{"I1"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		next := b.next(id("retry"), "new")
		r := d.claimed(next, false)
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
		b.forget("w00.0", "retry")
		b.put("w00.0", next)
		delete(b.records, id("retry"))
	}},
	{"a running key goes away and its session does not", true, []string{"I1"}, func(b *tale) {
		b.success("w00.0", "token", `0`)
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		b.version++
		b.write("running", nil, id("retry"), true, "")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"stolen without a force", false, []string{"I1"}, func(b *tale) {
		d, e := b.do("w00.0", "retry"), b.do("w01.0", "retry")
		d.claim("new")
		r := e.claimed(b.next(id("retry"), "same"), true)
		e.attempt(r, trace.Done, trace.OK, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
		d.end(trace.Line{Outcome: trace.Fenced})
	}},
	{"a run succeeds twice", false, []string{"I2"}, func(b *tale) {
		b.success("w00.0", "twice", `1`)
		d := b.do("w01.0", "twice")
		r := d.claim("same")
		d.attempt(r, "", trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a result changes", false, []string{"I3"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.records[id("retry")].Result = `2`
	}},
	{"a result changes before it is read", true, []string{"I3", "L1"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		r := *b.records[id("retry")]
		r.Result = `2`
		b.begin("w01.0", trace.Line{Kind: trace.Get, ID: id("retry")}).end(trace.Line{Stands: &r})
	}},
	{"the world accepts an old fence", false, []string{"I4"}, func(b *tale) {
		d := b.do("w00.0", "fence")
		old := d.claim("new")
		d.attempt(old, "", "", "")
		b.kill("w00.0")
		e := b.do("w01.0", "fence")
		r := e.claim("ask")
		q := e.part(trace.Line{Kind: trace.Query, Fence: r.Fence, Token: r.Token})
		e.effect(r, trace.Asked, "")
		q.end(trace.Line{})
		next := b.next(id("fence"), "same")
		next.Log[len(next.Log)-1].Outcome = "settled"
		r = e.claimed(next, true)
		e.attempt(r, trace.Done, trace.OK, `1`)
		d.effect(old, trace.Known, `1`)
		e.finish(r, "succeeded", `1`)
		e.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"an old outcome is written over a new claim", false, []string{"I4", "I6", "I14", "L1"}, func(b *tale) {
		d := b.do("w00.0", "token")
		old := d.claim("new")
		d.attempt(old, trace.Done, trace.OK, `1`)
		f := b.guard("w01.0", "token", trace.Force)
		r := f.claim("new")
		d.finish(old, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
		f.attempt(r, "", trace.ToolFailed, "uncertain")
		f.end(trace.Line{Outcome: trace.Fenced})
	}},
	{"a call that blocks in doubt acts twice", false, []string{"I5"}, func(b *tale) {
		d := b.do("w00.0", "block")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		d.finish(r, "in_doubt", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
		f := b.guard("w01.0", "block", trace.Force)
		r = f.claim("same") // a force has to take a new token
		f.attempt(r, trace.Done, trace.OK, `1`)
		f.finish(r, "succeeded", `1`)
		f.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a done call taken for a failed one acts twice", true, []string{"I5"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "failed", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "not_done"})
		b.success("w01.0", "retry", `2`)
	}},
	{"a world that knows tokens acts twice", false, []string{"I5"}, func(b *tale) {
		d := b.do("w00.0", "token")
		d.attempt(d.claim("new"), trace.Done, "", `1`)
		b.kill("w00.0")
		b.success("w01.0", "token", `2`) // the takeover has to keep the token
	}},
	{"one attempt acts twice", false, []string{"I5"}, func(b *tale) {
		b.success("w00.0", "ask", `1`)
		b.effects = append(b.effects, b.effects[0])
	}},
	{"an acknowledged success is gone", false, []string{"I6"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		delete(b.records, id("retry"))
	}},
	{"a record vanishes from the store", true, []string{"I6"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.kill("w00.0") // and the record was on its lease
		b.version++
		b.write("record", nil, id("retry"), true, "")
		delete(b.records, id("retry"))
	}},
	{"an acknowledged outcome is lost, and the call claimed over what was before", false, []string{"I4", "I6", "L1"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		before := *b.records[id("retry")]
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		d.finish(r, "in_doubt", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
		b.kill("w00.0")
		b.records[id("retry")] = &before
		d = b.do("w01.0", "retry")
		r = d.claim("same")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a call has no end", false, []string{"I7"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w00.0", "retry")
	}},
	{"a call ends with an error that says nothing", false, []string{"I7"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w00.0", "retry").end(trace.Line{Outcome: trace.Unknown, Err: "EOF"})
	}},
	{"a call takes longer than its deadline", false, []string{"I7"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		d := b.do("w00.0", "retry")
		b.sleep(80 * sec)
		d.answered(trace.Replayed, `1`)
	}},
	{"a call stays in doubt", true, []string{"I7"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		d.finish(r, "in_doubt", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
	}},
	{"a replay makes a result up", false, []string{"I8"}, func(b *tale) {
		b.success("w00.0", "twice", `1`)
		b.success("w00.0", "twice", `2`)
		b.do("w01.0", "twice").answered(trace.Replayed, `3`)
	}},
	{"an effect without a grant", false, []string{"I9"}, func(b *tale) {
		b.do("w00.0", "retry").effect(&trace.Snapshot{Fence: 7, Token: "t"}, trace.Denied, "")
		b.lines["w00.0"] = nil
	}},
	{"an effect before the claim is answered", false, []string{"I9"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.effects[0].At = sec
	}},
	{"an effect by another than was granted it", false, []string{"I9"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.effects[0].Worker = "w01.0"
	}},
	{"a success without an effect", true, []string{"I10"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.effects = nil
	}},
	{"a success with another result than its effect", false, []string{"I10"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.effects[0].Result = `2`
	}},
	{"two tools are told the same fence", false, []string{"I11"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, "", trace.ToolFailed, "not_done")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a fence from a counter of one's own", false, []string{"I11"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		c := d.part(trace.Line{Kind: trace.Claim})
		next := b.next(id("retry"), "new")
		r := b.put("w00.0", next)
		r.Fence = 101
		c.line.Next = &next
		b.lines["w00.0"][len(b.lines["w00.0"])-1].Next = &next
		stands := *r
		c.end(trace.Line{Won: true, Stands: &stands})
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a version returns after a deletion", false, []string{"I1", "I11"}, func(b *tale) {
		b.version = 10
		b.success("w00.0", "retry", `1`)
		b.forget("w00.0", "retry")
		b.version = 2
		b.success("w00.0", "retry", `2`)
	}},
	{"a blocked call runs", false, []string{"I11", "I12"}, func(b *tale) {
		r := b.success("w00.0", "retry", `1`)
		d := b.do("w00.0", "retry")
		d.attempt(r, "", trace.OK, `1`)
		d.answered(trace.Replayed, `1`)
	}},
	{"a call that was told not to have started runs", false, []string{"I12"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.NotStarted, Err: "unavailable"})
	}},
	{"a call that was not started runs", false, []string{"I11", "I12"}, func(b *tale) {
		r := b.success("w00.0", "retry", `1`)
		d := b.do("w00.0", "retry")
		d.attempt(r, "", trace.OK, `1`)
		d.end(trace.Line{Outcome: trace.NotStarted, Err: "unavailable"})
	}},
	{"an uncertain error is recorded as failed", false, []string{"I13"}, func(b *tale) {
		d := b.do("w00.0", "block")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		d.finish(r, "failed", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
	}},
	{"a policy is loosened", true, []string{"I13"}, func(b *tale) {
		d := b.do("w00.0", "block")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		d.finish(r, "in_doubt", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
		f := b.guard("w01.0", "block", trace.Force)
		next := b.next(id("block"), "new")
		next.InDoubt = "retry"
		r = f.claimed(next, true)
		f.attempt(r, trace.Done, trace.OK, `1`)
		f.finish(r, "succeeded", `1`)
		f.end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a call in doubt runs again by itself", false, []string{"I13"}, func(b *tale) {
		d := b.do("w00.0", "block")
		r := d.claim("new")
		d.attempt(r, trace.Done, "", "")
		b.kill("w00.0")
		d = b.do("w01.0", "block")
		r = d.claim("same")
		d.attempt(r, "", trace.ToolFailed, "uncertain")
		d.finish(r, "in_doubt", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
	}},
	{"a reconciled call runs again without a question", false, []string{"I13"}, func(b *tale) {
		d := b.do("w00.0", "ask")
		r := d.claim("new")
		d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
		next := b.next(id("ask"), "same")
		next.Log[len(next.Log)-1].Outcome = "in_doubt"
		r = d.claimed(next, true)
		d.attempt(r, "", trace.ToolFailed, "not_done")
		d.finish(r, "failed", "")
		d.end(trace.Line{Outcome: trace.ToolFailed, Value: "not_done"})
	}},
	{"a blocked call is not counted", false, []string{"I14"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
		b.blocked[id("retry")]--
	}},
	{"a killed worker's blocked call is not counted in seconds", false, []string{"I14"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
		b.sleep(5 * sec)
		b.kill("w01.0")
		b.blocked[id("retry")] = 0
	}},
	{"a blocked call is counted twice", true, []string{"I14"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").answered(trace.Replayed, `1`)
		b.blocked[id("retry")]++
	}},
	{"a success is not counted", false, []string{"I14"}, func(b *tale) {
		b.success("w00.0", "twice", `1`)
		b.success("w00.0", "twice", `2`)
		b.records[id("twice")].Executed--
	}},
	{"a start is not counted", false, []string{"I14"}, func(b *tale) {
		b.success("w00.0", "twice", `1`)
		b.success("w00.0", "twice", `2`)
		b.records[id("twice")].Starts--
	}},
	{"a read goes back in time", false, []string{"L1"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		old := *r
		d.attempt(r, trace.Done, trace.OK, `1`)
		d.finish(r, "succeeded", `1`)
		d.end(trace.Line{Outcome: trace.OK, Value: `1`})
		b.begin("w01.0", trace.Line{Kind: trace.Get, ID: id("retry")}).end(trace.Line{Stands: &old})
	}},
	{"a claim is refused for no reason", false, []string{"L1"}, func(b *tale) {
		b.success("w00.0", "twice", `1`)
		r, next := *b.records[id("twice")], b.next(id("twice"), "new")
		b.begin("w01.0", trace.Line{Kind: trace.Claim, ID: id("twice"), Seen: r.Version, Next: &next}).end(trace.Line{Stands: &r})
	}},
	{"a deletion of a running record", false, []string{"L1"}, func(b *tale) {
		d := b.do("w00.0", "retry")
		r := d.claim("new")
		b.begin("w01.0", trace.Line{Kind: trace.Delete, ID: id("retry"), Seen: r.Version}).end(trace.Line{Outcome: trace.OK})
		d.attempt(r, "", trace.ToolFailed, "not_done")
		d.end(trace.Line{Outcome: trace.Fenced})
		delete(b.records, id("retry"))
	}},
	{"a duplicate before the first success", true, []string{"L2"}, func(b *tale) {
		b.do("w00.0", "retry").answered(trace.Duplicate, "")
		b.success("w00.0", "retry", `1`)
	}},
	{"two callers succeed", false, []string{"L2"}, func(b *tale) {
		b.success("w00.0", "retry", `1`)
		b.do("w01.0", "retry").end(trace.Line{Outcome: trace.OK, Value: `1`})
	}},
	{"a replay of what comes only later", false, []string{"I8", "L2"}, func(b *tale) {
		b.do("w00.0", "retry").answered(trace.Replayed, `1`)
		b.success("w00.0", "retry", `1`)
	}},
}

// names of the invariants that a broken run is caught by, and by no other.
func alone() []string {
	var names []string
	for _, r := range brokenRuns {
		if len(r.want) == 1 && !slices.Contains(names, r.want[0]) {
			names = append(names, r.want[0])
		}
	}
	return names
}
