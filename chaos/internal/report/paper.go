package report

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// cells measures text in columns of a terminal. It does not ask the environment, so
// that the same summary is the same text everywhere.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

// leastWidth is the narrowest terminal that is written for.
const leastWidth = 40

// The escape sequences that every terminal knows.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paper writes lines that are not longer than the terminal is wide.
type paper struct {
	w     *bufio.Writer
	width int
	color bool
}

func newPaper(w io.Writer, width int, color bool) *paper {
	return &paper{bufio.NewWriter(w), max(width, leastWidth), color}
}

func (p *paper) paint(code, s string) string {
	if !p.color || code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// line writes one line: head as it is, and text in the colour of code, cut to the width.
func (p *paper) line(code, text string) {
	_, _ = p.w.WriteString(p.paint(code, cells.Truncate(plain(text), p.width, "…")) + "\n") // Flush has the error
}

func (p *paper) title(text string) {
	_, _ = p.w.WriteString("\n")
	p.line(bold, text)
}

// par writes a paragraph, its first line after first, the others after as much space.
func (p *paper) par(first, code, text string) {
	indent := strings.Repeat(" ", cells.StringWidth(first))
	for _, line := range wrap(plain(text), p.width-len(indent)) {
		_, _ = p.w.WriteString(first + p.paint(code, line) + "\n")
		first = indent
	}
}

// wrap breaks text between words, and within those that are too long.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case cells.StringWidth(line)+1+cells.StringWidth(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for cells.StringWidth(line) > width {
			part := cells.Truncate(line, width, "")
			if part == "" {
				break // a single character wider than the terminal
			}
			lines, line = append(lines, part), line[len(part):]
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// plain makes visible what a terminal would obey: control characters, and those that turn the direction of text.
func plain(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, obeyed) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case obeyed(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func obeyed(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// A column of a table. Wide ones share what the others leave, and their text is wrapped.
type column struct {
	head  string
	right bool
	wide  bool
}

// row is a row's cells, with the colour of the last one.
type row struct {
	cells []string
	code  string
}

// table writes rows below their heads. There is at most one wide column.
func (p *paper) table(columns []column, rows []row) {
	const gap = 2
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = cells.StringWidth(c.head)
		for j := range rows {
			rows[j].cells[i] = plain(rows[j].cells[i])
			widths[i] = max(widths[i], cells.StringWidth(rows[j].cells[i]))
		}
	}
	room := p.width - gap*(len(columns)-1)
	wide, fixed := -1, 0
	for i, c := range columns {
		if c.wide {
			wide = i
			continue
		}
		// No column that is not wrapped may take more than its part of the line.
		widths[i] = min(widths[i], max(6, room/max(2, len(columns)-1)))
		fixed += widths[i]
	}
	if wide >= 0 {
		widths[wide] = min(widths[wide], max(8, room-fixed))
	}
	heads := row{cells: make([]string, len(columns)), code: ""}
	for i, c := range columns {
		heads.cells[i] = c.head
	}
	for n, r := range append([]row{heads}, rows...) {
		var parts []string
		if wide >= 0 {
			parts = wrap(r.cells[wide], widths[wide])
		} else {
			parts = []string{""}
		}
		for i, part := range parts {
			var b strings.Builder
			used := 0
			for j := range columns {
				text := ""
				switch {
				case j == wide:
					text = part
				case i == 0:
					text = cells.Truncate(r.cells[j], widths[j], "…")
				}
				if j > 0 {
					b.WriteString(strings.Repeat(" ", gap))
					used += gap
				}
				pad := widths[j] - cells.StringWidth(text)
				if used+widths[j] > p.width { // a terminal too narrow for this table
					text = strings.TrimRight(cells.Truncate(text, max(0, p.width-used), ""), " ")
					pad = 0
				}
				used += widths[j]
				spaces := strings.Repeat(" ", max(0, pad))
				switch {
				case n == 0:
					text = p.paint(faint, text)
				case j == len(columns)-1:
					text = p.paint(r.code, text)
				}
				if columns[j].right {
					b.WriteString(spaces + text)
				} else {
					b.WriteString(text + spaces)
				}
			}
			_, _ = p.w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
		}
	}
}
