package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// A Floor is a promise about a figure.
type Floor struct {
	Name     string
	Limit    float64
	AtMost   bool // the figure must not exceed the limit; else it must reach it
	Unit     string
	Aim      float64
	Figure   Spread
	Measured bool
	Met      bool // by the median
}

func floors(r *Result) []Floor {
	var all []Floor
	add := func(f Floor, figure *Spread) {
		if figure != nil {
			f.Figure, f.Measured = *figure, true
			f.Met = f.Figure.Median >= f.Limit
			if f.AtMost {
				f.Met = f.Figure.Median <= f.Limit
			}
		}
		all = append(all, f)
	}
	ratio := func(cell, base string) *Spread { // of the guarded call's rate to the base's
		if row := r.row(cell, "guarded call"); row != nil {
			if s, ok := row.Ratios[base]; ok {
				return &s
			}
		}
		return nil
	}
	longer := func(cell string) *Spread { // the time of a call to that of two bare transactions
		s := ratio(cell, "bare transactions")
		if s != nil {
			inverse := s.inverse()
			s = &inverse
		}
		return s
	}
	value := func(cell, name string) *Spread {
		if row := r.row(cell, name); row != nil {
			return &row.Value
		}
		return nil
	}
	times := func(cell, least, most string) *Spread { // how much the rate falls between two stores
		if row := r.row(cell, least); row != nil {
			if s, ok := row.Ratios[most]; ok {
				return &s
			}
		}
		return nil
	}
	add(Floor{Name: "SQLite, 128 callers: rate against two bare transactions", Limit: 8, Unit: "x", Aim: 10}, ratio("sqlite/callers=128", "bare transactions"))
	add(Floor{Name: "SQLite, 1 caller: time against two bare transactions", Limit: 1.2, AtMost: true, Unit: "x", Aim: 1.05}, longer("sqlite/callers=1"))
	add(Floor{Name: "etcd, 3 members, 128 callers: rate against bare transactions", Limit: 2, Unit: "x", Aim: 2.7}, ratio("etcd3/callers=128", "bare transactions"))
	add(Floor{Name: "etcd, 3 members, 128 callers: rate against the fenced mutex", Limit: 4, Unit: "x", Aim: 5.5}, ratio("etcd3/callers=128", "fenced mutex"))
	var puts *Spread // a way of raw puts makes two for each of its calls
	if s := ratio("etcd3/callers=128", "raw puts"); s != nil {
		puts = &Spread{s.Median / 2, s.Min / 2, s.Max / 2}
	}
	add(Floor{Name: "etcd, 3 members, 128 callers: calls a second against single raw puts a second", Limit: 0.7, Unit: "x", Aim: 1}, puts)
	add(Floor{Name: "etcd, 3 members, 1 caller: time against two bare transactions", Limit: 1.15, AtMost: true, Unit: "x", Aim: 1.05}, longer("etcd3/callers=1"))
	add(Floor{Name: "duplicate from the local cache, five-field struct", Limit: 3, AtMost: true, Unit: "µs", Aim: 1.2}, value("local", "duplicate, local cache"))
	add(Floor{Name: "store accesses of a local duplicate", Limit: 0, AtMost: true, Unit: ""}, value("accesses", "store accesses of a local duplicate"))
	add(Floor{Name: "SQLite: how much the rate falls from 10^3 to 10^6 records", Limit: 2.5, AtMost: true, Unit: "x", Aim: 1.5}, times("sqlite/records", "1000 records", "1000000 records"))
	add(Floor{Name: "etcd: how much the rate falls from 10^3 to 10^5 records", Limit: 1.3, AtMost: true, Unit: "x"}, times("etcd1/records", "1000 records", "100000 records"))
	add(Floor{Name: "etcd, 128 callers: client's allocations a call", Limit: 150, AtMost: true, Unit: "allocs"}, value("etcd1/client", "allocations a call"))
	add(Floor{Name: "SQLite, one worker: heap after all calls against heap after the first part", Limit: 1.2, AtMost: true, Unit: "x"}, value("sqlite/growth/ratio", growthRow))
	add(Floor{Name: "etcd, one worker: heap after all calls against heap after the first part", Limit: 1.2, AtMost: true, Unit: "x"}, value("etcd1/growth/ratio", growthRow))
	return all
}

func (f Floor) verdict() string {
	switch {
	case !f.Measured:
		return "not measured"
	case f.Met:
		return "met"
	}
	return "NOT MET"
}

func (f Floor) want() string {
	if f.AtMost {
		return fmt.Sprintf("<= %g%s", f.Limit, f.Unit)
	}
	return fmt.Sprintf(">= %g%s", f.Limit, f.Unit)
}

// String is the median and, in brackets, the least and the greatest.
func (s Spread) String() string {
	return fmt.Sprintf("%s [%s..%s]", number(s.Median), number(s.Min), number(s.Max))
}

// number shows four digits that count, without an exponent, and groups those of great numbers by thousands.
func number(v float64) string {
	if math.Abs(v) < 10_000 {
		return fmt.Sprintf("%.4g", v)
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-3)
	digits := fmt.Sprintf("%.0f", math.Abs(math.Round(v/unit)*unit))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if v < 0 {
		return "-" + digits
	}
	return digits
}

func table(out io.Writer, r *Result) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if r.Partial {
		_, _ = fmt.Fprintln(w, "PARTIAL: the run was interrupted, or a part failed; what is missing below was not measured.")
	}
	for _, note := range r.Notes {
		_, _ = fmt.Fprintln(w, "NOTE:", note)
	}
	for _, c := range r.Cells {
		_, _ = fmt.Fprintf(w, "\n%s\t%s\tof the first row\tp50 µs\tp99 µs\n", c.Name, c.Unit)
		for _, row := range c.Rows {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", row.Name, row.Value, against(c, row), median(row.P50), median(row.P99))
		}
	}
	_, _ = fmt.Fprint(w, "\nfloor\twanted\tfigure\tverdict\n")
	for _, f := range r.Floors {
		figure := "-"
		if f.Measured {
			figure = f.Figure.String()
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", f.Name, f.want(), figure, f.verdict())
	}
	_ = w.Flush()
}

func against(c Cell, row Row) string {
	if s, ok := row.Ratios[c.Rows[0].Name]; ok {
		return s.String()
	}
	return ""
}

func median(s *Spread) string {
	if s == nil {
		return ""
	}
	return number(s.Median)
}
