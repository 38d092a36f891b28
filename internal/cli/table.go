package cli

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// SGR codes of the table's colours (ECMA-48, 8.3.117).
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// A screen is where text for people goes.
type screen struct {
	w     *bufio.Writer
	width int // columns; 0: not bounded
	color bool
}

// screen knows the width of w where it is a terminal. Elsewhere COLUMNS gives one, if it is set: for
// what is piped into something that shows it.
func (a *app) screen(w io.Writer) *screen {
	s := &screen{w: bufio.NewWriter(w)}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.color = a.environ("NO_COLOR") == "" && a.environ("TERM") != "dumb"
		s.width = 80
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			s.width = columns
		}
		return s
	}
	if n, err := strconv.Atoi(a.environ("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	return s
}

func (s *screen) paint(code, text string) string {
	if !s.color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// clean keeps what could move a terminal's cursor or reorder its text out of a line.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029':
			return ' '
		case unicode.IsControl(c), c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069', c == '\u200e', c == '\u200f':
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// cut shortens s to at most width columns, between characters; 0: not at all.
func cut(s string, width int) string {
	if width <= 0 || runewidth.StringWidth(s) <= width {
		return s
	}
	return runewidth.Truncate(s, width, "…")
}

// A column of a table.
type column struct {
	head  string
	short string // the head where there is little room; "": head
	right bool
	least int  // columns to which it may be cut; 0: it is not cut
	drop  int  // where there is no room the greatest goes first; 0: it stays
	empty bool // left out where all cells are empty
}

type cell struct{ text, code string }

// A table is written while its rows come: the widths are those of the first
// rows, so that it holds no more of them.
type table struct {
	*screen
	columns []column
	waiting [][]cell
	fit     []int // of each column, once it is laid out; -1: left out
	heads   []string
}

// firstRows is how many rows lay out a table.
const firstRows = 200

const gap = "  "

func (t *table) row(cells ...cell) error {
	for i := range cells {
		cells[i].text = clean(cells[i].text)
	}
	if t.fit != nil {
		return t.write(cells)
	}
	if t.waiting = append(t.waiting, cells); len(t.waiting) < firstRows {
		return nil
	}
	return t.start()
}

// end writes what is left. A table without rows has no head.
func (t *table) end() error {
	if t.fit == nil && len(t.waiting) > 0 {
		if err := t.start(); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

func (t *table) start() error {
	t.layOut()
	head := make([]cell, len(t.columns))
	for i := range head {
		head[i] = cell{t.heads[i], bold}
	}
	if err := t.write(head); err != nil {
		return err
	}
	for _, row := range t.waiting {
		if err := t.write(row); err != nil {
			return err
		}
	}
	t.waiting = nil
	return t.w.Flush()
}

func (t *table) layOut() {
	n := len(t.columns)
	t.fit, t.heads = make([]int, n), make([]string, n)
	widest := make([]int, n)
	for i := range n {
		t.heads[i] = t.columns[i].head
		for _, row := range t.waiting {
			widest[i] = max(widest[i], runewidth.StringWidth(row[i].text))
		}
		t.fit[i] = max(widest[i], runewidth.StringWidth(t.heads[i]))
		if t.columns[i].empty && widest[i] == 0 {
			t.fit[i] = -1
		}
	}
	if t.width == 0 {
		return
	}
	if t.total() > t.width {
		for i, c := range t.columns {
			if c.short != "" && t.fit[i] >= 0 {
				t.heads[i] = c.short
				t.fit[i] = max(widest[i], runewidth.StringWidth(c.short))
			}
		}
	}
	natural := slices.Clone(t.fit)
	for t.total() > t.width {
		if t.shrink() {
			continue
		}
		if !t.dropOne(natural) {
			break
		}
		copy(t.fit, natural) // what went leaves room for the others
	}
	// What comes later may be wider; the last column has the rest of the line.
	if last := t.last(); t.columns[last].least > 0 {
		t.fit[last] += max(0, t.width-t.total())
	}
}

func (t *table) last() int {
	last := 0
	for i, w := range t.fit {
		if w >= 0 {
			last = i
		}
	}
	return last
}

func (t *table) total() int {
	n := -len(gap)
	for _, w := range t.fit {
		if w >= 0 {
			n += w + len(gap)
		}
	}
	return n
}

// shrink takes one from the column that has most above its least.
func (t *table) shrink() bool {
	most := -1
	for i, c := range t.columns {
		if c.least > 0 && t.fit[i] > c.least && (most < 0 || t.fit[i]-c.least > t.fit[most]-t.columns[most].least) {
			most = i
		}
	}
	if most < 0 {
		return false
	}
	t.fit[most]--
	return true
}

// dropOne leaves a column out of fit.
func (t *table) dropOne(fit []int) bool {
	first := -1
	for i, c := range t.columns {
		if c.drop > 0 && fit[i] >= 0 && (first < 0 || c.drop > t.columns[first].drop) {
			first = i
		}
	}
	if first < 0 {
		return false
	}
	fit[first] = -1
	return true
}

func (t *table) write(cells []cell) error {
	var line strings.Builder
	tight := t.width > 0 && t.total() > t.width // no layout fits: the line is cut, and has no colours
	pending := ""                               // spaces, of which none end a line
	for i, c := range cells {
		w := t.fit[i]
		if w < 0 {
			continue
		}
		text := c.text
		if t.width > 0 {
			text = cut(text, w)
		}
		pad := strings.Repeat(" ", max(0, w-runewidth.StringWidth(text)))
		if t.columns[i].right {
			pending, pad = pending+pad, ""
		}
		if text != "" {
			if !tight {
				text = t.paint(c.code, text)
			}
			line.WriteString(pending + text)
			pending = ""
		}
		pending += pad + gap
	}
	text := line.String()
	if tight {
		text = cut(text, t.width)
	}
	_, err := t.w.WriteString(text + "\n")
	return err
}
