package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A place is a part of the page that a run fills. Its name is "summary" or that of a section.
var place = regexp.MustCompile(`(?s)<!-- generated: begin ([\w-]+) -->.*?<!-- generated: end -->`)

// sections are what results are sorted into, each with the axis of its plots.
var sections = map[string]string{
	"local": "", "sqlite": "callers", "etcd1": "callers", "etcd3": "callers", "others": "callers", "client": "",
	"records": "", "growth": "", "workers": "worker processes", "waiters": "waiters", "args": "bytes of arguments",
}

// sectionOf says where a cell belongs: sqlite/callers=16 to sqlite, sqlite/records/costs to records.
func sectionOf(cell string) string {
	parts := strings.FieldsFunc(cell, func(r rune) bool { return r == '/' || r == '=' })
	switch {
	case cell == "accesses":
		return "local"
	case len(parts) > 1 && parts[1] != "callers":
		return parts[1]
	}
	return parts[0]
}

// checkPage returns an error unless the page has one place for the summary and for each section, and no other. It is asked before anything is measured.
func checkPage(page string) error {
	var errs []error
	found := map[string]int{}
	for _, m := range place.FindAllStringSubmatch(page, -1) {
		found[m[1]]++
		if _, ok := sections[m[1]]; !ok && m[1] != "summary" {
			errs = append(errs, fmt.Errorf("nothing fills the place %q", m[1]))
		}
		if strings.Count(m[0], "<!-- generated: ") != 2 {
			errs = append(errs, fmt.Errorf("the place %q has no end", m[1]))
		}
	}
	for _, name := range append(sectionNames(), "summary") {
		if found[name] != 1 {
			errs = append(errs, fmt.Errorf("it has %d times %q and an end, want it once", found[name], begin(name)))
		}
	}
	return errors.Join(errs...)
}

