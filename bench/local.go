package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
	"github.com/ledger-once/ledger/sqlitestore"
)

// counted is a store that counts how often a guard asks it about a record.
type counted struct {
	*sqlitestore.Store
	n atomic.Int64
}

func (c *counted) Claim(ctx context.Context, claim ledger.Claim) (ledger.Record, bool, error) {
	c.n.Add(1)
	return c.Store.Claim(ctx, claim)
}

func (c *counted) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	c.n.Add(1)
	return c.Store.Get(ctx, id)
}

// timed is how long fn takes, in µs, measured over a round's time.
func timed(ctx context.Context, round time.Duration, fn func() error) (float64, error) {
	n, start := 0, time.Now()
	for time.Since(start) < round {
		for range 20 {
			if err := fn(); err != nil {
				return 0, err
			}
		}
		n += 20
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 1e3 / float64(n), nil
}

// A thing is timed in turns with others.
type thing struct {
	name string
	do   func() error
}

// locals are the things that need no disk, and duplicates that ask the store.
type locals struct {
	things   []thing // the first one is a duplicate that this process remembers
	accesses func() int64
	closers  []func() error
}

func (l *locals) close() error {
	var errs []error
	for _, f := range slices.Backward(l.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func openLocals(ctx context.Context, dir string) (_ *locals, err error) {
	l := &locals{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	s, err := sqlitestore.Open(ctx, filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		return nil, err
	}
	l.closers = append(l.closers, s.Close)
	store := &counted{Store: s}
	l.accesses = store.n.Load
	guard := func(o *ledger.Options) (*ledger.Guard, error) {
		g, err := ledger.New(store, o)
		if err == nil {
			l.closers = append(l.closers, func() error { return g.Close(context.WithoutCancel(ctx)) })
		}
		return g, err
	}
	g, err := guard(nil)
	if err != nil {
		return nil, err
	}
	// A guard that remembers one record only: with two in turns, it asks the store each time.
	forgetful, err := guard(&ledger.Options{CacheSize: 1})
	if err != nil {
		return nil, err
	}
	in := []rounds.ChargeArgs{rounds.Charge("one"), rounds.Charge("two")}
	call := func(g *ledger.Guard, i int) error {
		_, err := ledger.Do(ctx, g, ledger.Call{Tool: "charge_card", Args: in[i]}, func(context.Context) (int, error) { return 1, nil })
		return err
	}
	duplicate := func(g *ledger.Guard, i int) error {
		if err := call(g, i); !errors.Is(err, ledger.ErrDuplicate) {
			return fmt.Errorf("a duplicate was answered with %w", err)
		}
		return nil
	}
	for i := range in {
		if err := call(g, i); err != nil {
			return nil, err
		}
	}
	h, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, 16<<10)
	sum := func(v any) func() error {
		return func() error {
			canon, key, err := h.Canon(buf[:0], v)
			if err == nil {
				h.Sum("default", "charge_card", key, canon)
			}
			return err
		}
	}
	turn := 0
	l.things = []thing{
		{"duplicate, local cache", func() error { return duplicate(g, 0) }},
		{"duplicate, from the store", func() error { turn ^= 1; return duplicate(forgetful, turn) }},
		{"fingerprint, five-field struct", sum(in[0])},
		{"fingerprint, map", sum(map[string]any{"ID": "one", "Customer": "cus_9s6XKzkNRiz8i3", "Amount": 4200, "Currency": "eur", "Rate": 1.25})},
		{"fingerprint, 4 KiB of JSON", sum(map[string]any{"text": strings.Repeat("words and more ", 270), "n": 1.5})},
	}
	return l, nil
}

// local measures them.
func (r *runner) local(ctx context.Context, name string) (err error) {
	dir, err := r.place(name)
	if err != nil {
		return err
	}
	l, err := openLocals(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := r.timeAll(ctx, Cell{Name: name, Group: "local", Unit: "µs"}, l.things); err != nil {
		return err
	}
	before := l.accesses()
	const calls = 1000
	for range calls {
		if err := l.things[0].do(); err != nil {
			return err
		}
	}
	n := float64(l.accesses()-before) / calls
	r.result.Cells = append(r.result.Cells, Cell{Name: "accesses", Unit: "a call", Rows: []Row{figure("store accesses of a local duplicate", n)}})
	return nil
}

// timeAll times things in turns.
func (r *runner) timeAll(ctx context.Context, c Cell, things []thing) error {
	took := make([][]float64, len(things))
	for n := range r.o.plan.rounds + 1 {
		for i, t := range things {
			us, err := timed(ctx, r.o.plan.round/4, t.do)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if n > 0 {
				took[i] = append(took[i], us)
			}
		}
	}
	for i, t := range things {
		c.Rows = append(c.Rows, Row{Name: t.name, Value: spread(took[i])})
	}
	r.result.Cells = append(r.result.Cells, c)
	return nil
}
