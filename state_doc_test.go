package ledger

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/state-machine.md's diagram and table anew")

const stateDoc = "docs/state-machine.md"

// moves are the labels of the diagram's arrows, by where they begin, what happens, and
// where they end. TestStateMachineDoc fails for a move that state.go makes and that has no label here, and
// for a label of a move that it does not make.
var moves = map[string]string{
	"none, run, running": "the first call claims",

	"running, returned, succeeded":         "the tool returns",
	"running, not_done, not_done":          "NotDone(err)",
	"running, permanent, permanent":        "Permanent(err)",
	"running, uncertain, in_doubt":         "any other error, a panic",
	"running, owner dies, in_doubt":        "its worker dies (nobody writes it, readers see it)",
	"running, given back unstored, none":   "given back, nothing stood before",
	"running, given back stolen, in_doubt": "given back after a steal",

	"in_doubt, same, running":            "the next call, DoubtRetry, same token",
	"in_doubt, ask, running":             "the next call, DoubtReconcile, asks first",
	"in_doubt, late finish, succeeded":   "a late finish, if nobody has claimed since",
	"in_doubt, happened, succeeded":      "Resolve or Reconcile, it happened",
	"in_doubt, did_not_happen, not_done": "Resolve, it did not happen",
	"in_doubt, forget, none":             "Resolve, forget",

	"not_done, again, running": "the next call, new token",
	"not_done, same, running":  "the next call after a doubt, same token",
	"not_done, run, running":   "the next call after Resolve, another run",

	"permanent, run, running": "the next call, TTL passed, another run",
	"succeeded, run, running": "the next call, Max not reached or TTL passed, another run",
}

// node is the diagram's name for where r stands.
func node(r *Record) string {
	switch {
	case r == nil || r.Status() == StateNone:
		return "none"
	case r.Status() == StateFailed && r.Error != nil:
		return r.Error.Class.String()
	case r.Status() == StateFailed:
		return ClassNotDone.String()
	}
	return string(r.Status())
}

// made are the moves that the functions of state.go make.
func made(t *testing.T) map[string]bool {
	all := make(map[string]bool)
	move := func(from, event, to string) { all[from+", "+event+", "+to] = true }

	words := make(map[decision]string)
	for word, d := range decisionWords {
		words[d] = strings.TrimSuffix(word, "!")
	}
	for row, r := range found {
		if strings.HasPrefix(row, "(") {
			continue // a newer version's state, and a counter: nothing moves them
		}
		for _, q := range arriving() {
			if d := decide(r, q, noon); d.action == actRun || d.action == actReconcile {
				next := begin(r, start{id: theID, ended: OutcomeLost}, d, noon)
				next.Alive = true
				move(node(r), words[d], node(&next))
			}
		}
	}
	running, dead := stood(StateRunning), with(stood(StateRunning), func(r *Record) { r.Alive = false })
	move("running", "owner dies", node(&dead))
	for event, e := range map[string]ending{
		"returned":  {result: []byte(`1`)},
		"not_done":  {failure: &Failure{Class: ClassNotDone}},
		"permanent": {failure: &Failure{Class: ClassPermanent}},
		"uncertain": {failure: &Failure{Class: ClassUncertain}},
	} {
		done := finish(running, e, noon)
		move("running", event, node(&done))
	}
	late := finish(dead, ending{result: []byte(`1`)}, noon)
	move(node(&dead), "late finish", node(&late))
	for as := ResolveHappened; as <= ResolveForget; as++ {
		asked := begin(&dead, start{id: theID, ended: OutcomeLost}, decision{action: actReconcile}, noon)
		settled, _ := settle(asked, Resolution{As: as}, noon)
		move(node(&dead), as.String(), node(&settled))
	}
	back := giveBack(running, nil)
	move("running", "given back unstored", node(&back))
	back = giveBack(running, &running)
	move("running", "given back stolen", node(&back))
	for _, s := range []State{StateSucceeded, StateFailed, StateInDoubt} {
		seen := stood(s)
		if back := giveBack(running, &seen); node(&back) != node(&seen) {
			t.Errorf("a claim given back over %s leaves %s", node(&seen), node(&back))
		}
	}
	return all
}