func sectionNames() []string {
	var names []string
	for name := range sections {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func begin(name string) string { return "<!-- generated: begin " + name + " -->" }

// fillReadme puts the result into the places of the page at path, all of it from this one run. out is where the plots are; "" links none.
func fillReadme(path, out string, r *Result) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := checkPage(string(page)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	plotDir := ""
	if out != "" {
		if plotDir, err = relative(filepath.Dir(path), out); err != nil {
			return err
		}
	}
	filled := place.ReplaceAllStringFunc(string(page), func(old string) string {
		name := place.FindStringSubmatch(old)[1]
		text := ""
		if name == "summary" {
			text = summary(r)
		} else {
			text = section(name, plotDir, r)
		}
		return begin(name) + "\n" + text + "<!-- generated: end -->"
	})
	return os.WriteFile(path, []byte(filled), 0o644)
}

// relative is how a page in one directory names another, with slashes.
func relative(from, to string) (string, error) {
	from, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(from, to)
	return filepath.ToSlash(rel), err
}

func summary(r *Result) string {
	var b strings.Builder
	m := r.Machine
	model := ""
	if m.CPU != "" {
		model = " (" + m.CPU + ")"
	}
	fmt.Fprintf(&b, "Measured %s in %s with `%s` on %d CPUs%s, %s/%s, %s. Figures are medians of the rounds, [least..greatest].\n",
		r.Started.Format("2006-01-02"), r.Took, r.Command, m.CPUs, model, m.OS, m.Arch, m.Go)
	if r.Partial {
		b.WriteString("\n**Partial: the run was interrupted, or a part failed.**\n")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n> %s\n", escape(strings.Join(strings.Fields(note), " ")))
	}
	b.WriteString("\n| floor | wanted | aim | figure | verdict |\n|---|---|---|---|---|\n")
	for _, f := range r.Floors {
		figure, aim := "–", "–"
		if f.Measured {
			figure = f.Figure.String()
		}
		if f.Aim != 0 {
			aim = fmt.Sprintf("%g%s", f.Aim, f.Unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.Name, f.want(), aim, figure, f.verdict())
	}
	return b.String()
}

// escape keeps text from ending a cell of a table, or from being taken for a mark.
func escape(s string) string { return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(s) }

// section is what was measured of one kind: a table for each group of cells with a place on an axis, and its plots; then the other cells.
func section(name, plotDir string, r *Result) string {
	var b strings.Builder
	for _, group := range groups(r) {
		var cells []Cell
		for _, c := range r.Cells {
			if c.Group == group && c.X > 0 && sectionOf(c.Name) == name {
				cells = append(cells, c)
			}
		}
		if len(cells) > 0 {
			across(&b, group, sections[name], cells)
			pictures(&b, plotDir, group, r)
		}
	}
	for _, c := range r.Cells {
		if c.X <= 0 && sectionOf(c.Name) == name {
			down(&b, c)
		}
	}
	if b.Len() == 0 {
		return "Not measured in this run.\n"
	}
	return b.String()
}

// across writes the cells of one group side by side.
func across(b *strings.Builder, group, axis string, cells []Cell) {
	var names []string
	timed, compared := false, false
	for _, c := range cells {
		for _, row := range c.Rows {
			if !slices.Contains(names, row.Name) {
				names = append(names, row.Name)
			}
			timed = timed || row.P99 != nil
			compared = compared || len(row.Ratios) > 0
		}
	}
	write := func(title string, of func(c Cell, row Row) string) {
		fmt.Fprintf(b, "| %s: %s |", group, title)
		for _, c := range cells {
			fmt.Fprintf(b, " %s |", number(c.X))
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(cells)) + "\n")
		for _, name := range names {
			fmt.Fprintf(b, "| %s |", escape(name))
			for _, c := range cells {
				text := "–"
				if i := slices.IndexFunc(c.Rows, func(row Row) bool { return row.Name == name }); i >= 0 {
					text = of(c, c.Rows[i])
				}
				fmt.Fprintf(b, " %s |", text)
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	write(cells[0].Unit+", by "+axis, func(_ Cell, row Row) string { return row.Value.String() })
	if compared {
		write("times the first row", func(c Cell, row Row) string {
			if row.Name == c.Rows[0].Name {
				return "1"
			}
			return against(c, row)
		})
	}
	if timed {
		write("latency, p50 / p99, µs", func(_ Cell, row Row) string {
			return cmp.Or(median(row.P50), "–") + " / " + cmp.Or(median(row.P99), "–")
		})
	}
}

// down writes one cell.
func down(b *strings.Builder, c Cell) {
	compared := slices.ContainsFunc(c.Rows, func(row Row) bool { return against(c, row) != "" })
	timed := slices.ContainsFunc(c.Rows, func(row Row) bool { return row.P99 != nil })
	head, rule := "| "+c.Name+" | "+c.Unit+" |", "|---|---|"
	if compared {
		head, rule = head+" times the first row |", rule+"---|"
	}
	if timed {
		head, rule = head+" p50 / p99, µs |", rule+"---|"
	}
	b.WriteString(head + "\n" + rule + "\n")
	for _, row := range c.Rows {
		fmt.Fprintf(b, "| %s | %s |", escape(row.Name), row.Value)
		if compared {
			fmt.Fprintf(b, " %s |", against(c, row))
		}
		if timed {
			fmt.Fprintf(b, " %s / %s |", median(row.P50), median(row.P99))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// pictures links the plots of a group.
func pictures(b *strings.Builder, plotDir, group string, r *Result) {
	if plotDir == "" {
		return
	}
	name := strings.ReplaceAll(group, "/", "-")
	fmt.Fprintf(b, "![%s](%s/%s.svg)\n", group, plotDir, name)
	for _, p := range []string{"p50", "p99"} {
		if lines, _ := linesOf(r, group, latency(p)); len(lines) > 0 {
			fmt.Fprintf(b, "![%s, %s](%s/%s-%s.svg)\n", group, p, plotDir, name, p)
		}
	}
	b.WriteString("\n")
}

// latency picks a row's p50 or p99.
func latency(p string) func(Row) *Spread {
	return func(row Row) *Spread {
		if p == "p50" {
			return row.P50
		}
		return row.P99
	}
}
