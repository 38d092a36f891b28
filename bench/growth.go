package main

import (
	"context"
	"errors"
	"fmt"
)

// settled is after how many calls a worker's cache of finished records (Options.CacheSize) and its pools are full, with a margin.
const settled = 15_000

// growthRow is the row that the floors are about.
const growthRow = "heap at the end against heap after the first part"

// growth measures whether a worker's memory stays flat over n calls: a process of its own, looked at after a tenth of them, or once its
// cache is full if that is later, and again after all.
func (r *runner) growth(ctx context.Context, name string, n int, store string) (err error) {
	w, err := r.startWorker(ctx, name, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	const callers = 128
	first := min(max(n/10, settled), n/2)
	c := Cell{Name: name, Group: name, Unit: "bytes"}
	var heaps, resident []float64
	for _, part := range []struct{ calls, after int }{{first, first}, {n - first, n}} {
		r.show(name, fmt.Sprintf("%d calls", part.after))
		if err := w.AskRun(callers, part.calls); err != nil {
			return err
		}
		s, err := w.Answer()
		if err != nil {
			return err
		}
		heap, rss := float64(s.Heap), float64(s.RSS)
		heaps, resident = append(heaps, heap), append(resident, rss)
		c.Rows = append(c.Rows, figure(fmt.Sprintf("heap after %d calls", part.after), heap))
		if rss > 0 { // the system tells
			c.Rows = append(c.Rows, figure(fmt.Sprintf("resident memory after %d calls", part.after), rss))
		}
	}
	c.Rows = append(c.Rows, figure("heap, growth of a call", (heaps[1]-heaps[0])/float64(n-first)))
	ratios := Cell{Name: name + "/ratio", Unit: "x", Rows: []Row{figure(growthRow, heaps[1]/heaps[0])}}
	if resident[0] > 0 {
		ratios.Rows = append(ratios.Rows, figure("resident memory at the end against that after the first part", resident[1]/resident[0]))
	}
	r.result.Cells = append(r.result.Cells, c, ratios)
	return nil
}

// figure is a row of one measurement.
func figure(name string, v float64) Row { return Row{Name: name, Value: Spread{v, v, v}} }
