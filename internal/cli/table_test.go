package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"
)

// Whatever the cells hold, no line is wider than the screen, breaks a character, or
// has a control character in it; also those that come after the table was laid out.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 130).Draw(t, "width")
		rows := rapid.SampledFrom([]int{0, 1, 3, firstRows + 3}).Draw(t, "rows")
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "charge_card", "請求書を送信する担当者へ", "👩‍👩‍👧‍👦 family", "e\u0301le\u0300ve", "\x1b[31mred", "a\nb", "\xff\xfe", "\u202egnol"}))
		var out bytes.Buffer
		tab := &table{screen: &screen{w: bufio.NewWriter(&out), width: width}, columns: []column{
			{head: "STATE"}, {head: "TOOL", least: 6}, {head: "ATTEMPTS", short: "ATT", right: true, drop: 1}, {head: "OWNER", least: 5, drop: 2, empty: true}, {head: "ERROR", least: 4},
		}}
		for i := range rows {
			if err := tab.row(cell{"succeeded", green}, cell{text.Draw(t, "tool"), ""}, cell{fmt.Sprint(i), ""}, cell{text.Draw(t, "owner"), ""}, cell{text.Draw(t, "error"), red}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tab.end(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if want := rows + 1; rows > 0 && len(lines) != want || rows == 0 && out.Len() > 0 {
			t.Fatalf("%d lines for %d rows", len(lines), rows)
		}
		for _, line := range lines {
			if n := runewidth.StringWidth(line); n > width || !utf8.ValidString(line) || clean(line) != line {
				t.Fatalf("%d columns of %d: %q", n, width, line)
			}
		}
	})
}

// The first rows are held back for the layout, and no more of them.
func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	tab := &table{screen: &screen{w: bufio.NewWriter(&out)}, columns: []column{{head: "N", right: true}}}
	for i := range firstRows {
		if out.Len() > 0 {
			t.Fatalf("written after %d rows", i)
		}
		if err := tab.row(cell{fmt.Sprint(i), ""}); err != nil {
			t.Fatal(err)
		}
	}
	if len(tab.waiting) > 0 || strings.Count(out.String(), "\n") != firstRows+1 {
		t.Errorf("after %d rows %d wait, and %d lines are written", firstRows, len(tab.waiting), strings.Count(out.String(), "\n"))
	}
}

// In colour the cells line up as they do without, and each colour ends where it began.
func TestTableColors(t *testing.T) {
	render := func(color bool) string {
		var out bytes.Buffer
		tab := &table{screen: &screen{w: bufio.NewWriter(&out), width: 30, color: color}, columns: []column{{head: "STATE"}, {head: "N", right: true}, {head: "ERROR", least: 5}}}
		_ = tab.row(cell{"failed", red}, cell{"7", yellow}, cell{"a long error that is cut", red})
		_ = tab.end()
		return out.String()
	}
	colored := render(true)
	for _, code := range []string{bold, red, yellow} {
		colored = strings.ReplaceAll(colored, "\x1b["+code+"m", "")
	}
	if starts, ends := strings.Count(render(true), "\x1b["), strings.Count(render(true), "\x1b[0m"); starts != 2*ends || ends != 6 {
		t.Errorf("%d codes, of which %d end a colour: %q", starts, ends, render(true))
	}
	if got, want := strings.ReplaceAll(colored, "\x1b[0m", ""), render(false); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
