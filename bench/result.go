package main

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Result is what results.json holds.
type Result struct {
	Version int // of this form: 1
	Command string
	Started time.Time
	Took    string
	Quick   bool
	Partial bool // it was interrupted, or a part failed: what is missing was not measured
	Machine Machine
	Cells   []Cell
	Floors  []Floor
	Notes   []string `json:",omitempty"` // what could not be measured, and why
}

// A Machine is where it was measured.
type Machine struct {
	OS, Arch, Go string
	CPUs         int
	CPU          string `json:",omitempty"` // its model, where the system tells
}

// A Cell is measured in one piece: its rows in turns, round after round.
type Cell struct {
	Name  string  // such as "sqlite/callers=128"
	Group string  // cells of one plot, such as "sqlite"
	X     float64 // the cell's place in the plot, such as 128
	Unit  string  // of the rows' values
	Rows  []Row
}

// A Row is one way, or one figure.
type Row struct {
	Name     string
	Value    Spread
	P50, P99 *Spread           `json:",omitempty"` // of the latency of a call, in µs
	Ratios   map[string]Spread `json:",omitempty"` // of this row's value to another row's, paired by round
	More     map[string]Spread `json:",omitempty"` // of the process: "allocs/call", "cpu µs/call", "goroutines"
}

// A Spread is the median of the rounds, with the least and the greatest.
type Spread struct{ Median, Min, Max float64 }

// spread of at least one value.
func spread(v []float64) Spread {
	v = slices.Sorted(slices.Values(v))
	s := Spread{v[len(v)/2], v[0], v[len(v)-1]}
	if len(v)%2 == 0 {
		s.Median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return s
}

// inverse is the spread of 1/v.
func (s Spread) inverse() Spread { return Spread{1 / s.Median, 1 / s.Max, 1 / s.Min} }

// paired is the spread of a[i]/b[i], of as many rounds as both have.
func paired(a, b []float64) Spread {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return spread(ratios)
}

func newResult(command string, quick bool) *Result {
	return &Result{Version: 1, Command: command, Started: time.Now().UTC().Truncate(time.Second), Quick: quick,
		Machine: Machine{runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.NumCPU(), processor()}}
}

// processor is its model as Linux names it; "" where nobody does.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(info), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	_, name, _ := strings.Cut(line, ":")
	return strings.TrimSpace(name)
}

func (r *Result) save(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// row finds a row; nil if it was not measured.
func (r *Result) row(cell, name string) *Row {
	for i := range r.Cells {
		if r.Cells[i].Name != cell {
			continue
		}
		for k := range r.Cells[i].Rows {
			if r.Cells[i].Rows[k].Name == name {
				return &r.Cells[i].Rows[k]
			}
		}
	}
	return nil
}
