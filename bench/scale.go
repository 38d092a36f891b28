package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// An opener opens a store of its own for each name.
type opener func(ctx context.Context, name string) (s ledger.Store, closeStore func() error, err error)

// fill stores n records by guarded calls, in a bounded time, and returns how many it stored.
func fill(ctx context.Context, w rounds.Way, n int, limit time.Duration) (int, error) {
	var (
		wg           sync.WaitGroup
		taken, there atomic.Int64
		mu           sync.Mutex
		failed       error
	)
	start := time.Now()
	for range 256 {
		wg.Go(func() {
			for taken.Add(1) <= int64(n) && time.Since(start) < limit {
				if err := w.Call(ctx, rounds.RandomID()); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				there.Add(1)
			}
		})
	}
	wg.Wait()
	return int(there.Load()), failed
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// records measures how the rate depends on how many records are stored: stores of each size, in turns. It also measures what
// the greatest one costs: the disk, the worker's memory, and to list it.
func (r *runner) records(ctx context.Context, name string, sizes []int, open opener) (err error) {
	var ways []rounds.Way
	defer func() { err = errors.Join(err, benchkit.Close(ways)) }()
	var last ledger.Store
	var figures []Row
	for _, n := range sizes {
		r.show(name, fmt.Sprintf("storing %d records", n))
		s, closeStore, err := open(ctx, fmt.Sprint(n))
		if err != nil {
			return err
		}
		w, err := benchkit.Guarded(s, closeStore)
		if err != nil {
			return errors.Join(err, closeStore())
		}
		ways = append(ways, w)
		stored, err := fill(ctx, w, n/10, r.o.plan.fillFor/10)
		if err != nil {
			return err
		}
		early := heap()
		more, err := fill(ctx, w, n-stored, r.o.plan.fillFor)
		if err != nil {
			return err
		}
		ways[len(ways)-1].Name = fmt.Sprintf("%d records", stored+more)
		last = s
		growth := (heap() - early) / float64(max(more, 1))
		figures = append(figures, Row{Name: fmt.Sprintf("heap of the process, bytes a record, while %d were added", more), Value: Spread{growth, growth, growth}})
	}
	c := Cell{Name: name, Group: name}
	if err := r.compare(ctx, c, ways, 128, min(r.o.plan.round, 150*time.Millisecond)); err != nil {
		return err
	}
	start, stats := time.Now(), ledger.Stats{}
	n := 0
	for rec, err := range last.List(ctx, ledger.Filter{}) {
		if err != nil {
			return err
		}
		stats.Add(&rec)
		n++
	}
	took := float64(time.Since(start).Microseconds()) / 1e3
	figures = append(figures, Row{Name: fmt.Sprintf("list and count all %d records, ms", n), Value: Spread{took, took, took}})
	if size := sizeOf(filepath.Join(r.dir, placeName(name))); size > 0 {
		each := size / float64(n)
		figures = append(figures, Row{Name: "bytes on disk a record, of the greatest store", Value: Spread{each, each, each}})
	}
	r.result.Cells = append(r.result.Cells, Cell{Name: name + "/costs", Rows: figures})
	return nil
}

func placeName(name string) string { return strings.NewReplacer("/", "-", "=", "-").Replace(name) }

// sizeOf is how many bytes the greatest file below dir has, with its log; 0 if there is none.
func sizeOf(dir string) (size float64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".db") {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size = max(size, float64(info.Size()))
		}
		return nil
	})
	return size
}

// waiters measures how long after a call's end the last of n waiters, in another worker, has its result.
func (r *runner) waiters(ctx context.Context, c Cell, n int, open opener) (err error) {
	policy := ledger.Policy{Replay: true, Wait: time.Minute}
	var guards [2]*ledger.Guard
	for i := range guards {
		s, closeStore, err := open(ctx, "waiters")
		if err != nil {
			return err
		}
		g, err := ledger.New(s, &ledger.Options{Default: policy})
		if err != nil {
			return errors.Join(err, closeStore())
		}
		defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(ctx)), closeStore()) }()
		guards[i] = g
	}
	var took []float64
	for range 3 {
		ms, err := waitOnce(ctx, guards[0], guards[1], n)
		if err != nil {
			return err
		}
		took = append(took, ms)
	}
	c.Unit = "ms"
	c.Rows = []Row{{Name: "until the last waiter has the result", Value: spread(took)}}
	r.result.Cells = append(r.result.Cells, c)
	return nil
}

func waitOnce(ctx context.Context, owner, other *ledger.Guard, n int) (ms float64, err error) {
	call := ledger.Call{Tool: "charge_card", Key: rounds.RandomID().Fingerprint, Args: 1}
	running, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	errs := make([]error, n+1)
	wg.Go(func() {
		_, errs[n] = ledger.Do(ctx, owner, call, func(context.Context) (int, error) {
			close(running)
			<-finish
			return 1, nil
		})
	})
	select {
	case <-running:
	case <-ctx.Done():
		wg.Wait()
		return 0, ctx.Err()
	}
	for i := range n {
		wg.Go(func() {
			_, errs[i] = ledger.Do(ctx, other, call, func(context.Context) (int, error) {
				return 0, errors.New("it ran twice")
			})
		})
	}
	select {
	case <-time.After(300 * time.Millisecond): // they all wait by then; who comes later finds the result
	case <-ctx.Done():
	}
	start := time.Now()
	close(finish)
	wg.Wait()
	return float64(time.Since(start).Microseconds()) / 1e3, errors.Join(errs...)
}

// arguments measures calls whose arguments have this many bytes.
func (r *runner) arguments(ctx context.Context, c Cell, size int, open opener) (err error) {
	s, closeStore, err := open(ctx, fmt.Sprint("args", size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	g, err := ledger.New(s, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close(context.WithoutCancel(ctx))) }()
	text := strings.Repeat("x", max(0, size-80))
	w := rounds.Way{Name: "guarded call", Call: func(ctx context.Context, id ledger.ID) error {
		_, err := ledger.Do(ctx, g, ledger.Call{Tool: id.Tool, Key: id.Fingerprint, Args: map[string]string{"text": text}},
			func(context.Context) (int, error) { return 1, nil })
		return err
	}}
	return r.compare(ctx, c, []rounds.Way{w}, 16, min(r.o.plan.round, 250*time.Millisecond))
}
