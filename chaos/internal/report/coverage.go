package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// coverage is the heat maps of one store: all policies and worlds together, then each.
type coverage struct {
	Store  string
	All    heatMap
	Maps   []heatMap
	Text   string // how many cells, and faults in them
	Cells  int
	Landed int
	Zero   int // cells in which no fault landed at its point
	Bad    int // cells that are not OK, the zeros among them
	Slug   string
}

// A heatMap has points down and faults across.
type heatMap struct {
	Name   string // "block/plain"
	Faults []string
	Rows   []heatRow
}

type heatRow struct {
	Point string
	Cells []heatCell // one per fault; an excluded one has an empty Text
}

type heatCell struct{ Text, Class, Title string }

// tallied is the sum of counters that share a place in a heat map.
type tallied struct {
	aimed, landed, cells, zero, bad int
}

func (t *tallied) add(c trace.CellCount) {
	t.aimed += c.Aimed
	t.landed += c.Landed
	t.cells++
	if c.Landed == 0 {
		t.zero++
	}
	if !c.OK {
		t.bad++
	}
}

func (t *tallied) cell(point, fault string) heatCell {
	h := heatCell{Text: count(t.landed), Title: fmt.Sprintf("%s × %s: %d aimed, %d landed", point, fault, t.aimed, t.landed)}
	if t.cells > 1 {
		h.Title += fmt.Sprintf(", in %d cells", t.cells)
	}
	if t.landed < t.aimed && t.cells == 1 {
		h.Text += "/" + count(t.aimed)
	}
	each := t.landed / t.cells
	switch {
	case t.zero > 0:
		h.Class, h.Text = "zero", h.Text+" ∅"
		h.Title += fmt.Sprintf("; nothing landed in %d", t.zero)
	case t.bad > 0:
		h.Class, h.Text = "bad", h.Text+" ✗"
		h.Title += fmt.Sprintf("; %d not OK", t.bad)
	case each >= 20:
		h.Class = "heat4"
	case each >= 5:
		h.Class = "heat3"
	case each >= 2:
		h.Class = "heat2"
	default:
		h.Class = "heat1"
	}
	return h
}

// storeName is the store of a cell, as people say it.
func storeName(c trace.Cell) string {
	switch c.Members {
	case 0:
		return c.Store
	case 1:
		return c.Store + ", 1 member"
	default:
		return fmt.Sprintf("%s, %d members", c.Store, c.Members)
	}
}

// heat arranges the counters of the cells that keep selects. Points and faults keep the order in which the
// list of cells has them, which is the order of a call's life.
func heat(name string, cells []trace.CellCount, keep func(trace.Cell) bool) heatMap {
	h := heatMap{Name: name}
	var points []string
	sums := map[[2]string]*tallied{}
	for _, c := range cells {
		if !keep(c.Cell) {
			continue
		}
		if !slices.Contains(points, c.Cell.Point) {
			points = append(points, c.Cell.Point)
		}
		if !slices.Contains(h.Faults, c.Cell.Fault) {
			h.Faults = append(h.Faults, c.Cell.Fault)
		}
		at := [2]string{c.Cell.Point, c.Cell.Fault}
		if sums[at] == nil {
			sums[at] = new(tallied)
		}
		sums[at].add(c)
	}
	for _, p := range points {
		row := heatRow{Point: p}
		for _, f := range h.Faults {
			var cell heatCell
			if t := sums[[2]string{p, f}]; t != nil {
				cell = t.cell(p, f)
			}
			row.Cells = append(row.Cells, cell)
		}
		h.Rows = append(h.Rows, row)
	}
	return h
}

func newCoverage(cells []trace.CellCount) (stores []coverage) {
	var names []string
	for _, c := range cells {
		if n := storeName(c.Cell); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for i, name := range names[:min(len(names), 8)] {
		s := coverage{Store: name, Slug: fmt.Sprintf("store-%d", i+1)}
		var pairs []string
		for _, c := range cells {
			if storeName(c.Cell) != name {
				continue
			}
			s.Cells++
			s.Landed += c.Landed
			if c.Landed == 0 {
				s.Zero++
			}
			if !c.OK || c.Landed == 0 {
				s.Bad++
			}
			if p := pair(c.Cell.InDoubt, c.Cell.World); !slices.Contains(pairs, p) {
				pairs = append(pairs, p)
			}
		}
		s.Text = plural(s.Cells, "cell") + ", " + plural(s.Landed, "fault") + " landed"
		s.All = heat("", cells, func(c trace.Cell) bool { return storeName(c) == name })
		slices.Sort(pairs)
		for _, p := range pairs[:min(len(pairs), 20)] {
			s.Maps = append(s.Maps, heat(p, cells, func(c trace.Cell) bool {
				return storeName(c) == name && pair(c.InDoubt, c.World) == p
			}))
		}
		stores = append(stores, s)
	}
	return stores
}

// failedCell is a cell that is not OK, with why.
type failedCell struct{ Cell, Landed, Effects, Text string }

func failedCells(cells []trace.CellCount) (failed []failedCell) {
	for _, c := range cells {
		if c.OK && c.Landed > 0 || len(failed) == maxRows {
			continue
		}
		text := c.Text
		if text == "" && c.Landed == 0 {
			text = "the fault never landed at its point"
		}
		failed = append(failed, failedCell{c.Cell.String(), count(c.Landed) + " of " + count(c.Aimed), effectsText(c.Effects), clip(text, maxText)})
	}
	return failed
}

// effectsText says how many runs had how many effects: "1: 12, 2: 1".
func effectsText(effects map[int]int) string {
	type entry struct{ n, runs int }
	var all []entry
	for n, runs := range effects {
		all = append(all, entry{n, runs})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.n, b.n) })
	var parts []string
	for _, e := range all[:min(len(all), 12)] {
		parts = append(parts, fmt.Sprintf("%d: %s", e.n, count(e.runs)))
	}
	return strings.Join(parts, ", ")
}
