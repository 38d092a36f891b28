package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	beginMark = "<!-- generated: begin; go run ./bench --readme fills what is between the marks -->"
	endMark   = "<!-- generated: end -->"
)

// fillReadme puts the result between the marks of the page at path. out is where the plots are; "" links none.
func fillReadme(path, out string, r *Result) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the marks of its generated section: %s and %s", path, beginMark, endMark)
	}
	plotDir := ""
	if out != "" {
		if plotDir, err = filepath.Rel(filepath.Dir(path), out); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n"+markdown(filepath.ToSlash(plotDir), r)+endMark+after), 0o644)
}

func markdown(plotDir string, r *Result) string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "\nMeasured %s in %s with `%s` on %d CPUs, %s/%s, %s. Figures are medians of the rounds, [least..greatest].\n",
		r.Started.Format("2006-01-02"), r.Took, r.Command, m.CPUs, m.OS, m.Arch, m.Go)
	if r.Partial {
		b.WriteString("\n**Partial: the run was interrupted.**\n")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n> %s\n", strings.Join(strings.Fields(note), " "))
	}
	b.WriteString("\n### Floors\n\n| floor | wanted | figure | verdict |\n|---|---|---|---|\n")
	for _, f := range r.Floors {
		figure := "–"
		if f.Measured {
			figure = f.Figure.String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Name, f.want(), figure, f.verdict())
	}
	for _, c := range r.Cells {
		fmt.Fprintf(&b, "\n### %s\n\n| | %s | of the first row | p50 µs | p99 µs |\n|---|---|---|---|---|\n", c.Name, c.Unit)
		for _, row := range c.Rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Value, against(c, row), median(row.P50), median(row.P99))
		}
	}
	if plotDir == "" {
		return b.String() + "\n"
	}
	b.WriteString("\n### Plots\n\n")
	for _, group := range groups(r) {
		name := strings.ReplaceAll(group, "/", "-")
		fmt.Fprintf(&b, "![%s](%s/%s.svg)\n", group, plotDir, name)
		for _, p := range []string{"p50", "p99"} {
			if _, ok := latency(r, group, p); ok {
				fmt.Fprintf(&b, "![%s, %s](%s/%s-%s.svg)\n", group, p, plotDir, name, p)
			}
		}
	}
	return b.String() + "\n"
}

// latency reports whether a group has a plot of its latencies.
func latency(r *Result, group, p string) ([]line, bool) {
	lines, _ := linesOf(r, group, func(row Row) *Spread {
		if p == "p50" {
			return row.P50
		}
		return row.P99
	})
	return lines, len(lines) > 0
}
