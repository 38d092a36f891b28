package explore

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

var full = flag.Bool("full", false, "larger budgets: minutes instead of seconds")

func TestRun(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine; the race detector only makes it slow")
	}
	r, err := Run(t.Context(), Options{Full: *full})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.Table())
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(r.Cells) != 35 || r.States < 100_000 {
		t.Errorf("%d cells, %d states", len(r.Cells), r.States)
	}
	for _, step := range steps {
		if r.Steps[step] == 0 {
			t.Errorf("no search ever came to: %s", step)
		}
	}
	for step := range r.Steps {
		if !slices.Contains(steps, step) {
			t.Errorf("a step that the test does not know: %q", step)
		}
	}
	if table := r.Table(); strings.Count(table, "[") != 25 || strings.Contains(table, "BROKEN") {
		t.Error("the table does not show 25 entries that hold")
	}
}

// The table of bounds in design.md, entry by entry.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		policy ledger.DoubtPolicy
		world  worldKind
		want   [len(faultNames)]bool // one per takeover
	}{
		{ledger.DoubtRetry, plain, [...]bool{crashAfter: true, pauseLate: true, partition: true}},
		{ledger.DoubtRetry, honours, [len(faultNames)]bool{}},
		{ledger.DoubtReconcile, honours, [len(faultNames)]bool{}},
		{ledger.DoubtBlock, honours, [len(faultNames)]bool{}},
		{ledger.DoubtBlock, plain, [len(faultNames)]bool{}},
		{ledger.DoubtReconcile, plain, [...]bool{pauseLate: true, partition: true}},
		{ledger.DoubtReconcile, refuses, [len(faultNames)]bool{}},
	} {
		for f, want := range tt.want {
			c := config{fault: fault(f), policy: tt.policy, world: tt.world}
			if got := c.bound(2) == 3; got != want {
				t.Errorf("%v: one per takeover is %v, want %v", c, got, want)
			}
		}
	}
}

func TestSameTwice(t *testing.T) {
	c := config{fault: crashBefore, policy: ledger.DoubtReconcile, world: refuses, budget: budget{calls: 3, crashes: 2}}
	var mem memory
	first, err := c.run(t.Context(), &mem, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.run(t.Context(), &mem, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if first.states != second.states || first.transitions != second.transitions || first.depth != second.depth || first.states < 1000 {
		t.Errorf("%d states, %d transitions, depth %d; then %d, %d, %d", first.states, first.transitions, first.depth, second.states, second.transitions, second.depth)
	}
}

// A cell is not OK where its bound is never reached, or a run that is over had too few effects.
func TestCellIsJudged(t *testing.T) {
	found := func(most1, most2, max, min int) *search {
		f := &search{max: max, min: min, takeovers: 2}
		f.most[1], f.most[2] = most1, most2
		return f
	}
	perTakeover := config{fault: crashAfter, policy: ledger.DoubtRetry}
	one := config{fault: crashAfter, policy: ledger.DoubtReconcile}
	for _, tt := range []struct {
		name  string
		c     config
		found *search
		ok    bool
	}{
		{"reached", perTakeover, found(2, 3, 3, 1), true},
		{"not with two takeovers", perTakeover, found(2, 2, 2, 1), false},
		{"not with one", perTakeover, found(1, 3, 3, 1), false},
		{"one", one, found(1, 1, 1, 1), true},
		{"none ever", one, found(0, 0, 0, 1), false},
		{"a run without an effect", one, found(1, 1, 1, 0), false},
		{"nothing ended", one, found(1, 1, 1, -1), false},
	} {
		if got := tt.c.cell(tt.found).OK; got != tt.ok {
			t.Errorf("%s: OK is %v, want %v", tt.name, got, tt.ok)
		}
	}
	broken := found(1, 1, 1, 1)
	broken.violations = []Violation{{Invariant: "I5"}}
	if one.cell(broken).OK {
		t.Error("a cell with a violation is OK")
	}
}

func TestRunStops(t *testing.T) {
	if _, err := Run(t.Context(), Options{MaxStates: 100}); !errors.Is(err, errTooMany) {
		t.Errorf("with MaxStates 100: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

func TestErrTellsAll(t *testing.T) {
	if (&Result{}).OK() {
		t.Error("a result of no search is OK")
	}
	r := Result{
		Cells:      []Cell{{Fault: "fine", OK: true}, {Fault: "storm", Bound: "1", Max: 2}},
		Violations: []Violation{{Invariant: "I11", Text: "fences shrink", Trace: []string{" 1. worker 1 sneezes"}}},
	}
	got := r.Err().Error()
	for _, want := range []string{"storm", "seen 0 to 2", "I11", "worker 1 sneezes"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "fine") {
		t.Errorf("%q tells of what is fine", got)
	}
}

func TestResultAsJSON(t *testing.T) {
	r := Result{Cells: []Cell{{Fault: "f", Bound: "1", Max: 1}}, Violations: []Violation{}}
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"states":0`, `"fault":"f"`, `"bound":"1"`, `"max":1`, `"violations":[]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}
