package check

import (
	"slices"
	"testing"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// good is a run in which all is well and all invariants have something to say about.
func good(t testing.TB, store string) *tale {
	b := newTale(t, store)
	// A success, a replay, a duplicate, a force, a forget and another success.
	b.success("w00.0", "retry", `"a"`)
	b.do("w01.0", "retry").answered(trace.Replayed, `"a"`)
	f := b.guard("w01.0", "retry", trace.Force)
	r := f.claim("new")
	f.attempt(r, trace.Done, trace.OK, `"b"`)
	f.finish(r, "succeeded", `"b"`)
	f.end(trace.Line{Outcome: trace.OK, Value: `"b"`})
	b.do("w00.0", "retry").answered(trace.Replayed, `"b"`)
	b.forget("w00.0", "retry")
	b.success("w01.0", "retry", `"c"`)
	b.sleep(3 * sec)
	b.do("w00.0", "retry").answered(trace.Duplicate, "")
	// A worker dies after the effect; the takeover asks, and records it.
	d := b.do("w02.0", "fence")
	r = d.claim("new")
	d.attempt(r, trace.Done, "", `"d"`)
	b.kill("w02.0")
	d = b.do("w00.0", "fence")
	r = d.claim("ask")
	q := d.part(trace.Line{Kind: trace.Query, Fence: r.Fence, Token: r.Token})
	d.effect(r, trace.Asked, `"d"`)
	q.end(trace.Line{Value: `"d"`})
	done := over(r, "succeeded", `"d"`)
	done.Settled = "happened"
	x := d.part(trace.Line{Kind: trace.Finish, Next: &done})
	b.land(done)
	x.end(trace.Line{Outcome: trace.OK})
	d.answered(trace.Replayed, `"d"`)
	// An uncertain error under block, blocked, and settled by a person.
	d = b.do("w00.0", "block")
	r = d.claim("new")
	d.attempt(r, trace.Done, trace.ToolFailed, "uncertain")
	d.finish(r, "in_doubt", "")
	d.end(trace.Line{Outcome: trace.ToolFailed, Value: "uncertain"})
	b.do("w01.0", "block").answered(trace.InDoubt, "")
	d = b.guard("w01.0", "block", trace.Resolve)
	r = d.claim("ask")
	settled := over(r, "succeeded", "")
	settled.Settled = "happened"
	x = d.part(trace.Line{Kind: trace.Finish, Next: &settled})
	b.land(settled)
	x.end(trace.Line{Outcome: trace.OK})
	d.end(trace.Line{Outcome: trace.OK})
	for i := range b.lines["w01.0"] { // in its first line
		if l := &b.lines["w01.0"][i]; l.Kind == trace.Resolve && !l.End {
			l.As = "happened"
		}
	}
	// A worker dies before the effect; the takeover runs it with the same token.
	d = b.do("w03.0", "token")
	d.attempt(d.claim("new"), trace.Done, "", `"e"`)
	b.kill("w03.0")
	d = b.do("w00.0", "token")
	r = d.claim("same")
	d.attempt(r, trace.Known, trace.OK, `"e"`)
	d.finish(r, "succeeded", `"e"`)
	d.end(trace.Line{Outcome: trace.OK, Value: `"e"`})
	// Two successes.
	b.success("w00.0", "twice", `"f"`)
	b.success("w01.0", "twice", `"g"`)
	b.do("w01.0", "twice").answered(trace.Duplicate, "")
	b.sleep(3 * sec)
	return b
}

func TestGoodRun(t *testing.T) {
	for _, store := range []string{"sqlite", "etcd"} {
		t.Run(store, func(t *testing.T) {
			f := good(t, store).check(nil)
			tell(t, f)
			if !f.OK() {
				t.Errorf("violated: %v", broken(f))
			}
			for _, c := range f.Checks {
				if c.Checked == 0 || c.Unknown != 0 {
					t.Errorf("%s: checked %d, unknown %d; want some and none", c.Invariant, c.Checked, c.Unknown)
				}
			}
			if f.IDs != 5 || f.Grants != 11 || f.Takeovers != 2 || f.Open != 2 || f.Outcomes[trace.OK] != 6 || f.Effects[trace.Done] != 8 {
				t.Errorf("figures: %d IDs, %d grants, %d takeovers, %d open, outcomes %v, effects %v", f.IDs, f.Grants, f.Takeovers, f.Open, f.Outcomes, f.Effects)
			}
			if n := f.Histogram["retry/plain"]; n[1] != 5 || len(n) != 1 {
				t.Errorf("histogram of retry/plain: %v", n)
			}
		})
	}
}

func TestBrokenRuns(t *testing.T) {
	for _, tt := range brokenRuns {
		t.Run(tt.name, func(t *testing.T) {
			store := "sqlite"
			if tt.etcd {
				store = "etcd"
			}
			b := newTale(t, store)
			tt.tell(b)
			f := b.check(nil)
			if got := broken(f); !slices.Equal(got, tt.want) {
				tell(t, f)
				t.Errorf("violated: %v; want %v", got, tt.want)
			}
			if len(f.Violations) == 0 || f.Violations[0].Text == "" || f.OK() {
				t.Errorf("there is no violation in the findings")
			}
		})
	}
}

// Each invariant has a broken run that it alone reports.
func TestBrokenRunsAreComplete(t *testing.T) {
	names := alone()
	for _, inv := range trace.Invariants {
		if !slices.Contains(names, inv.Name) {
			t.Errorf("no broken run is caught by %s alone", inv.Name)
		}
	}
}
