package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Printer writes lines for people. It is safe for concurrent use.
type Printer struct {
	// W gets the lines.
	W io.Writer
	// Color allows escape sequences. Defaults to false.
	Color bool
	// Width of the terminal, in columns; lines stay below it. Defaults to 80; at least 40.
	Width int

	mu  sync.Mutex
	err error // of the first write that failed
}

// Err returns the error of the first write that failed: what was printed is not all there.
func (p *Printer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// The escape sequences of ECMA-48 that every terminal knows.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (p *Printer) paint(code, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *Printer) width() int {
	if p.Width == 0 {
		return 80
	}
	return max(p.Width, 40)
}

// Title starts a section.
func (p *Printer) Title(format string, args ...any) {
	p.write("\n" + p.paint(bold, fmt.Sprintf(format, args...)) + "\n")
}

// Text writes a paragraph.
func (p *Printer) Text(format string, args ...any) { p.item("", "", format, args) }

// Faint writes a paragraph that can be skipped.
func (p *Printer) Faint(format string, args ...any) {
	for _, line := range wrap(fmt.Sprintf(format, args...), p.width()-3) {
		p.write("  " + p.paint(faint, line) + "\n")
	}
}

// Note writes a line about what happens.
func (p *Printer) Note(format string, args ...any) { p.item("·", faint, format, args) }

// Good writes a line about something that went well.
func (p *Printer) Good(format string, args ...any) { p.item("✓", green, format, args) }

// Bad writes a line about something that went wrong.
func (p *Printer) Bad(format string, args ...any) { p.item("✗", red, format, args) }

func (p *Printer) item(mark, code, format string, args []any) {
	indent := "  "
	head := indent
	if mark != "" {
		indent, head = "    ", "  "+p.paint(code, mark)+" "
	}
	lines := wrap(fmt.Sprintf(format, args...), p.width()-1-len(indent))
	p.write(head + strings.Join(lines, "\n"+indent) + "\n")
}

func (p *Printer) write(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.W, s); err != nil && p.err == nil { // must not stop the work
		p.err = err
	}
}

// wrap breaks text at spaces into lines of at most width characters; a longer
// word has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
