package report

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ledger-once/ledger/chaos/internal/explore"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func all(doc *html.Node, names ...string) (found []*html.Node) {
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && slices.Contains(names, n.Data) {
			found = append(found, n)
		}
	}
	return found
}

func words(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

// elements are all that a page may have: none of them loads or runs anything.
var elements = strings.Fields(`html head meta title style body a header main footer section article nav div p span b i h1 h2 h3 h4
	ul li dl dt dd pre code table thead tbody tr th td details summary svg path rect text desc defs pattern`)

// attributes are all that they may have; href and content are looked at apart.
var attributes = strings.Fields(`lang charset http-equiv content name class id href tabindex role aria-label aria-labelledby aria-hidden
	scope title open viewbox preserveaspectratio focusable width height x y d patternunits patterntransform`)

// selfContained fails unless the page can load, run and send nothing.
func selfContained(t *testing.T, doc *html.Node) {
	t.Helper()
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(elements, n.Data) {
			t.Errorf("a page has the element <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if !slices.Contains(attributes, strings.ToLower(a.Key)) {
				t.Errorf("<%s> has the attribute %s=%q", n.Data, a.Key, a.Val)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "./") {
				t.Errorf("<%s> leads to %q", n.Data, a.Val)
			}
		}
	}
	styles := all(doc, "style")
	if len(styles) != 1 {
		t.Fatalf("%d styles, want 1", len(styles))
	}
	style := words(styles[0])
	for _, m := range regexp.MustCompile(`(?i)url\([^)]*\)|@import|@font-face|expression\(`).FindAllString(style, -1) {
		if m != "url(#hatch)" {
			t.Errorf("the style has %q", m)
		}
	}
	digest := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'"
	metas := all(doc, "meta")
	if attr(metas[1], "http-equiv") != "Content-Security-Policy" || attr(metas[1], "content") != want {
		t.Errorf("the second meta is %v, want the policy %q", metas[1].Attr, want)
	}
}

// accessible checks what a screen reader and a keyboard need.
func accessible(t *testing.T, doc *html.Node) {
	t.Helper()
	level := 0
	for _, h := range all(doc, "h1", "h2", "h3", "h4") {
		n := int(h.Data[1] - '0')
		if n > level+1 || n == 1 && level != 0 {
			t.Errorf("<%s>%s follows a heading of level %d", h.Data, words(h), level)
		}
		level = n
	}
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("the id %q is there twice", id)
			}
			ids[id] = true
		}
	}
	for _, a := range all(doc, "a") {
		if to, ok := strings.CutPrefix(attr(a, "href"), "#"); ok && !ids[to] {
			t.Errorf("a link leads to #%s, which there is not", to)
		}
	}
	for _, h := range all(doc, "th") {
		if s := attr(h, "scope"); s != "col" && s != "row" {
			t.Errorf("the header %q has the scope %q", words(h), s)
		}
	}
	for _, tab := range all(doc, "table") {
		if p := tab.Parent; attr(p, "tabindex") != "0" || attr(p, "role") != "region" || attr(p, "aria-label") == "" {
			t.Errorf("a table's box has the attributes %v: it can not be scrolled by keyboard", p.Attr)
		}
		if len(all(tab, "thead")) != 1 {
			t.Error("a table has no head")
		}
	}
	for _, s := range all(doc, "svg") {
		if attr(s, "role") == "img" {
			if len(all(s, "title")) == 0 || len(all(s, "desc")) != 1 {
				t.Error("a picture has no title or description")
			}
		} else if attr(s, "aria-hidden") != "true" {
			t.Error("an ornament is not hidden")
		}
	}
}

func TestPageStructure(t *testing.T) {
	sections := map[string]string{
		"passed":   "figures invariants effects faults lanes explorer coverage mutants workload",
		"violated": "figures violations invariants effects faults lanes explorer coverage mutants workload",
		"invalid":  "faults workload",
	}
	for name, s := range threeRuns(t) {
		t.Run(name, func(t *testing.T) {
			dir := s.Dir
			doc := parse(t, pageOf(t, s, dir))
			selfContained(t, doc)
			accessible(t, doc)
			var got, linked []string
			for _, n := range all(doc, "section") {
				got = append(got, attr(n, "id"))
			}
			for _, n := range all(all(doc, "nav")[0], "a") {
				linked = append(linked, attr(n, "href")[1:])
			}
			if strings.Join(got, " ") != sections[name] || !slices.Equal(got, linked) {
				t.Errorf("sections %q, links %q, want %q", got, linked, sections[name])
			}
			head := words(all(doc, "header")[0])
			for _, want := range append([]string{s.Verdict, s.Command, "etcd, 3 members; 8 workers", "go1.26.0"}, s.Why...) {
				if !strings.Contains(head, want) {
					t.Errorf("the head lacks %q", want)
				}
			}
		})
	}
}

