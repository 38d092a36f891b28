package report

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func TestDensest(t *testing.T) {
	for name, tc := range map[string]struct {
		moments []moment
		from    int64
	}{
		"none":       {nil, 0},
		"one":        {[]moment{{100, 1}}, 95},
		"the crowd":  {[]moment{{0, 1}, {50, 1}, {52, 1}, {54, 1}, {90, 1}}, 47},
		"the heavy":  {[]moment{{0, 1}, {1, 1}, {90, 5}}, 85},
		"out of row": {[]moment{{54, 1}, {0, 1}, {52, 1}, {50, 1}}, 47},
	} {
		from, to := densest(slices.Clone(tc.moments), 10)
		want := tc.from + 10
		if len(tc.moments) == 0 {
			want = 0
		}
		if from != tc.from || to != want {
			t.Errorf("%s: %d to %d, want %d to %d", name, from, to, tc.from, want)
		}
	}
}

// What was begun before the window and what never ends belong to it; what is over, or comes later, does not.
func TestScan(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/" + trace.HistoryFile("w00.0")
	line := func(at int64, n uint64, end bool) trace.Line {
		return trace.Line{At: at, N: n, End: end, Kind: trace.Do, ID: "x"}
	}
	writeLines(t, file, []trace.Line{
		line(1, 1, false), line(2, 1, true), // over
		line(3, 2, false), line(15, 2, true), // reaches into it
		line(4, 3, false),                     // has no end
		line(12, 4, false), line(13, 4, true), // within
		{At: 12, N: 9, Kind: trace.Claim},     // of the store
		line(14, 5, false), line(90, 5, true), // reaches out of it
		line(30, 6, false), line(31, 6, true), // later
	})
	got := map[uint64]int64{}
	if err := scan(file, 10, 20, func(op) bool { return true }, func(o op) { got[o.N] = o.To }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[2] != 15 || got[3] != math.MaxInt64 || got[4] != 13 || got[5] != 90 {
		t.Errorf("got %v, want 2, 3 (open), 4 and 5", got)
	}
}

// A history is not read on after the window, once all that was in it has ended.
func TestScanStopsAfterTheWindow(t *testing.T) {
	file := t.TempDir() + "/h.jsonl"
	writeLines(t, file, []any{
		trace.Line{At: 1, N: 1, Kind: trace.Do}, trace.Line{At: 2, N: 1, End: true, Kind: trace.Do},
		trace.Line{At: 5 * slack, N: 2, Kind: trace.Do}, "not a line",
	})
	n := 0
	if err := scan(file, 0, 10, func(op) bool { return true }, func(op) { n++ }); err != nil || n != 1 {
		t.Errorf("%d operations, %v; want 1 and no error", n, err)
	}
}

// The window is narrowed until the picture is complete with few shapes; what happens all at once is cut, and counted.
func TestNarrow(t *testing.T) {
	sc := &scene{from: 0, to: int64(3 * time.Second), ops: map[string][]op{}, focus: "keep"}
	for i := range int64(20_000) {
		at := i * 150_000
		sc.ops["w00.0"] = append(sc.ops["w00.0"], op{From: at, To: at + 1000})
	}
	sc.narrow()
	if n := len(sc.ops["w00.0"]); n > maxShapes || n < maxShapes/3 || sc.left != 0 {
		t.Errorf("%d operations and %d left out, want a complete window of less than %d", n, sc.left, maxShapes)
	}
	sc = &scene{from: 0, to: int64(time.Second), ops: map[string][]op{}, focus: "keep"}
	for range 5000 {
		sc.ops["w00.0"] = append(sc.ops["w00.0"], op{From: 0, To: int64(time.Second)})
	}
	sc.ops["w01.0"] = []op{{From: 0, To: int64(time.Second), ID: "keep"}}
	sc.narrow()
	if len(sc.ops["w00.0"]) != maxShapes || sc.left != 3000 || len(sc.ops["w01.0"]) != 1 {
		t.Errorf("%d operations, %d left out, %d of the focus; want %d, 3000 and 1", len(sc.ops["w00.0"]), sc.left, len(sc.ops["w01.0"]), maxShapes)
	}
}

// Two hands of a process do not cover each other; an attempt lies in its call.
func TestRows(t *testing.T) {
	rows, used := rowsOf([]op{
		{N: 1, From: 0, To: 10}, {N: 2, In: 1, From: 2, To: 8}, {N: 3, From: 5, To: 20}, {N: 4, From: 12, To: 14}, {N: 5, In: 99, From: 13, To: math.MaxInt64},
	}, 30)
	if want := []int{0, 0, 1, 0, 2}; !slices.Equal(rows, want) || used != 3 {
		t.Errorf("rows %v of %d, want %v of 3", rows, used, want)
	}
}

// The picture of a known scene: who is in which lane, and how each thing looks.
func TestLanesOfAKnownRun(t *testing.T) {
	dir := t.TempDir()
	const ms, id = int64(time.Millisecond), "order-1/charge_card/ff"
	if err := trace.Save(dir+"/"+trace.RunFile, trace.Run{Schema: trace.Schema, Layer: "points", From: 0, To: 4000 * ms}); err != nil {
		t.Fatal(err)
	}
	writeLines(t, dir+"/"+trace.HistoryFile("w00.0"), []trace.Line{
		{At: 100 * ms, N: 1, Kind: trace.Do, ID: id}, {At: 150 * ms, N: 2, In: 1, Kind: trace.Attempt, ID: id, Fence: 7},
	})
	writeLines(t, dir+"/"+trace.HistoryFile("w01.0"), []trace.Line{
		{At: 2000 * ms, N: 1, Kind: trace.Do, ID: id}, {At: 2100 * ms, N: 2, In: 1, Kind: trace.Attempt, ID: id, Fence: 9},
		{At: 2200 * ms, N: 2, End: true, Kind: trace.Attempt, Outcome: trace.OK}, {At: 2300 * ms, N: 1, End: true, Kind: trace.Do, Outcome: trace.OK},
	})
	writeLines(t, dir+"/"+trace.FaultsFile, []trace.Fault{
		{At: 10 * ms, Kind: trace.FaultStart, Target: "w00.0"}, {At: 300 * ms, Kind: trace.FaultKill, Target: "w00.0", InCall: true},
		{At: 500 * ms, Until: 1500 * ms, Kind: trace.FaultPause, Target: "w01.0", Beyond: true}, {At: 600 * ms, Until: 1200 * ms, Kind: trace.FaultMember, Target: "member-2"},
		{At: 700 * ms, Until: 900 * ms, Kind: trace.FaultCutIn, Target: "w01.0"}, {At: 800 * ms, Kind: trace.FaultCompact},
	})
	writeLines(t, dir+"/"+trace.WorldFile, []trace.Effect{
		{At: 200 * ms, Did: trace.Done, ID: id, Worker: "w00.0", Fence: 7}, {At: 2150 * ms, Did: trace.Known, ID: id, Worker: "w01.0", Fence: 9},
		{At: 2180 * ms, Did: trace.Asked, ID: id, Worker: "w01.0"},
	})
	l := drawLanes(&trace.Summary{}, dir)
	if l == nil || l.Why != "" {
		t.Fatalf("got %+v", l)
	}
	var names []string
	for _, n := range l.Names {
		names = append(names, n.Text)
	}
	if want := []string{"member-2", "store", "w00.0", "w01.0", "world"}; !slices.Equal(names, want) {
		t.Errorf("lanes %q, want %q", names, want)
	}
	shapes := map[string]int{}
	for _, s := range l.Shapes {
		shapes[s.Class]++
	}
	want := map[string]int{
		"call focus open": 1, "call focus": 1, "attempt focus open": 1, "attempt focus": 1, "kill": 2, "pause": 1, "cut": 1, "down": 1,
		"effect focus": 1, "noeffect focus": 1, "asked focus": 1, "thread": 3, "life": 2,
	}
	for class, n := range want {
		if shapes[class] != n {
			t.Errorf("%d shapes of class %q, want %d; all: %v", shapes[class], class, n, shapes)
		}
	}
	if len(shapes) != len(want) {
		t.Errorf("shapes %v, want %v", shapes, want)
	}
	if l.Focus != id || !strings.Contains(l.FocusWhy, "took over") || !strings.HasSuffix(l.Title, "all of it") {
		t.Errorf("focus %q, %q; title %q", l.Focus, l.FocusWhy, l.Title)
	}
	if len(l.Events) != 9 || l.Events[1].What != "effect · "+id+" · by w00.0 · fence 7 · 0.20 s" {
		t.Errorf("events %q", l.Events)
	}
}

func TestBound(t *testing.T) {
	for pair, want := range map[string]int{
		"block/plain": 1, "block/hold": 1, "retry/plain": 0, "retry/hold": 0, "retry/fence": 0, "retry/token": 1,
		"reconcile/plain": 0, "reconcile/fence": 1, "reconcile/token": 1, "retry/new": -1, "new/token": -1,
	} {
		policy, world, _ := strings.Cut(pair, "/")
		if got, text := bound(policy, world); got != want || text == "" {
			t.Errorf("bound(%s) = %d, %q, want %d", pair, got, text, want)
		}
	}
}

func TestHistogramMarksWhatIsBeyond(t *testing.T) {
	h := histograms(map[string]map[int]int{"block/plain": {0: 1, 1: 5, 3: 2, 400: 1}, "retry/plain": {1: 5, 2: 1}})
	if len(h) != 2 || h[0].Over != 3 || h[1].Over != 0 {
		t.Fatalf("got %+v, want 3 calls beyond, and 0", h)
	}
	var got []string
	for _, r := range h[0].Rows {
		if r.Count != "0" {
			got = append(got, r.Name+": "+r.Count+" "+r.Class)
		}
	}
	if want := []string{"0 effects: 1 ", "1 effect: 5 ", "3 effects: 2 over", "more: 1 over"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}
