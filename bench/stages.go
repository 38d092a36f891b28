package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/benchkit"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
	"github.com/ledger-once/ledger/sqlitestore"
)

// stages lists all that is measured.
func (r *runner) stages() []stage {
	all := []stage{
		{cells: []cell{{"local", r.local}}},
		r.sqlite(),
		r.sqliteScale(),
		r.etcd(1),
		r.etcd(3),
		r.etcdScale(),
	}
	if r.o.others || r.o.ancestor != "" {
		all = slices.Insert(all, 2, r.others())
	}
	return all
}

func (r *runner) sqlite() stage {
	var ways []rounds.Way
	s := stage{
		open: func(ctx context.Context) error {
			dir, err := r.place("sqlite")
			if err != nil {
				return err
			}
			ways, err = benchkit.SQLite(ctx, dir, r.o.plan.warm)
			return err
		},
		close: func() error { return benchkit.Close(ways) },
	}
	for _, n := range r.o.plan.callers {
		s.cells = append(s.cells, cell{fmt.Sprintf("sqlite/callers=%d", n), func(ctx context.Context, name string) error {
			return r.compare(ctx, Cell{Name: name, Group: "sqlite", X: float64(n)}, ways, n, r.o.plan.round)
		}})
	}
	return s
}

func (r *runner) sqliteScale() stage {
	opener := func(place string) opener {
		return func(ctx context.Context, name string) (ledger.Store, func() error, error) {
			dir, err := r.place(place)
			if err != nil {
				return nil, nil, err
			}
			s, err := sqlitestore.Open(ctx, filepath.Join(dir, name+".db"), nil)
			if err != nil {
				return nil, nil, err
			}
			return s, s.Close, nil
		}
	}
	return stage{cells: r.scale("sqlite", r.o.plan.records, r.o.plan.growth, opener, func(place string) (string, error) {
		dir, err := r.place(place)
		return "sqlite:" + filepath.Join(dir, "ledger.db"), err
	})}
}

// scale lists what grows: stored records, calls of a worker, worker processes, waiters and arguments.
func (r *runner) scale(kind string, records []int, calls int, opener func(place string) opener, url func(place string) (string, error)) []cell {
	all := []cell{{kind + "/records", func(ctx context.Context, name string) error {
		return r.records(ctx, name, records, opener(placeName(name)))
	}}, {kind + "/growth", func(ctx context.Context, name string) error {
		where, err := url(placeName(name))
		if err != nil {
			return err
		}
		return r.growth(ctx, name, calls, where)
	}}}
	for _, n := range r.o.plan.workers {
		all = append(all, cell{fmt.Sprintf("%s/workers=%d", kind, n), func(ctx context.Context, name string) error {
			where, err := url(placeName(name))
			if err != nil {
				return err
			}
			return r.workers(ctx, Cell{Name: name, Group: kind + "/workers", X: float64(n)}, n, where)
		}})
	}
	for _, n := range r.o.plan.waiters {
		all = append(all, cell{fmt.Sprintf("%s/waiters=%d", kind, n), func(ctx context.Context, name string) error {
			return r.waiters(ctx, Cell{Name: name, Group: kind + "/waiters", X: float64(n)}, n, opener(placeName(name)))
		}})
	}
	for _, n := range r.o.plan.argBytes {
		all = append(all, cell{fmt.Sprintf("%s/args=%d", kind, n), func(ctx context.Context, name string) error {
			return r.arguments(ctx, Cell{Name: name, Group: kind + "/args", X: float64(n)}, n, opener(placeName(name)))
		}})
	}
	return all
}

// A fleet is an etcd in this process, with its own default timings and fsync.
type fleet struct{ servers *embedded.Servers }

func (f *fleet) start(ctx context.Context, r *runner, members int, place string) error {
	dir, err := r.place(place)
	if err != nil {
		return err
	}
	f.servers, err = embedded.Cluster(ctx, members, dir, nil)
	return err
}

func (r *runner) etcd(members int) stage {
	f, kind := &fleet{}, fmt.Sprintf("etcd%d", members)
	var ways []rounds.Way
	s := stage{
		open: func(ctx context.Context) error {
			if err := f.start(ctx, r, members, kind); err != nil {
				return err
			}
			var err error
			if ways, err = benchkit.Etcd(ctx, f.servers.Endpoints()); err != nil {
				return errors.Join(err, f.servers.Close())
			}
			return nil
		},
		close: func() error { return errors.Join(benchkit.Close(ways), f.servers.Close()) },
	}
	for _, n := range r.o.plan.callers {
		s.cells = append(s.cells, cell{fmt.Sprintf("%s/callers=%d", kind, n), func(ctx context.Context, name string) error {
			return r.compare(ctx, Cell{Name: name, Group: kind, X: float64(n)}, ways, n, r.o.plan.round)
		}})
	}
	s.cells = append(s.cells, cell{kind + "/client", func(ctx context.Context, name string) error {
		return r.client(ctx, Cell{Name: name}, "etcd:"+strings.Join(f.servers.Endpoints(), ","))
	}})
	return s
}

// etcdScale is on a cluster of its own, whose records gather.
func (r *runner) etcdScale() stage {
	f := &fleet{}
	opener := func(place string) opener {
		return func(ctx context.Context, name string) (ledger.Store, func() error, error) {
			s, err := etcdstore.Open(ctx, f.servers.Endpoints(), &etcdstore.Options{Prefix: place + "/" + name})
			if err != nil {
				return nil, nil, err
			}
			return s, s.Close, nil
		}
	}
	cells := r.scale("etcd1", nil, r.o.plan.etcdGrow, opener, func(string) (string, error) {
		return "etcd:" + strings.Join(f.servers.Endpoints(), ","), nil
	})
	cells[0].run = r.etcdRecords // a cluster for each size: the records of one would burden the other
	return stage{
		open:  func(ctx context.Context) error { return f.start(ctx, r, 1, "etcd-scale") },
		cells: cells,
		close: func() error { return f.servers.Close() },
	}
}

func (r *runner) etcdRecords(ctx context.Context, name string) error {
	return r.records(ctx, name, r.o.plan.etcdRecs, func(ctx context.Context, size string) (ledger.Store, func() error, error) {
		f := &fleet{}
		if err := f.start(ctx, r, 1, placeName(name)+size); err != nil {
			return nil, nil, err
		}
		s, err := etcdstore.Open(ctx, f.servers.Endpoints(), nil)
		if err != nil {
			return nil, nil, errors.Join(err, f.servers.Close())
		}
		return s, func() error { return errors.Join(s.Close(), f.servers.Close()) }, nil
	})
}
