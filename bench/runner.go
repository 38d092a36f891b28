package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// A runner measures cells, one after the other, and keeps what it has if it is interrupted.
type runner struct {
	o        options
	dir      string
	progress io.Writer
	result   *Result
	done     int
	total    int
}

// A cell to measure. Cells of one group share what its stage opens.
type cell struct {
	name string
	run  func(ctx context.Context, name string) error
}

// A stage opens what its cells need, if one of them is wanted, and closes it after them.
type stage struct {
	open  func(ctx context.Context) error // nil: nothing to open
	cells []cell
	close func() error // nil: nothing to close
}

func (r *runner) all(ctx context.Context) error {
	stages := r.stages()
	for i := range stages {
		wanted := stages[i].cells[:0]
		for _, c := range stages[i].cells {
			if r.o.only.MatchString(c.name) {
				wanted = append(wanted, c)
			}
		}
		stages[i].cells = wanted
		r.total += len(wanted)
	}
	for _, s := range stages {
		if len(s.cells) == 0 {
			continue
		}
		if err := r.stage(ctx, s); err != nil {
			return err
		}
	}
	r.show("done", "")
	_, _ = fmt.Fprintln(r.progress)
	return nil
}

func (r *runner) stage(ctx context.Context, s stage) (err error) {
	r.show(s.cells[0].name, "opening")
	if s.open != nil {
		if err := s.open(ctx); err != nil {
			return err
		}
	}
	if s.close != nil {
		defer func() {
			if closeErr := s.close(); err == nil {
				err = closeErr
			}
		}()
	}
	for _, c := range s.cells {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.show(c.name, "")
		stop, err := r.startProfile(c.name)
		if err != nil {
			return err
		}
		err = c.run(ctx, c.name)
		if stopErr := stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.done++
	}
	return nil
}

// show says which cell is measured: one line that is written over on a terminal, else a line for each cell.
func (r *runner) show(name, what string) {
	const width = 24
	full := 0
	if r.total > 0 {
		full = width * r.done / r.total
	}
	line := fmt.Sprintf("[%s%s] %d/%d %s %s", strings.Repeat("#", full), strings.Repeat(".", width-full), r.done, r.total, name, what)
	if f, ok := r.progress.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		_, _ = fmt.Fprintf(r.progress, "\r%-78s", line)
	} else if what == "" {
		_, _ = fmt.Fprintln(r.progress, strings.TrimSpace(line))
	}
}

// compare measures ways in turns, so that a noisy neighbour meets all, after a warm-up of each. The cell is kept
// if at least one round was complete.
func (r *runner) compare(ctx context.Context, c Cell, ways []rounds.Way, callers int, round time.Duration) error {
	samples := make([][]rounds.Sample, len(ways))
	var failed error
rounds:
	for n := range r.o.plan.rounds + 1 {
		r.show(c.Name, fmt.Sprintf("round %d of %d", n, r.o.plan.rounds))
		for i, w := range ways {
			s, err := rounds.Measure(ctx, w.Call, callers, round)
			if err != nil {
				failed = fmt.Errorf("%s: %w", w.Name, err)
				break rounds
			}
			if n > 0 { // the first one warms up
				samples[i] = append(samples[i], s)
			}
		}
	}
	if len(samples[len(ways)-1]) > 0 {
		c.Unit = "calls/s"
		c.Rows = rows(ways, samples)
		r.result.Cells = append(r.result.Cells, c)
	}
	return failed
}

func rows(ways []rounds.Way, samples [][]rounds.Sample) []Row {
	of := func(i int, f func(rounds.Sample) float64) []float64 {
		v := make([]float64, len(samples[i]))
		for k, s := range samples[i] {
			v[k] = f(s)
		}
		return v
	}
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	all := make([]Row, len(ways))
	for i, w := range ways {
		rate := of(i, rounds.Sample.PerSecond)
		p50 := spread(of(i, func(s rounds.Sample) float64 { return micros(s.P50) }))
		p99 := spread(of(i, func(s rounds.Sample) float64 { return micros(s.P99) }))
		all[i] = Row{Name: w.Name, Value: spread(rate), P50: &p50, P99: &p99, Ratios: map[string]Spread{}, More: map[string]Spread{
			"allocs/call": spread(of(i, func(s rounds.Sample) float64 { return s.Allocs })),
			"cpu µs/call": spread(of(i, func(s rounds.Sample) float64 { return micros(s.CPU) / float64(s.Calls) })),
			"goroutines":  spread(of(i, func(s rounds.Sample) float64 { return float64(s.Goroutine) })),
		}}
		for k, base := range ways {
			if k != i {
				all[i].Ratios[base.Name] = paired(rate, of(k, rounds.Sample.PerSecond))
			}
		}
	}
	return all
}

// place makes a directory for measured files.
func (r *runner) place(name string) (string, error) {
	dir := filepath.Join(r.dir, placeName(name))
	return dir, os.MkdirAll(dir, 0o755)
}
