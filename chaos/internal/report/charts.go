package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
)

// bars are counts in falling order.
func bars(counts map[string]int, texts map[string]string) (rows []bar) {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	most, all := 0, 0
	for _, n := range counts {
		most, all = max(most, n), all+n
	}
	for _, n := range names[:min(len(names), maxRows)] {
		rows = append(rows, bar{Name: clip(n, maxLine), Text: texts[n], Count: count(counts[n]), Share: percent(counts[n], all), Width: linear(counts[n], most)})
	}
	return rows
}

func linear(n, most int) float64 {
	if n <= 0 || most <= 0 {
		return 0
	}
	return max(0.5, math.Round(1000*float64(n)/float64(most))/10)
}

// logarithmic lets one call in a million be seen.
func logarithmic(n, most int) float64 {
	if n <= 0 || most <= 0 {
		return 0
	}
	return math.Round(1000*math.Log1p(float64(n))/math.Log1p(float64(most))) / 10
}

// maxBars is how many numbers of effects a histogram tells apart.
const maxBars = 12

func histograms(all map[string]map[int]int) (charts []histogram) {
	most := 0
	for _, h := range all {
		for _, n := range h {
			most = max(most, n)
		}
	}
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names[:min(len(names), 40)] {
		policy, world, _ := strings.Cut(name, "/")
		allowed, text := bound(policy, world)
		h := histogram{Name: clip(name, maxLine), Bound: text}
		last, sum := max(allowed, 1)+1, 0 // the first number that is not allowed is shown, even at 0
		if allowed < 1 {
			last = 1
		}
		for n, calls := range all[name] {
			sum += calls
			if calls > 0 {
				last = max(last, n)
			}
		}
		for n := range min(last, maxBars-1) + 1 {
			calls, label := all[name][n], plural(n, "effect")
			if n == maxBars-1 { // the rest, together
				calls, label = 0, "more"
				for m, c := range all[name] {
					if m >= n {
						calls += c
					}
				}
			}
			b := bar{Name: label, Count: count(calls), Share: percent(calls, sum), Width: logarithmic(calls, most)}
			switch {
			case allowed > 0 && n > allowed:
				b.Class, b.Text = "none", "beyond: none"
				if calls > 0 {
					b.Class, b.Text = "over", "beyond the bound"
				}
				h.Over += calls
			case allowed == 0 && n > 1:
				b.Class, b.Text = "more", "after takeovers"
			}
			h.Rows = append(h.Rows, b)
		}
		charts = append(charts, h)
	}
	return charts
}
