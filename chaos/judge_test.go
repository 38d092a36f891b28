package chaos

import (
	"slices"
	"testing"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A cell that was not brought about has shown nothing: that is no violation.
func TestVerdictOfCells(t *testing.T) {
	held := trace.CellCount{Aimed: 1, Landed: 1, OK: true}
	for name, c := range map[string]struct {
		cell    trace.CellCount
		verdict string
		why     []string
	}{
		"held":        {held, "passed", nil},
		"violated":    {trace.CellCount{Aimed: 1, Landed: 1, Text: "I1: twice"}, "violated", []string{"cell ////: I1: twice"}},
		"not reached": {trace.CellCount{Aimed: 1, Text: "the victim died"}, "invalid", []string{"cell //// never happened: the victim died"}},
		"interrupted": {trace.CellCount{Aimed: 1}, "invalid", []string{"cell //// never happened"}},
	} {
		r := &Report{trace.Summary{Cells: []trace.CellCount{held, c.cell}}}
		if r.judge(); r.Verdict != c.verdict || !slices.Equal(r.Why, c.why) {
			t.Errorf("%s: %s %q, want %s %q", name, r.Verdict, r.Why, c.verdict, c.why)
		}
	}
}
