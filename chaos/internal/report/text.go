package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Bounds of the text, which points to the page for the rest.
const (
	textViolations = 5
	textEvidence   = 12
	textCells      = 12
)

// Text writes the summary for a terminal of the given width in columns, of which it
// needs 40; color allows escape sequences. What the run itself said can not command the
// terminal: control characters are shown as their codes. Text returns the error of w.
func Text(w io.Writer, s *trace.Summary, width int, color bool) error {
	p := newPaper(w, width, color)
	v := newVerdict(s)
	p.line(tone(v.Class)+";"+bold, v.Mark+" "+v.Word)
	p.par("", "", v.Text)
	for _, why := range v.Why {
		p.par("  - ", "", why)
	}
	if s.Command != "" {
		p.par("repeat: ", "", clip(s.Command, maxText))
	}
	var parts []string
	for _, f := range facts(s) {
		if f.Label != "Data" {
			parts = append(parts, strings.ToLower(f.Label)+" "+f.Value)
		}
	}
	p.par("", faint, strings.Join(parts, " · "))

	textFigures(p, s)
	textInvariants(p, s)
	textFaults(p, s)
	textEffects(p, s)
	textExplorer(p, s)
	textCoverage(p, s)
	textMutants(p, s)
	textViolated(p, s)
	if s.Dir != "" {
		p.title("Report")
		p.par("", "", filepath.Join(s.Dir, trace.ReportFile))
	}
	return p.w.Flush()
}

func tone(class string) string {
	switch class {
	case "good":
		return green
	case "bad":
		return red
	case "weak":
		return yellow
	default:
		return faint
	}
}

func textFigures(p *paper, s *trace.Summary) {
	var rows []row
	for _, f := range figures(s) {
		rows = append(rows, row{cells: []string{f.Label, f.Value, f.Note}, code: faint})
	}
	if len(rows) > 0 {
		p.title("Figures")
		p.table([]column{{head: "figure"}, {head: "value", right: true}, {wide: true}}, rows)
	}
}

func textInvariants(p *paper, s *trace.Summary) {
	var rows []row
	for _, i := range invariants(s.Findings.Checks) {
		says := i.Says
		if i.Note != "" {
			says += " (" + i.Note + ")"
		}
		rows = append(rows, row{[]string{i.Name, says, i.Checked, i.Unknown, i.Mark}, tone(i.Class)})
	}
	if len(rows) > 0 {
		p.title("Invariants")
		p.table([]column{{head: "name"}, {head: "says", wide: true}, {head: "checked", right: true}, {head: "unknown", right: true}, {head: "result"}}, rows)
	}
}

func textFaults(p *paper, s *trace.Summary) {
	var rows []row
	for _, f := range faults(s) {
		rows = append(rows, row{cells: []string{f.Kind, f.Count, f.Rate, f.Text}})
	}
	if len(rows) > 0 {
		p.title("Faults")
		p.table([]column{{head: "kind"}, {head: "count", right: true}, {head: "a minute", right: true}, {head: "what", wide: true}}, rows)
	}
	rows = nil
	for _, f := range floors(s.Floors) {
		rows = append(rows, row{[]string{f.Name, f.Want, f.Got, f.Mark}, tone(f.Class)})
	}
	if len(rows) > 0 {
		p.title("Floors")
		p.table([]column{{head: "floor", wide: true}, {head: "want", right: true}, {head: "got", right: true}, {head: "result"}}, rows)
	}
	rows = nil
	for _, b := range bars(s.Windows, nil) {
		rows = append(rows, row{cells: []string{b.Name, b.Count, b.Share}, code: faint})
	}
	if len(rows) > 0 {
		p.title("Where kills and pauses landed")
		p.table([]column{{head: "window", wide: true}, {head: "count", right: true}, {head: "share", right: true}}, rows)
	}
}

