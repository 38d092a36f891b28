package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A page is refused before anything is measured, not at the end of a long run.
func TestPageIsChecked(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if err := checkPage(page); err != nil {
		t.Errorf("README.md: %v", err)
	}
	const end = "<!-- generated: end -->"
	before, after, _ := strings.Cut(page, begin("local"))
	local, rest, _ := strings.Cut(after, end)
	endless := before + begin("local") + local + rest
	for _, tt := range []struct{ page, want string }{
		{"", `0 times "<!-- generated: begin summary -->"`},
		{page + begin("rest") + "\n<!-- generated: end -->", `nothing fills the place "rest"`},
		{page + begin("local") + "\n<!-- generated: end -->", `2 times "<!-- generated: begin local -->"`},
		{endless, `"local" has no end`},
	} {
		if err := checkPage(tt.page); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	o := tiny(t, "^nothing")
	o.readme = filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(o.readme, []byte("no places"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := measure(t.Context(), o, "", io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), o.readme) {
		t.Errorf("got %v", err)
	}
	o.readme = filepath.Join(t.TempDir(), "missing.md")
	if err := measure(t.Context(), o, "", io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Each cell is put somewhere, and what is filled can be filled again.
func TestPageIsFilled(t *testing.T) {
	r := &runner{o: tiny(t, "")}
	r.o.others = true
	for _, s := range r.stages() {
		for _, c := range s.cells {
			if _, ok := sections[sectionOf(c.name)]; !ok {
				t.Errorf("%s belongs to no section but %q", c.name, sectionOf(c.name))
			}
		}
	}
	p50, p99 := Spread{1, 1, 1}, Spread{22, 20, 25}
	res := &Result{Notes: []string{"<!-- generated: end --> | not a mark"}, Cells: []Cell{
		{Name: "sqlite/callers=1", Group: "sqlite", X: 1, Unit: "calls/s", Rows: []Row{{Name: "bare", Value: Spread{10, 9, 11}, P50: &p50, P99: &p99},
			{Name: "a|b", Value: Spread{30, 29, 31}, Ratios: map[string]Spread{"bare": {3, 2.5, 3.5}}}}},
		{Name: "sqlite/callers=16", Group: "sqlite", X: 16, Unit: "calls/s", Rows: []Row{{Name: "bare", Value: Spread{40, 40, 40}}}},
		{Name: "sqlite/growth", Group: "sqlite/growth", Unit: "bytes", Rows: []Row{figure("heap", 5)}},
	}}
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		if err := fillReadme(path, filepath.Join(filepath.Dir(path), "results"), res); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(text) {
			t.Error("filled again it is another page")
		}
		first = text
	}
	for _, want := range []string{
		"| sqlite: calls/s, by callers | 1 | 16 |\n|---|---|---|\n| bare | 10 [9..11] | 40 [40..40] |\n| a\\|b | 30 [29..31] | – |\n",
		"| sqlite: times the first row | 1 | 16 |",
		"| bare | 1 | 1 |\n| a\\|b | 3 [2.5..3.5] | – |",
		"| bare | 1 / 22 |",
		"(results/sqlite.svg)", "(results/sqlite-p99.svg)",
		"| sqlite/growth | bytes |\n|---|---|\n| heap | 5 [5..5] |",
		"&lt;!-- generated: end --> \\| not a mark",
		begin("waiters") + "\nNot measured in this run.\n<!-- generated: end -->",
	} {
		if !strings.Contains(string(first), want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", first)
	}
}

func TestCommand(t *testing.T) {
	if got, want := command([]string{"--only", "^a|b's", "--out", "bench/results"}), `go run ./bench --only '^a|b'\''s' --out bench/results`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A stage that fails does not cost the others their results.
func TestFailedStage(t *testing.T) {
	o := tiny(t, "^local|^others")
	o.others, o.exe = true, o.exe+"-that-is-not-there"
	err := measure(context.WithoutCancel(t.Context()), o, "", io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "guarded call") {
		t.Errorf("got %v", err)
	}
	r := load(t, o.out)
	if !r.Partial || len(r.Notes) != 1 || r.row("local", "duplicate, local cache") == nil {
		t.Errorf("it is partial: %t, with the notes %q", r.Partial, r.Notes)
	}
}
