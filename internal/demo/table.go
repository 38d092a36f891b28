package demo

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A layout is how the table is set: heads from top to bottom, least widths, and
// what stands between columns.
type layout struct {
	heads [][]string
	width []int
	gap   string
}

func wide() layout {
	return layout{[][]string{
		{"", "actions", "done", "done", "", "", ""},
		{"", "intended", "without", "with", "calls", "calls", "calls"},
		{"tool", "", "Ledger", "Ledger", "blocked", "replayed", "recovered"},
	}, []int{16, 8, 7, 6, 7, 8, 9}, "  "}
}

// narrow fits in 60 columns.
func narrow() layout {
	return layout{[][]string{
		{"", "", "done", "done", "", "re-", "re-"},
		{"tool", "meant", "without", "with", "blocked", "played", "covered"},
	}, []int{14, 5, 7, 4, 7, 6, 7}, " "}
}

// columns returns the width of the whole table.
func (l layout) columns() int {
	n := len(l.gap) * (len(l.width) - 1)
	for _, w := range l.width {
		n += w
	}
	return n
}

// Table returns the rows for a terminal, at most 80 columns wide; 60 where it has no more.
func (r *Report) Table(p *Printer) string {
	l := wide()
	if p.width() < l.columns()+3 {
		l = narrow()
	}
	rows := append(slices.Clone(r.Tools), r.Total)
	for _, row := range append(slices.Clone(rows), r.Reads...) {
		l.width[0] = max(l.width[0], len(row.Tool))
	}
	var b strings.Builder
	right := slices.Repeat([]bool{true}, len(l.width))
	right[0] = false
	for _, cells := range l.heads {
		l.line(&b, p, cells, right, slices.Repeat([]string{bold}, len(cells)))
	}
	l.rule(&b, p)
	for i, row := range rows {
		if i == len(rows)-1 {
			l.rule(&b, p)
		}
		l.line(&b, p, row.cells(), right, []string{"", "", worse(row.Without, row.Intended), worse(row.With, row.Intended)})
	}
	for _, row := range r.Reads {
		l.line(&b, p, row.cells(), right, slices.Repeat([]string{faint}, len(l.width)))
	}
	return b.String()
}

func (l layout) rule(b *strings.Builder, p *Printer) {
	b.WriteString("  " + p.paint(faint, strings.Repeat("─", l.columns())) + "\n")
}

// line sets the cells, to the right of their columns where right says so, in the colours of codes.
func (l layout) line(b *strings.Builder, p *Printer, cells []string, right []bool, codes []string) {
	var text strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, l.width[i]-utf8.RuneCountInString(c)))
		if i < len(codes) && codes[i] != "" {
			c = p.paint(codes[i], c)
		}
		if i > 0 {
			text.WriteString(l.gap)
		}
		if i < len(right) && right[i] {
			text.WriteString(pad + c)
		} else {
			text.WriteString(c + pad)
		}
	}
	b.WriteString("  " + strings.TrimRight(text.String(), " ") + "\n")
}

// recoveries returns the calls that were in doubt as a table, or, where the
// terminal is too narrow for that, as a list.
func (r *Report) recoveries(p *Printer) string {
	l := layout{[][]string{{"call", "workers", "the first", "claim free", "fences", "token"}}, make([]int, 6), "  "}
	rows := slices.Clone(l.heads)
	for _, c := range r.Recoveries {
		rows = append(rows, c.cells())
	}
	for _, row := range rows {
		for i, c := range row {
			l.width[i] = max(l.width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	if p.width() < l.columns()+3 {
		list := &Printer{W: &b, Color: p.Color, Width: p.Width}
		for _, c := range r.Recoveries {
			list.Good("%s", c)
		}
		return b.String()
	}
	for i, row := range rows {
		switch i {
		case 0:
			l.line(&b, p, row, nil, slices.Repeat([]string{bold}, len(row)))
			l.rule(&b, p)
		default:
			l.line(&b, p, row, nil, nil)
		}
	}
	return b.String()
}

func (r Row) cells() []string {
	cells := []string{r.Tool}
	for _, n := range []int{r.Intended, r.Without, r.With, r.Blocked, r.Replayed, r.Recovered} {
		cells = append(cells, strconv.Itoa(n))
	}
	return cells
}

func worse(done, intended int) string {
	if done != intended {
		return red
	}
	return green
}
