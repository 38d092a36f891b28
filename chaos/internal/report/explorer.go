package report

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// explored is what the report shows of the explorer's result. The result is
// decoded by its JSON and with patience: what is missing, or of another type, is left out.
type explored struct {
	States, Transitions, Depth int
	Elapsed                    nanos
	ElapsedNS                  nanos `json:"elapsed_ns"`
	Cells                      []exploredCell
	Violations                 []exploredViolation
	Raw                        string `json:"-"` // the JSON, where none of it was understood
}

// exploredCell is one row of the explorer's table of bounds.
type exploredCell struct {
	Fault, Policy, World string
	Bound                anyText
	Max, Min, Takeovers  int
	Tight, OK            bool
}

// anyText is a string, or the JSON of anything else.
type anyText string

func (t *anyText) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		var flat bytes.Buffer
		if err := json.Compact(&flat, b); err != nil {
			return err
		}
		s = flat.String()
	}
	*t = anyText(clip(s, maxText))
	return nil
}

// exploredViolation is a broken invariant with the way there, or whatever else stands for one.
type exploredViolation struct{ Text, Trace string }

func (v *exploredViolation) UnmarshalJSON(b []byte) error {
	var o struct {
		Invariant, Text, Search string
		Trace                   []string
	}
	if json.Unmarshal(b, &o) != nil || o.Invariant == "" && o.Text == "" {
		var whole anyText
		if err := whole.UnmarshalJSON(b); err != nil {
			return err
		}
		v.Text = string(whole)
		return nil
	}
	v.Text = clip(o.Invariant+": "+o.Text, maxText)
	if o.Search != "" {
		v.Text += " (" + clip(o.Search, maxLine) + ")"
	}
	v.Trace = strings.Join(evidence(trace.Violation{Evidence: o.Trace}), "\n")
	return nil
}

// nanos is a duration as encoding/json writes it, or as Duration.String does.
type nanos time.Duration

func (n *nanos) UnmarshalJSON(b []byte) error {
	d, err := time.ParseDuration(strings.Trim(string(b), `"`))
	if err != nil {
		var ns float64
		if json.Unmarshal(b, &ns) != nil {
			return nil // not a duration: left out
		}
		d = time.Duration(ns)
	}
	*n = nanos(d)
	return nil
}

// readExplorer decodes Summary.Explorer; nil where there is none.
func readExplorer(v any) *explored {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil || bytes.Equal(text, []byte("null")) {
		return nil
	}
	e := new(explored)
	if err := json.Unmarshal(text, e); err != nil && len(e.Cells) == 0 && e.States == 0 {
		return &explored{Raw: clip(string(text), 4*maxText)}
	}
	e.Elapsed = max(e.Elapsed, e.ElapsedNS)
	e.Cells = e.Cells[:min(len(e.Cells), maxRows)]
	e.Violations = e.Violations[:min(len(e.Violations), maxViolations)]
	return e
}

// String says how far the search went.
func (e *explored) String() string {
	text := count(e.States) + " states"
	if e.Transitions > 0 {
		text += ", " + plural(e.Transitions, "transition")
	}
	if e.Depth > 0 {
		text += ", to a depth of " + count(e.Depth)
	}
	if e.Elapsed > 0 {
		text += ", in " + took(time.Duration(e.Elapsed))
	}
	return text
}

// matrix arranges the cells as design.md has them: faults down, policies and worlds across.
func (e *explored) matrix() (columns []policyWorld, rows []boundsRow) {
	at := map[string]int{}
	var names []string
	for _, c := range e.Cells {
		if at := (policyWorld{c.Policy, c.World}); !slices.Contains(columns, at) {
			columns, names = append(columns, at), append(names, pair(c.Policy, c.World))
		}
	}
	for _, c := range e.Cells {
		i, ok := at[c.Fault]
		if !ok {
			i = len(rows)
			at[c.Fault] = i
			rows = append(rows, boundsRow{c.Fault, names, make([]*boundsCell, len(columns))})
		}
		rows[i].Cells[slices.Index(columns, policyWorld{c.Policy, c.World})] = newBoundsCell(c)
	}
	return columns, rows
}

// pair names a policy and a world: "block/plain".
func pair(policy, world string) string {
	if world == "" {
		return policy
	}
	return policy + "/" + world
}

// policyWorld is the head of a column.
type policyWorld struct{ Policy, World string }

// boundsRow is one fault's row; a cell that the explorer does not have is nil.
type boundsRow struct {
	Fault string
	Names []string // of the columns
	Cells []*boundsCell
}

type boundsCell struct{ Bound, Seen, Note, Class string }

func newBoundsCell(c exploredCell) *boundsCell {
	b := &boundsCell{Bound: string(c.Bound), Seen: count(c.Max), Class: "good", Note: "tight"}
	if c.Min != c.Max {
		b.Seen = count(c.Min) + " to " + count(c.Max)
	}
	if c.Takeovers > 0 {
		b.Seen += ", T ≤ " + count(c.Takeovers)
	}
	switch {
	case !c.OK:
		b.Class, b.Note = "bad", "exceeded, or not tight"
	case !c.Tight:
		b.Class, b.Note = "weak", "not tight"
	}
	return b
}