func diagram(t *testing.T) string {
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    not_done: failed (not done)\n    permanent: failed (for good)\n")
	known := made(t)
	var lines []string
	for key, label := range moves {
		if !known[key] {
			t.Errorf("the diagram has the move %q, and state.go does not make it", key)
		}
		part := strings.Split(key, ", ")
		for i := range part {
			if part[i] == "none" {
				part[i] = "[*]"
			}
		}
		lines = append(lines, fmt.Sprintf("    %s --> %s: %s\n", part[0], part[2], label))
	}
	for key := range known {
		if moves[key] == "" {
			t.Errorf("state.go makes the move %q, and the diagram does not have it; add a label to moves", key)
		}
	}
	slices.Sort(lines)
	return b.String() + strings.Join(lines, "") + "```\n"
}

// table says in words what the columns and rows of decisions that most readers need decide.
func table() string {
	columns := [][2]string{
		{"plain", "`Policy{}`"}, {"replay", "`Replay`"}, {"wait", "`Wait`"}, {"max2", "`Max: 2`"}, {"ttl", "`TTL: time.Hour`"},
		{"reco", "`DoubtReconcile`"}, {"block", "`DoubtBlock`"},
	}
	rows := [][2]string{
		{"none", "no record"},
		{"running", "running, its worker lives"},
		{"succeeded", "succeeded a minute ago"},
		{"succeeded omitted", "the same, its result was not recorded"},
		{"succeeded ttl", "succeeded an hour ago"},
		{"succeeded 2", "succeeded twice, a minute ago"},
		{"failed", "failed, not done"},
		{"failed doubted", "the same, with an earlier attempt in doubt"},
		{"failed perm", "failed for good a minute ago"},
		{"failed perm ttl", "failed for good an hour ago"},
		{"in_doubt", "in doubt, or its worker died"},
		{"in_doubt reco", "the same, recorded under `DoubtReconcile`"},
		{"in_doubt blck", "the same, recorded under `DoubtBlock`"},
	}
	words := map[decision]string{
		decisionWords["run"]:    "runs",
		decisionWords["run!"]:   "runs",
		decisionWords["again"]:  "runs, new token",
		decisionWords["again!"]: "runs, new token",
		decisionWords["same"]:   "runs, same token",
		decisionWords["ask"]:    "asks, then records or runs",
		decisionWords["value"]:  "recorded result",
		decisionWords["wait"]:   "waits",
		decisionWords["DUP"]:    "`ErrDuplicate`",
		decisionWords["PROG"]:   "`ErrInProgress`",
		decisionWords["DOUBT"]:  "`ErrInDoubt`",
		decisionWords["FAIL"]:   "`ErrFailed`",
		decisionWords["OMIT"]:   "`ErrResultOmitted`",
	}
	var b strings.Builder
	b.WriteString("| what is recorded |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c[1])
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	asks := arriving()
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r[1])
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", words[decide(found[r[0]], asks[c[0]], noon)])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestStateMachineDoc compares the diagram and the table of docs/state-machine.md with state.go.
func TestStateMachineDoc(t *testing.T) {
	text, err := os.ReadFile(stateDoc)
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(text), "\r\n", "\n") // as git may check it out on Windows
	fresh := doc
	for name, part := range map[string]string{"diagram": diagram(t), "table": table()} {
		begin, end := "<!-- begin "+name+", generated -->\n", "<!-- end "+name+" -->\n"
		before, rest, ok := strings.Cut(fresh, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no part between %q and %q", stateDoc, begin, end)
		}
		fresh = before + begin + part + end + after
	}
	if fresh == doc {
		return
	}
	if !*update {
		t.Fatalf("%s is not what state.go does; go test -run TestStateMachineDoc . -update", stateDoc)
	}
	if err := os.WriteFile(stateDoc, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}
