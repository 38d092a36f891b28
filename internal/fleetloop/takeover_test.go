//go:build linux

package fleetloop

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// leaseTTL is short, so that the tests do not wait for long. Nothing depends on it.
const leaseTTL = 5 * time.Second

// holding lets the worker run a call whose tool is held, and returns the
// call, what it has done, and the lease that it is under.
func (f *fleet) holding(p *proc, a ask) (c *call, done effect, lease int64) {
	f.Helper()
	c = p.call(a)
	done = c.running().Effect
	kv, _ := f.get(f.keys(a.Tool, a.Key).running)
	if kv == nil || kv.ModRevision != int64(done.Fence) || kv.Lease == 0 {
		f.Fatalf("%s %s runs under fence %d; its running key is %v", a.Tool, a.Key, done.Fence, kv)
	}
	return c, done, kv.Lease
}

// pester makes the call again and again until it is not in progress any more.
// That may be only once the cluster says that the lease is over.
func (f *fleet) pester(p *proc, tool, key string, lease int64) (last event) {
	f.Helper()
	tries := 0
	f.until(tool+" "+key+" is in progress no more", func() bool {
		tries++
		last = p.do(tool, key)
		lives := f.leaseLives(lease) // asked after the answer: so it lived then
		if lives && !last.is("in progress") {
			f.Errorf("%s %s: while the owner's lease lived, another worker got %+v", tool, key, last)
			return true
		}
		return !last.is("in progress")
	})
	f.Logf("%s %s: %d tries", tool, key, tries)
	return last
}

// A worker is killed while its tools run: another takes the calls over once
// the cluster has let go of its lease, not before.
//
//	go test ./internal/fleetloop -v -run TestKilledWorker
func TestKilledWorker(t *testing.T) {
	f := newFleet(t, 1, leaseTTL)
	victim, other := f.start(), f.start()
	type held struct {
		tool  string
		done  effect
		lease int64
		kv    *mvccpb.KeyValue // the record
	}
	var all []held
	for _, tool := range []string{"replay", "wait", "block"} {
		_, done, lease := f.holding(victim, ask{Tool: tool, Key: tool, Held: "told"})
		kv, _ := f.get(f.keys(tool, tool).record)
		all = append(all, held{tool, done, lease, kv})
	}
	for _, h := range all {
		if h.tool != "wait" {
			if e := other.do(h.tool, h.tool); !e.is("in progress") {
				t.Fatalf("%s: while it runs, another worker got %+v", h.tool, e)
			}
		}
	}
	waiter := other.call(ask{Tool: "wait", Key: "wait"})
	victim.kill()
	for _, h := range all {
		var e event
		if h.tool == "wait" {
			e = waiter.wait()
		} else {
			e = f.pester(other, h.tool, h.tool, h.lease)
		}
		if h.tool == "block" {
			f.blocked(other, e, h.kv)
			f.wantEffects(h.tool, h.done.Fence)
			continue
		}
		next := e.Effect
		if e.Err != "" || e.Replayed || e.Value != next.value() {
			t.Errorf("%s: after the owner's death another worker got %+v", h.tool, e)
		}
		f.tookOver(h.tool, h.tool, h.lease, h.done.Fence, next.Fence)
		f.wantEffects(h.tool, h.done.Fence, next.Fence)
		if next.Token != h.done.Token || next.Attempt != 2 || next.PID != other.pid {
			t.Errorf("%s: taken over by %+v after %+v; want the same token, a second attempt, process %d", h.tool, next, h.done, other.pid)
		}
		f.wantTakenOver(h.tool, h.tool, h.done, next)
		if e := other.do(h.tool, h.tool); !e.Replayed || e.Value != next.value() {
			t.Errorf("%s: a duplicate got %+v; want %q", h.tool, e, next.value())
		}
	}
	select {
	case e := <-waiter.over:
		t.Errorf("the waiter answered twice: %+v", e)
	default:
	}
}

// blocked checks that a call in doubt is not run, and that its record is what its dead owner left.
func (f *fleet) blocked(p *proc, e event, before *mvccpb.KeyValue) {
	f.Helper()
	for range 3 {
		if !e.is("in doubt") || !e.is("blocked") || e.Effect.Fence != 0 {
			f.Errorf("after the owner's death another worker got %+v; want it in doubt", e)
		}
		e = p.do("block", "block")
	}
	k := f.keys("block", "block")
	if kv, _ := f.get(k.running); kv != nil {
		f.Errorf("in doubt, and claimed by %v", kv)
	}
	kv, _ := f.get(k.record)
	f.same("block", kv, before)
	if kv.Lease != 0 {
		f.Errorf("the evidence of a call in doubt is leased: %v", kv)
	}
}

// same checks that a record was not written meanwhile.
func (f *fleet) same(what string, got, want *mvccpb.KeyValue) {
	f.Helper()
	if got == nil || want == nil || got.ModRevision != want.ModRevision || string(got.Value) != string(want.Value) {
		f.Errorf("%s: the record is\n%v\nwant it unchanged\n%v", what, got, want)
	}
}

