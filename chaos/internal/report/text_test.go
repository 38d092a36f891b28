package report

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// No line is longer than the terminal is wide, no character is broken, and nothing but our own colours commands the terminal.
func TestTextFits(t *testing.T) {
	runs := threeRuns(t)
	wide := sampleSummary(runs["passed"].Run, "/data/走り書き")
	violate(wide, "注文-77/カード請求/00112233445566778899aabbccddeeff")
	wide.Why = []string{strings.Repeat("二重の効果が見つかりました", 20), "👩‍👩‍👧‍👦 é " + strings.Repeat("x", 300)}
	wide.Findings.Checks[3].Note = strings.Repeat("不明 ", 60)
	wide.Windows[strings.Repeat("効", 90)] = 3
	wide.Cells[3].Cell.Point, wide.Cells[3].Cell.Store = strings.Repeat("点", 60), strings.Repeat("ß", 90)
	runs["wide"] = wide
	evil := sampleSummary(runs["passed"].Run, "/data")
	violate(evil, "x")
	evil.Command = "\x1b]0;title\x07\x1b[2J\u202egnp.exe\xff\r\nnext"
	evil.Findings.Violations[0].Evidence = []string{evil.Command, "\x9b31m", strings.Repeat("\x1b", 200)}
	runs["evil"] = evil
	poisoned := sampleSummary(runs["passed"].Run, "/data")
	violate(poisoned, "x")
	poison(reflect.ValueOf(poisoned))
	runs["poisoned"] = poisoned
	for name, s := range runs {
		for _, width := range []int{40, 60, 80, 120} {
			bare := textOf(t, s, width, false)
			if !utf8.ValidString(bare) {
				t.Errorf("%s at %d: a character is broken", name, width)
			}
			for _, line := range strings.Split(bare, "\n") {
				if w := cells.StringWidth(line); w > width {
					t.Errorf("%s at %d: a line of %d columns: %q", name, width, w, line)
				}
				if i := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }); i >= 0 {
					t.Errorf("%s at %d: a line commands the terminal: %q", name, width, line)
				}
			}
			colored := textOf(t, s, width, true)
			if colored == bare || colours.ReplaceAllString(colored, "") != bare {
				t.Errorf("%s at %d: color changes more than colours", name, width)
			}
		}
	}
}

func TestTextSays(t *testing.T) {
	runs := threeRuns(t)
	for name, want := range map[string][]string{
		"passed":   {"✓ passed", "repeat: go run ./cmd/ledger chaos --seed 1", "205,034", "I14", "✓ held where known", "effect done, not recorded", "see I5", "48,112 states", "etcd, 3 members", "✓ all OK", "unconditional-claim", "report.html"},
		"violated": {"✗ violated", "✗ 1 ", "not checked", "✗ survived", "0 of 16 landed; the fault never landed", "two effects in one run under DoubtBlock", "3 more lines in the report"},
		"invalid":  {"∅ invalid", "did less than it must", "✗ missed", "at least 200", "12.5"},
	} {
		got := textOf(t, runs[name], 100, false)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q:\n%s", name, w, got)
			}
		}
	}
	if got := textOf(t, &trace.Summary{Verdict: "passed"}, 80, false); strings.Contains(got, "Invariants") || strings.Contains(got, "Faults") {
		t.Errorf("a summary of nothing has sections:\n%s", got)
	}
}

// Columns keep their places although characters differ in width.
func TestTableAligns(t *testing.T) {
	var b strings.Builder
	p := newPaper(&b, 40, false)
	p.table([]column{{head: "name", wide: true}, {head: "n", right: true}, {head: "result"}},
		[]row{{[]string{"呼び出し", "7", "ok"}, ""}, {[]string{"a call of many words that is wrapped here", "1,234", "✗"}, ""}})
	if err := p.w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "name                           n  result\n" +
		"呼び出し                       7  ok\n" +
		"a call of many words that  1,234  ✗\n" +
		"is wrapped here\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
