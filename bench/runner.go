package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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

// all goes on with the next stage where one fails.
func (r *runner) all(ctx context.Context) error {
	var failed []error
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
			if ctx.Err() != nil {
				return err
			}
			r.note("failed, and what comes after it in its stage was not measured: %v", err)
			failed = append(failed, err)
		}
	}
	r.show("done", "")
	_, _ = fmt.Fprintln(r.progress)
	return errors.Join(failed...)
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

// A contender is measured in turns with others.
type contender struct {
	name     string
	measure  func(ctx context.Context, callers int, d time.Duration) (rounds.Sample, error)
	optional bool // it is left out if it fails; a failure of another one ends the cell
	most     int  // callers that it can be measured with; 0: any number
}

// compare measures ways in turns.
func (r *runner) compare(ctx context.Context, c Cell, ways []rounds.Way, callers int, round time.Duration) error {
	all := make([]contender, len(ways))
	for i, w := range ways {
		all[i] = contender{name: w.Name, measure: func(ctx context.Context, callers int, d time.Duration) (rounds.Sample, error) {
			s, err := rounds.Measure(ctx, w.Call, callers, d)
			if err != nil {
				err = fmt.Errorf("%s: %w", w.Name, err)
			}
			return s, err
		}}
	}
	_, err := r.contend(ctx, c, all, callers, round)
	return err
}

// contend measures in turns, so that a noisy neighbour meets all, after a warm-up of each. The cell is kept
// if at least one round was complete. It returns which optional contenders failed.
func (r *runner) contend(ctx context.Context, c Cell, ways []contender, callers int, round time.Duration) (failed []string, err error) {
	ways = slices.Clone(ways)
	samples := map[string][]rounds.Sample{}
	complete := 0
	for n := range r.o.plan.rounds + 1 {
		r.show(c.Name, fmt.Sprintf("round %d of %d", n, r.o.plan.rounds))
		for _, w := range slices.Clone(ways) {
			s, err := w.measure(ctx, callers, round)
			if err == nil && n > 0 { // the first one warms up
				samples[w.name] = append(samples[w.name], s)
			}
			if err != nil && w.optional && ctx.Err() == nil {
				r.note("%s: %v: left out", c.Name, err)
				failed = append(failed, w.name)
				ways = slices.DeleteFunc(ways, func(o contender) bool { return o.name == w.name })
			} else if err != nil {
				r.keep(c, ways, samples, complete)
				return failed, err
			}
		}
		if len(ways) == 0 {
			break
		}
		complete = n
	}
	r.keep(c, ways, samples, complete)
	return failed, nil
}

// keep keeps a cell's complete rounds, if there are any.
func (r *runner) keep(c Cell, ways []contender, samples map[string][]rounds.Sample, complete int) {
	if complete == 0 {
		return
	}
	c.Unit = "calls/s"
	c.Rows = rows(ways, samples)
	r.result.Cells = append(r.result.Cells, c)
}

// note keeps something that whoever reads the result has to know.
func (r *runner) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

func rows(ways []contender, samples map[string][]rounds.Sample) []Row {
	of := func(w contender, f func(rounds.Sample) float64) []float64 {
		v := make([]float64, len(samples[w.name]))
		for k, s := range samples[w.name] {
			v[k] = f(s)
		}
		return v
	}
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	all := make([]Row, len(ways))
	for i, w := range ways {
		rate := of(w, rounds.Sample.PerSecond)
		p50 := spread(of(w, func(s rounds.Sample) float64 { return micros(s.P50) }))
		p99 := spread(of(w, func(s rounds.Sample) float64 { return micros(s.P99) }))
		all[i] = Row{Name: w.name, Value: spread(rate), P50: &p50, P99: &p99, Ratios: map[string]Spread{}, More: map[string]Spread{
			"allocs/call": spread(of(w, func(s rounds.Sample) float64 { return s.Allocs })),
			"cpu µs/call": spread(of(w, func(s rounds.Sample) float64 { return micros(s.CPU) / float64(s.Calls) })),
			"goroutines":  spread(of(w, func(s rounds.Sample) float64 { return float64(s.Goroutine) })),
		}}
		for _, base := range ways {
			if base.name != w.name {
				all[i].Ratios[base.name] = paired(rate, of(base, rounds.Sample.PerSecond))
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
