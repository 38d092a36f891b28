package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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

// records measures how the rate depends on how many records are stored: stores of each size, in turns. It also measures what
// the greatest one costs: the disk, and to list it.
func (r *runner) records(ctx context.Context, name string, sizes []int, open opener) (err error) {
	var ways []rounds.Way
	defer func() { err = errors.Join(err, benchkit.Close(ways)) }()
	var last ledger.Store
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
		stored, err := fill(ctx, w, n, r.o.plan.fillFor)
		if err != nil {
			return err
		}
		ways[len(ways)-1].Name = fmt.Sprintf("%d records", stored)
		last = s
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
	figures := []Row{figure(fmt.Sprintf("list and count all %d records, ms", n), took)}
	if size := sizeOf(filepath.Join(r.dir, placeName(name))); size > 0 {
		figures = append(figures, figure("bytes on disk a record, of the greatest store", size/float64(n)))
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