// wantTakenOver checks what the record tells of both attempts.
func (f *fleet) wantTakenOver(tool, key string, first, second effect) {
	f.Helper()
	r, err := f.open(etcdstore.Options{}).Get(f.ctx, f.id(tool, key))
	if err != nil {
		f.Fatal(err)
	}
	if r.State != ledger.StateSucceeded || r.Fence != second.Fence || r.Takeovers != 1 || len(r.Log) != 2 || r.Token != first.Token ||
		r.Log[0].Fence != first.Fence || r.Log[0].Outcome != ledger.OutcomeLost || r.Log[0].Owner.PID != first.PID || r.Log[1].Outcome != ledger.OutcomeSucceeded ||
		string(r.Result) != fmt.Sprintf("%q", second.value()) {
		f.Errorf("%s %s: the record is %+v; want a success of %+v after a lost attempt %+v", tool, key, r, second, first)
	}
}

// A worker is stopped for longer than its lease while its tools run. When it
// goes on, its tools are cancelled, and what it has to say is refused where another has taken over.
//
//	go test ./internal/fleetloop -v -run TestStoppedWorker
func TestStoppedWorker(t *testing.T) {
	f := newFleet(t, 1, leaseTTL)
	victim, other := f.start(), f.start()
	value, valueDone, lease := f.holding(victim, ask{Tool: "replay", Key: "value", Held: "cancelled"})
	failure, failureDone, _ := f.holding(victim, ask{Tool: "replay", Key: "failure", Held: "cancelled", Fail: true})
	block, blockDone, _ := f.holding(victim, ask{Tool: "block", Key: "block", Held: "cancelled"})
	before, _ := f.get(f.keys("block", "block").record)
	stop(t, victim.pid)

	stands := map[string]*mvccpb.KeyValue{}
	for key, first := range map[string]effect{"value": valueDone, "failure": failureDone} {
		e := f.pester(other, "replay", key, lease)
		if e.Err != "" || e.Value != e.Effect.value() {
			t.Fatalf("%s: beyond the owner's lease another worker got %+v", key, e)
		}
		f.tookOver("replay", key, lease, first.Fence, e.Effect.Fence)
		f.wantTakenOver("replay", key, first, e.Effect)
		f.wantEffects(key, first.Fence, e.Effect.Fence)
		stands[key], _ = f.get(f.keys("replay", key).record)
	}
	f.blocked(other, f.pester(other, "block", "block", lease), before)

	resume(t, victim.pid)
	for _, c := range []*call{value, failure} {
		key := c.ask.Key
		e := c.wait()
		if !e.is("unrecorded") || !e.is("fenced") || e.is("unavailable") || e.is("blocked") {
			t.Errorf("%s: the late answer got %q (%v); want it unrecorded, and fenced", key, e.Err, e.Is)
		}
		if e.Cause != ledger.ErrLeaseLost.Error() {
			t.Errorf("%s: the tool's context was cancelled with %q; want %q", key, e.Cause, ledger.ErrLeaseLost)
		}
		if want := e.Effect.value(); !c.ask.Fail && e.Value != want {
			t.Errorf("%s: the late caller got the value %q; want its own, %q", key, e.Value, want)
		}
		kv, _ := f.get(f.keys("replay", key).record)
		f.same(key, kv, stands[key])
		for _, p := range []*proc{other, victim} {
			if e := p.do("replay", key); !e.Replayed || e.Err != "" || e.Value == c.effectValue(valueDone, failureDone) {
				t.Errorf("%s: a duplicate in process %d got %+v; want the takeover's result", key, p.pid, e)
			}
		}
		f.wantClaims("replay", key, 2)
	}
	// Nobody has claimed this one, so its outcome is welcome however late.
	e := block.wait()
	if e.Err != "" || e.Value != blockDone.value() || e.Cause != ledger.ErrLeaseLost.Error() {
		t.Errorf("block: the late answer, with nobody in between, got %+v", e)
	}
	if e := other.do("block", "block"); !e.Replayed || e.Value != blockDone.value() {
		t.Errorf("block: a duplicate got %+v; want %q", e, blockDone.value())
	}
	f.wantEffects("block", blockDone.Fence)
	// It goes on with a session of its own.
	if e := victim.do("replay", "next"); e.Err != "" || e.Effect.PID != victim.pid {
		t.Errorf("the next call of the worker that was stopped: %+v", e)
	}
}

// effectValue is what the call's own, late, attempt would have returned.
func (c *call) effectValue(done ...effect) string {
	for _, e := range done {
		if e.Key == c.ask.Key {
			return e.value()
		}
	}
	return ""
}

// wantClaims checks how often the call was ever claimed.
func (f *fleet) wantClaims(tool, key string, want int) {
	f.Helper()
	got := 0
	for _, e := range f.history(f.keys(tool, key).running) {
		if e.IsCreate() || e.IsModify() {
			got++
		}
	}
	if got != want {
		f.Errorf("%s %s: claimed %d times; want %d", tool, key, got, want)
	}
}
