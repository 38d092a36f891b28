package points

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/check"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// beside is how many cells run at a time, where their faults leave each other alone.
const beside = 12

// leaseTries is how often a cell is played whose lease ends before it can be revoked.
const leaseTries = 3

// Options of the layer.
type Options struct {
	Mode
	Dir     string // of the layer; it is made
	Keeper  *proc.Keeper
	Command []string
	Seed    uint64
	TTL     time.Duration
	// Progress is told after each cell.
	Progress func(done, of int, last trace.CellCount)
	// Found gets what the checkers say of each cell. It is not called by two at a time.
	Found func(f *trace.Findings, dir string)
}

// Run plays all cells of the mode, and returns their counters. An error says that it could not go on.
func Run(ctx context.Context, o *Options) ([]trace.CellCount, error) {
	cells := Cells(o.Mode)
	r := &runner{o: o, of: len(cells)}
	var counts []trace.CellCount
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].Store == cells[0].Store && cells[n].Members == cells[0].Members {
			n++
		}
		got, err := r.store(ctx, cells[:n])
		counts = append(counts, got...)
		if err != nil {
			return counts, err
		}
		cells = cells[n:]
	}
	return counts, nil
}

type runner struct {
	o    *Options
	of   int
	mu   sync.Mutex
	done int
	next int
}

// store plays the cells of one store. Those whose faults are felt by everybody have a lab of their
// own, in which they run one after the other.
func (r *runner) store(ctx context.Context, cells []trace.Cell) ([]trace.CellCount, error) {
	dir := filepath.Join(r.o.Dir, cells[0].Store)
	if cells[0].Members > 0 {
		dir = fmt.Sprintf("%s%d", dir, cells[0].Members)
	}
	var together, alone []int
	for i, c := range cells {
		if shared(c) {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	counts := make([]trace.CellCount, len(cells))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	in := func(name string, atATime int, which []int) {
		if len(which) == 0 {
			return
		}
		group.Go(func() {
			if err := r.lab(ctx, dir, name, atATime, cells, which, counts); err != nil {
				cancel(err)
			}
		})
	}
	in("lab", beside, together)
	in("lab-alone", 1, alone)
	group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return counts, nil
}

// lab plays the cells with these numbers in a lab, so many at a time, and fills in their counters.
func (r *runner) lab(ctx context.Context, dir, name string, atATime int, cells []trace.Cell, which []int, counts []trace.CellCount) (err error) {
	o := lab.Options{Dir: filepath.Join(dir, name), Keeper: r.o.Keeper, Command: r.o.Command, Members: cells[0].Members, TTL: ttl(cells[0], r.o.TTL)}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	l, err := lab.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var group sync.WaitGroup
	slots := make(chan struct{}, atATime)
	for _, i := range which {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			r.mu.Lock()
			r.next++
			at := filepath.Join(dir, fmt.Sprintf("cell-%03d", r.next))
			r.mu.Unlock()
			counts[i] = r.cell(ctx, l, cells[i], at)
		})
	}
	group.Wait()
	return nil
}

func ttl(c trace.Cell, d time.Duration) time.Duration {
	if c.Members == 0 {
		return 0
	}
	return d
}

// cell plays one cell and has it checked.
func (r *runner) cell(ctx context.Context, l *lab.Lab, c trace.Cell, dir string) trace.CellCount {
	count := trace.CellCount{Cell: c, Aimed: 1}
	began := time.Now()
	s, found, err := r.play(ctx, l, c, dir)
	for n := 2; n <= leaseTries && errors.Is(err, errNoLease); n++ {
		dir = fmt.Sprintf("%s-%d", dir, n)
		s, found, err = r.play(ctx, l, c, dir)
	}
	count.Took = time.Since(began)
	if err != nil && ctx.Err() != nil {
		return count // it was interrupted, and nothing is counted
	}
	if s != nil && s.landed {
		count.Landed = 1
	}
	count.OK = err == nil
	if err != nil {
		count.Text = err.Error()
	}
	if found != nil {
		count.Effects = map[int]int{found.Effects[trace.Done]: 1}
		if !found.OK() {
			count.OK = false
			count.Text = firstViolation(found)
		}
	}
	if !count.OK {
		if s != nil {
			count.Text += " [" + strings.Join(s.events, "; ") + "]"
		}
		count.Text += " in " + dir
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if found != nil && r.o.Found != nil {
		r.o.Found(found, dir)
	}
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.of, count)
	}
	return count
}

func firstViolation(f *trace.Findings) string {
	for _, v := range f.Violations {
		return v.Invariant + ": " + v.Text
	}
	return "a check failed"
}

func (r *runner) play(ctx context.Context, l *lab.Lab, c trace.Cell, dir string) (*scenario, *trace.Findings, error) {
	site, err := l.Site(ctx, dir, trace.Run{
		Layer: "points", Seed: r.o.Seed, Store: c.Store, Members: c.Members, Workers: 3, Tools: []trace.Tool{tool(c)}, Cell: &c,
	}, nil, "")
	if err != nil {
		return nil, nil, err
	}
	s := &scenario{site: site, cell: c}
	err = s.play(ctx)
	if err != nil { // what still runs has to end for the records to be read
		site.KillAll()
	}
	if err := errors.Join(err, site.End(ctx)); err != nil {
		return s, nil, err
	}
	found, err := check.Run(ctx, dir, nil)
	return s, found, err
}