// What the page says of a violated run: each part is looked for where a reader looks for it.
func TestPageTellsWhatIsWrong(t *testing.T) {
	s := threeRuns(t)["violated"]
	doc := parse(t, pageOf(t, s, s.Dir))
	text := map[string]string{}
	for _, n := range all(doc, "section") {
		text[attr(n, "id")] = words(n)
	}
	for id, want := range map[string][]string{
		"violations": {"two effects in one run under DoubtBlock", `<script>alert(1)</script>`, "Porcupine's picture"},
		"invariants": {"✗ violated", "not checked", "✓ held where known"},
		"effects":    {"beyond the bound", "✗ 1 beyond", "after takeovers"},
		"lanes":      {"the surroundings of the first violation", "the call of the first violation"},
		"coverage":   {"∅ 1 at zero", "0/16 ∅", "sqlite/claim-sent/pause/retry/plain", "the fault never landed at its point", "1: 3, 2: 1"},
		"mutants":    {"✗ 1 survived", "nothing"},
		"explorer":   {"48,112 states", "seen 1 to 3, T ≤ 2", "✓ tight"},
	} {
		for _, w := range want {
			if !strings.Contains(text[id], w) {
				t.Errorf("section %s lacks %q", id, w)
			}
		}
	}
	if n := strings.Count(pageOf(t, s, s.Dir), `class="effect focus"`); n != 2 {
		t.Errorf("%d effects of the violated call are drawn, want 2", n)
	}
}

const hostile = `</title></style></script><script>alert("x")</script>'"><img src=//x.example onerror=alert(1)>`

// poison puts hostile text in every string that v reaches.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			poison(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if k.Kind() == reflect.String {
				v.SetMapIndex(reflect.ValueOf(hostile+k.String()).Convert(k.Type()), v.MapIndex(k))
			}
		}
	case reflect.String:
		v.SetString(hostile + v.String())
	}
}

func TestPageEscapes(t *testing.T) {
	dir := t.TempDir()
	s := writeSample(t, dir, sampleRun{workers: 3, duration: 4 * time.Second, gap: 50 * time.Millisecond})
	// Hostile text in the directory too: in the histories, the faults and the journal.
	bad := trace.Process(9, 0)
	at := s.run.From + int64(time.Second)
	writeLines(t, filepath.Join(dir, trace.HistoryFile(bad)), []trace.Line{
		{At: at, N: 1, Kind: trace.Do, ID: hostile}, {At: at + 1e8, N: 1, End: true, Kind: trace.Do, Outcome: hostile, Err: hostile},
	})
	writeLines(t, filepath.Join(dir, trace.FaultsFile), []trace.Fault{{At: at, Until: at + 1e8, Kind: trace.FaultPause, Target: bad, Point: hostile, Text: hostile}, {At: at, Kind: hostile, Target: hostile}})
	writeLines(t, filepath.Join(dir, trace.WorldFile), []trace.Effect{{At: at, Did: hostile, ID: hostile, Worker: hostile, Answer: hostile}})

	sum := sampleSummary(s.run, dir)
	violate(sum, "x")
	sum.Explorer = map[string]any{"States": 3, "Violations": []any{hostile, map[string]any{"Text": hostile, "Trace": []string{hostile}}},
		"Cells": []any{map[string]any{"Fault": hostile, "Policy": hostile, "World": hostile, "Bound": hostile}}}
	cell := sum.Cells[0].Cell
	sum.Run.Cell = &cell
	poison(reflect.ValueOf(sum))
	page := pageOf(t, sum, dir)
	selfContained(t, parse(t, page))
	accessible(t, parse(t, page))
	if n := strings.Count(page, "alert(&#34;x&#34;)"); n < 200 {
		t.Errorf("hostile text is there %d times, want it everywhere", n)
	}
	if !strings.Contains(page, "pause · w09.0") {
		t.Error("the hostile fault is not drawn")
	}
}

// The least of a summary gives a page, and of what is not there nothing is shown.
func TestPageOfNothing(t *testing.T) {
	for name, s := range map[string]*trace.Summary{"zero": {}, "null explorer": {Explorer: (*int)(nil)}} {
		doc := parse(t, pageOf(t, s, ""))
		selfContained(t, doc)
		if n := len(all(doc, "section", "table", "nav")); n != 0 {
			t.Errorf("%s: %d sections, tables and lists of links, want none", name, n)
		}
		if got := words(all(doc, "header")[0]); !strings.Contains(got, "does not know this verdict") {
			t.Errorf("%s: the head says %q", name, got)
		}
	}
}

func TestPicture(t *testing.T) {
	for name, want := range map[string]string{
		"porcupine.html": "./porcupine.html", "a/../p.html": "./p.html", "parts/p.html": "./parts/p.html",
		"": "", "../p.html": "", "/etc/p.html": "", "//x.example/p": "", "http://x.example/": "", "javascript:alert(1)": "", `a\b`: "",
	} {
		if got := picture(name); got != want {
			t.Errorf("picture(%q) = %q, want %q", name, got, want)
		}
	}
}

