package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A line of a plot, over a logarithmic x; its band goes from the least to the greatest.
type line struct {
	name string
	x    []float64
	y    []Spread
}

// ours is the guarded call's colour in every plot; the others' follow.
const ours = "#4363d8"

var colours = []string{"#808080", "#3cb44b", "#f58231", "#e6194b", "#911eb4", "#008080"}

// plots writes a plot of the values, and of the latencies where there are some, for each group of cells.
func plots(dir string, r *Result) error {
	for _, group := range groups(r) {
		name := strings.ReplaceAll(group, "/", "-")
		for _, p := range []struct {
			file, title string
			of          func(Row) *Spread
		}{
			{name, "", func(row Row) *Spread { return &row.Value }},
			{name + "-p50", "p50, µs", latency("p50")},
			{name + "-p99", "p99, µs", latency("p99")},
		} {
			lines, unit := linesOf(r, group, p.of)
			if len(lines) == 0 {
				continue
			}
			if p.title != "" {
				unit = p.title
			}
			if err := os.WriteFile(filepath.Join(dir, p.file+".svg"), []byte(svg(group+": "+unit, sections[sectionOf(group)], lines)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups lists the groups that have a place on an axis.
func groups(r *Result) (all []string) {
	for _, c := range r.Cells {
		if c.X > 0 && !slices.Contains(all, c.Group) {
			all = append(all, c.Group)
		}
	}
	return all
}

func linesOf(r *Result, group string, of func(Row) *Spread) (lines []line, unit string) {
	for _, c := range r.Cells {
		if c.Group != group || c.X <= 0 {
			continue
		}
		unit = c.Unit
		for _, row := range c.Rows {
			s := of(row)
			if s == nil || s.Min <= 0 {
				continue
			}
			i := slices.IndexFunc(lines, func(l line) bool { return l.name == row.Name })
			if i < 0 {
				i = len(lines)
				lines = append(lines, line{name: row.Name})
			}
			lines[i].x = append(lines[i].x, c.X)
			lines[i].y = append(lines[i].y, *s)
		}
	}
	return lines, unit
}

// svg draws the lines with both axes logarithmic. It needs one line with one point at least, all values above 0.
func svg(title, axis string, lines []line) string {
	const height, left, area, top, bottom = 420, 70, 480, 40, 60
	longest := 0
	for _, l := range lines {
		longest = max(longest, utf8.RuneCountInString(l.name))
	}
	right := 24 + 7*longest // the names stand there
	width := left + area + right
	loX, hiX, loY, hiY := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, l := range lines {
		loX, hiX = min(loX, slices.Min(l.x)), max(hiX, slices.Max(l.x))
		for _, y := range l.y {
			loY, hiY = min(loY, y.Min), max(hiY, y.Max)
		}
	}
	at := func(v, lo, hi, from, to float64) float64 {
		if hi <= lo {
			return (from + to) / 2
		}
		return from + (to-from)*math.Log(v/lo)/math.Log(hi/lo)
	}
	px := func(x float64) float64 { return at(x, loX, hiX, left, left+area) }
	py := func(y float64) float64 { return at(y, loY, hiY, height-bottom, top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`, width, height)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="15">%s</text>`+"\n", left, html.EscapeString(title))
	for e := math.Floor(math.Log10(loY)); e <= math.Ceil(math.Log10(hiY)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if y := m * math.Pow(10, e); y >= loY && y <= hiY {
				fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#e5e5e5"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, py(y), left+area, left-6, py(y)+4, number(y))
			}
		}
	}
	for _, x := range lines[0].x {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#e5e5e5"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(x), top, height-bottom, px(x), height-bottom+18, number(x))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+area/2, height-12, html.EscapeString(axis))
	others := 0
	for i, l := range lines {
		colour, thick := ours, 3
		if l.name != "guarded call" {
			colour, thick = colours[others%len(colours)], 2
			others++
		}
		var up, down, middle []string
		for k, x := range l.x {
			up = append(up, fmt.Sprintf("%.1f,%.1f", px(x), py(l.y[k].Max)))
			down = append(down, fmt.Sprintf("%.1f,%.1f", px(x), py(l.y[k].Min)))
			middle = append(middle, fmt.Sprintf("%.1f,%.1f", px(x), py(l.y[k].Median)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, px(x), py(l.y[k].Median), colour)
		}
		slices.Reverse(down)
		fmt.Fprintf(&b, `<polygon points="%s" fill="%s" fill-opacity="0.12"/>`, strings.Join(append(up, down...), " "), colour)
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%d"/>`, strings.Join(middle, " "), colour, thick)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+12, top+12+18*i, colour, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