func textEffects(p *paper, s *trace.Summary) {
	var rows []row
	for _, h := range histograms(s.Findings.Histogram) {
		var parts []string
		for _, b := range h.Rows {
			parts = append(parts, b.Name+": "+b.Count)
		}
		mark, code := "✓", green
		if h.Over > 0 {
			mark, code = "✗ "+count(h.Over), red
		}
		if strings.HasPrefix(h.Bound, "not known") || strings.HasPrefix(h.Bound, "1, and") {
			mark, code = "see I5", faint
		}
		rows = append(rows, row{[]string{h.Name, strings.Join(parts, ", ") + " (allowed: " + h.Bound + ")", mark}, code})
	}
	if len(rows) > 0 {
		p.title("Effects per run")
		p.table([]column{{head: "policy/world"}, {head: "effects: calls", wide: true}, {head: ""}}, rows)
	}
}

func textExplorer(p *paper, s *trace.Summary) {
	e := readExplorer(s.Explorer)
	if e == nil {
		return
	}
	p.title("Explorer")
	if e.Raw != "" {
		p.par("", "", clip(e.Raw, maxText))
		return
	}
	p.par("", "", e.String())
	_, groups := e.matrix()
	var rows []row
	for _, g := range groups { // a line for the fault, then one for each policy and world
		rows = append(rows, row{cells: []string{g.Fault + ":", "", "", ""}})
		for i, b := range g.Cells {
			if b != nil {
				rows = append(rows, row{[]string{g.Names[i], b.Bound, b.Seen, b.Note}, tone(b.Class)})
			}
		}
	}
	if len(rows) > 0 {
		p.table([]column{{head: "policy/world", wide: true}, {head: "bound"}, {head: "seen"}, {head: ""}}, rows)
	}
	for _, v := range e.Violations[:min(len(e.Violations), textViolations)] {
		p.par("  ✗ ", red, v.Text)
	}
}

func textCoverage(p *paper, s *trace.Summary) {
	stores := newCoverage(s.Cells)
	if len(stores) == 0 {
		return
	}
	p.title("Coverage")
	var rows []row
	for _, c := range stores {
		r := row{[]string{c.Store, count(c.Cells), count(c.Landed), count(c.Zero), "✓ all OK"}, green}
		if c.Bad > 0 {
			r.cells[4], r.code = "✗ "+count(c.Bad)+" not OK", red
		}
		rows = append(rows, r)
	}
	p.table([]column{{head: "store", wide: true}, {head: "cells", right: true}, {head: "landed", right: true}, {head: "at zero", right: true}, {head: "result"}}, rows)
	failed := failedCells(s.Cells)
	for _, c := range failed[:min(len(failed), textCells)] {
		p.par("  ✗ ", red, fmt.Sprintf("%s: %s landed; %s", c.Cell, c.Landed, c.Text))
	}
	if n := len(failed) - textCells; n > 0 {
		p.par("    ", "", fmt.Sprintf("%d more are in the report", n))
	}
}

func textMutants(p *paper, s *trace.Summary) {
	var rows []row
	all, _ := mutants(s.Mutants)
	for _, m := range all {
		rows = append(rows, row{[]string{m.Name, m.Want, m.Caught, m.Mark}, tone(m.Class)})
	}
	if len(rows) > 0 {
		p.title("Mutants")
		p.table([]column{{head: "mutant", wide: true}, {head: "wanted"}, {head: "caught by"}, {head: "result"}}, rows)
	}
}

func textViolated(p *paper, s *trace.Summary) {
	all := s.Findings.Violations
	if len(all) == 0 {
		return
	}
	p.title("Violations")
	for _, v := range all[:min(len(all), textViolations)] {
		p.par("✗ ", red, strings.TrimSpace(clip(v.Invariant, 40)+" "+clip(v.ID, maxLine))+": "+clip(v.Text, maxText))
		lines := evidence(v)
		for _, l := range lines[:min(len(lines), textEvidence)] {
			p.par("    ", "", l)
		}
		if n := len(lines) - textEvidence; n > 0 {
			p.par("    ", faint, plural(n, "more line")+" in the report")
		}
		if v.Dir != "" {
			p.par("    ", faint, "data: "+clip(v.Dir, maxLine))
		}
	}
	if n := len(all) - textViolations; n > 0 {
		p.par("  ", "", plural(n, "more violation")+" in the report")
	}
}