// The explorer's result is another package's: what can not be understood is shown as it is, or left out.
func TestExplorerIsReadWithPatience(t *testing.T) {
	for name, tc := range map[string]struct {
		v    any
		want []string
	}{
		"tagged":    {map[string]any{"states": 7, "elapsed_ns": 1500000, "cells": []any{map[string]any{"fault": "late message", "policy": "block", "bound": 1, "max": 1, "min": 1, "ok": true}}}, []string{"7 states, in 1.5 ms", "late message", "~ not tight"}},
		"violation": {map[string]any{"states": 7, "violations": []any{map[string]any{"invariant": "I5", "text": "two", "search": "crash", "trace": []string{"claim", "effect"}}}}, []string{"I5: two (crash)", "claim\neffect"}},
		"list":      {[]int{1, 2}, []string{"[1,2]"}},
		"half":      {map[string]any{"States": 7, "Depth": "deep", "Cells": 3}, []string{"7 states"}},
		"text":      {"nothing to see", []string{`"nothing to see"`}},
	} {
		doc := parse(t, pageOf(t, &trace.Summary{Explorer: tc.v}, ""))
		got := words(all(doc, "section")[0])
		for _, w := range tc.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q lacks %q", name, got, w)
			}
		}
	}
}

// The real result, of the real package, is understood.
func TestExplorerAsItIs(t *testing.T) {
	r := &explore.Result{
		States: 7, Transitions: 9, Depth: 3, Elapsed: 2 * time.Millisecond,
		Cells: []explore.Cell{
			{Fault: "late message", Policy: "block", World: "plain", Bound: "1", Max: 1, Min: 0, Takeovers: 2, Tight: true, OK: true},
			{Fault: "late message", Policy: "retry", World: "plain", Bound: "one per takeover", Max: 4, Min: 1, Takeovers: 2, Tight: true},
		},
		Violations: []explore.Violation{{Invariant: "I5", Text: "four effects", Search: "late message, retry", Trace: []string{"claim", "effect"}}},
	}
	got := words(all(parse(t, pageOf(t, &trace.Summary{Explorer: r}, "")), "section")[0])
	for _, w := range []string{"7 states, 9 transitions, to a depth of 3, in 2 ms", "blockplain", "one per takeover", "seen 0 to 1, T ≤ 2", "✗ exceeded", "I5: four effects (late message, retry)", "claim\neffect"} {
		if !strings.Contains(got, w) {
			t.Errorf("%q lacks %q", got, w)
		}
	}
}

func TestPageWithoutItsDirectory(t *testing.T) {
	s := &trace.Summary{Verdict: "passed"}
	if p := pageOf(t, s, filepath.Join(t.TempDir(), "gone")); strings.Contains(p, "Swimlanes") {
		t.Error("a directory that is not there has swimlanes")
	}
	dir := t.TempDir()
	r := writeSample(t, dir, sampleRun{workers: 2, duration: 4 * time.Second, gap: 50 * time.Millisecond})
	if err := os.WriteFile(filepath.Join(dir, trace.HistoryFile("w00.0")), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pageOf(t, sampleSummary(r.run, dir), dir)
	if !strings.Contains(p, "They could not be drawn") || !strings.Contains(p, "w00.0.jsonl:1") {
		t.Error("the page does not say why it has no swimlanes")
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestErrorsOfTheWriterAreReturned(t *testing.T) {
	s := &trace.Summary{Verdict: "passed"}
	if err := HTML(brokenWriter{}, s, ""); !errors.Is(err, errBroken) {
		t.Errorf("HTML: %v", err)
	}
	if err := Text(brokenWriter{}, s, 80, false); !errors.Is(err, errBroken) {
		t.Errorf("Text: %v", err)
	}
}

// A page of the greatest summary that the checkers may hand over is still small enough to open.
func TestPageOfMuchEvidenceIsBounded(t *testing.T) {
	long := strings.Repeat("ä<", 10_000)
	s := &trace.Summary{Verdict: "violated", Command: long}
	for i := range 150 {
		v := trace.Violation{Invariant: "I1", ID: long, Text: long, Dir: long}
		for range 60 {
			v.Evidence = append(v.Evidence, long)
		}
		s.Findings.Violations = append(s.Findings.Violations, v)
		s.Why = append(s.Why, long)
		s.Mutants = append(s.Mutants, trace.MutantResult{Name: fmt.Sprint(i, long), Text: long, Evidence: long})
	}
	page := pageOf(t, s, "")
	if len(page) > 3_000_000 {
		t.Errorf("a page of %d bytes", len(page))
	}
	if !strings.Contains(page, "more bytes)") || !strings.Contains(page, "the rest is in summary.json") {
		t.Error("what was cut is not marked")
	}
}
