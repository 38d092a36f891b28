package demo

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func sample() *Report {
	return &Report{
		OK:      true,
		Tools:   []Row{{"charge_card", 8, 13, 8, 0, 4, 1}, {"send_email", 100000, 13, 8, 4, 0, 2}},
		Total:   Row{"total", 100008, 26, 16, 4, 4, 3},
		Reads:   []Row{{"search_web", 7, 7, 7, 0, 0, 0}},
		Without: Figures{Twice: []string{"a"}},
		Store:   StoreInfo{kindEtcd, "etcd at http://10.0.0.1:2379, prefix ledger/demo-01234567", 2},
		Recoveries: []Recovery{
			{"charge_card", "order-7002", true, []string{"worker-2", "worker-11"}, []int64{9, 61}, true, 2.24},
			{"send_email", "order-7002", true, []string{"worker-2", "worker-3"}, []int64{10, 62}, true, 0},
			{"refund_payment", "order-7004", false, []string{"worker-1", "worker-1"}, []int64{8, 20}, false, 0},
		},
	}
}

func TestReportFits(t *testing.T) {
	for _, columns := range []int{80, 60} {
		for _, fence := range []int64{61, 1234567890} { // a cluster that is not new counts higher
			r := sample()
			r.Recoveries[0].Fences[1] = fence
			var b bytes.Buffer
			r.Print(&Printer{W: &b, Width: columns})
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n >= columns {
					t.Errorf("%d columns of %d: %q", n, columns, line)
				}
			}
		}
	}
}

func TestReportTellsRecoveries(t *testing.T) {
	for columns, want := range map[int][]string{
		80: {
			"charge_card of order-7002 2 → 11 killed after 2.2s 9 → 61 same",
			"send_email of order-7002 2 → 3 killed at once 10 → 62 same",
			"refund_payment of order-7004 1 → 1 no answer 8 → 20 other",
		},
		60: {
			"charge_card of order-7002: workers 2 → 11 (the first was killed, its claim free after 2.2s), fences 9 → 61, same token",
			"refund_payment of order-7004: workers 1 → 1 (the first got no answer), fences 8 → 20, other token",
		},
	} {
		var b bytes.Buffer
		sample().Print(&Printer{W: &b, Width: columns})
		said := strings.Join(strings.Fields(b.String()), " ")
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("%d columns: %q is missing in:\n%s", columns, w, b.String())
			}
		}
	}
}

func TestReportColours(t *testing.T) {
	var plain, coloured bytes.Buffer
	sample().Print(&Printer{W: &plain})
	sample().Print(&Printer{W: &coloured, Color: true})
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("an escape sequence without colour")
	}
	if !strings.Contains(coloured.String(), "\x1b["+red+"m") || !strings.Contains(coloured.String(), "\x1b["+green+"m") {
		t.Error("no colours with colour")
	}
	if got := strip(coloured.String()); got != plain.String() {
		t.Errorf("colours change the text:\n%s\n%s", got, plain.String())
	}
}

func strip(s string) string {
	for _, code := range []string{"0", bold, faint, red, green} {
		s = strings.ReplaceAll(s, "\x1b["+code+"m", "")
	}
	return s
}

func TestReportNamesWhatWentWrong(t *testing.T) {
	r := sample()
	r.OK, r.With.Twice, r.With.Missing, r.With.InDoubt = false, []string{"charge Ada"}, []string{"mail Ben"}, 3
	var b bytes.Buffer
	r.Print(&Printer{W: &b})
	for _, want := range []string{"happened more than once: charge Ada", "did not happen: mail Ben", "still in doubt: 3", "This is a bug"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
}

func TestFigures(t *testing.T) {
	s := &script{
		actions: []action{{Name: "a", Calls: []int{1, 2}}, {Name: "b", Calls: []int{3}}, {Name: "c", Calls: []int{4}}},
		meaning: map[int]string{1: "a", 2: "a", 3: "b", 4: "c"},
	}
	for name, c := range map[string]struct {
		calls          []int
		twice, missing string
	}{
		"once each":        {[]int{2, 3, 4}, "", ""},
		"twice by a retry": {[]int{1, 2, 3, 4}, "a", ""},
		"twice by itself":  {[]int{1, 3, 3, 4}, "b", ""},
		"never":            {[]int{1, 4}, "", "b"},
		"uncalled for":     {[]int{1, 3, 4, 9}, "something that nobody wanted", ""},
	} {
		p := &pass{}
		for _, n := range c.calls {
			p.effects = append(p.effects, effect{Call: n})
		}
		f := figures(s, p)
		if twice, missing := strings.Join(f.Twice, ","), strings.Join(f.Missing, ","); twice != c.twice || missing != c.missing {
			t.Errorf("%s: got twice %q, missing %q; want %q, %q", name, twice, missing, c.twice, c.missing)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 5, ""},
		{"one two three", 7, "one two|three"},
		{"one two three", 6, "one|two|three"},
		{"tremendous x", 4, "tremendous|x"},
		{"äöü äöü", 7, "äöü äöü"},
	} {
		if got := strings.Join(wrap(c.text, c.width), "|"); got != c.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
