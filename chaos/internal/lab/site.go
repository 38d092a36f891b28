package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/cluster"
	"github.com/ledger-once/ledger/chaos/internal/snap"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/world"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/sqlitestore"
)

// A Site is one run: a directory with its traces, a downstream of its own, and records of
// its own in the lab's cluster, or a SQLite file of its own.
type Site struct {
	lab      *Lab
	Dir      string
	Run      trace.Run
	World    *world.World
	faults   *trace.Writer
	recorder *cluster.Recorder // nil where the store tells nothing
	open     func(context.Context) (ledger.Store, error)

	mu      sync.Mutex
	workers []*Worker   // that were started, in order
	next    map[int]int // the next incarnation, by worker
	aims    []Aim
}

// An Aim is what is to happen around one request to the downstream: the next of that process for that call.
type Aim struct {
	Process, ID   string // "": any
	Before, After func(context.Context)
}

// Registered opens a store of somebody else's in the harness.
type Registered func(ctx context.Context, path string) (ledger.Store, error)

// Site begins a run in dir, which must not exist. run says what it is; open is for a registered store, at path.
func (l *Lab) Site(ctx context.Context, dir string, run trace.Run, open Registered, path string) (_ *Site, err error) {
	if err := os.MkdirAll(filepath.Join(dir, trace.HistoryDir), 0o700); err != nil {
		return nil, err
	}
	run.Schema, run.From, run.Started, run.TTL, run.Versions = trace.Schema, trace.Now(), time.Now().UTC(), l.o.TTL, Versions()
	s := &Site{lab: l, Dir: dir, Run: run, next: map[int]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := trace.Save(filepath.Join(dir, trace.RunFile), &run); err != nil { // so that a run that is cut short can be checked
		return nil, err
	}
	if s.faults, err = trace.Create(filepath.Join(dir, trace.FaultsFile), false); err != nil {
		return nil, err
	}
	if s.World, err = world.Start(world.Options{Journal: filepath.Join(dir, trace.WorldFile), Tools: run.Tools, Plan: s.plan}); err != nil {
		return nil, err
	}
	switch run.Store {
	case "etcd":
		if l.cluster == nil {
			return nil, errors.New("the lab has no cluster")
		}
		if s.recorder, err = cluster.Record(l.ctx, l.client, s.prefix(), filepath.Join(dir, trace.StoreFile)); err != nil {
			return nil, err
		}
		s.open = func(ctx context.Context) (ledger.Store, error) {
			return etcdstore.Open(ctx, l.cluster.Endpoints(), &etcdstore.Options{Prefix: s.prefix(), TTL: l.o.TTL, DialTimeout: 20 * time.Second})
		}
	case "sqlite":
		s.open = func(ctx context.Context) (ledger.Store, error) { return sqlitestore.Open(ctx, s.path(), nil) }
	default:
		s.open = func(ctx context.Context) (ledger.Store, error) { return open(ctx, path) }
	}
	return s, nil
}

// prefix is unlike that of any other run on the cluster.
func (s *Site) prefix() string {
	return "chaos/" + filepath.Base(filepath.Dir(s.Dir)) + "-" + filepath.Base(s.Dir)
}

func (s *Site) path() string { return filepath.Join(s.Dir, "ledger.db") }

// Context is that of the lab: it lasts longer than a run's workload.
func (s *Site) Context() context.Context { return s.lab.ctx }

// Open opens the run's store in the harness.
func (s *Site) Open(ctx context.Context) (ledger.Store, error) { return s.open(ctx) }

// Fault writes one down. What can not be written makes the run worthless: End says so.
func (s *Site) Fault(f trace.Fault) { _ = s.faults.Write(f) }

// plan carries out what Aim asked for.
func (s *Site) plan(r world.Request) world.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Query {
		return world.Plan{}
	}
	for i, a := range s.aims {
		if (a.ID == "" || a.ID == r.ID) && (a.Process == "" || a.Process == r.Worker) {
			s.aims = slices.Delete(s.aims, i, i+1)
			return world.Plan{Before: a.Before, After: a.After}
		}
	}
	return world.Plan{}
}

// Aim has the next request that fits go through a, once.
func (s *Site) Aim(a Aim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aims = append(s.aims, a)
}

// endWithin bounds the reading of what stands in the end.
const endWithin = 2 * time.Minute

// End ends the run: the workers must have ended. It reads the records as they are now, writes
// final.jsonl and run.json, and closes the traces. Nothing is checked yet. If ctx has ended it
// kills the workers, and returns the cause; what was written down can be checked all the same.
func (s *Site) End(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	if ctx.Err() != nil { // somebody interrupts, and the keeper kills all: the checkers have to know
		for _, w := range s.all() {
			w.interrupted()
		}
		return errors.Join(context.Cause(ctx), s.close())
	}
	for _, w := range s.all() {
		select {
		case <-w.p.Done():
		default:
			return errors.Join(fmt.Errorf("worker %s still lives", w.Name), w.Kill(""), s.close()) // unreachable unless program bug
		}
	}
	err := s.final(ctx)
	if s.recorder != nil {
		err = errors.Join(err, s.recorder.CatchUp(ctx))
	}
	s.Run.To = trace.Now()
	return errors.Join(err, s.close(), trace.Save(filepath.Join(s.Dir, trace.RunFile), &s.Run))
}

func (s *Site) close() error {
	var errs []error
	for _, w := range s.all() {
		w.discard()
	}
	if s.recorder != nil {
		errs = append(errs, s.recorder.Close())
		s.recorder = nil
	}
	if s.World != nil {
		errs = append(errs, s.World.Close())
	}
	if s.faults != nil {
		errs = append(errs, s.faults.Close())
		s.faults = nil
	}
	return errors.Join(errs...)
}

// final writes down the records as they stand.
func (s *Site) final(ctx context.Context) (err error) {
	store, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if c, ok := store.(interface{ Close() error }); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	out, err := trace.Create(filepath.Join(s.Dir, trace.FinalFile), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for r, err := range store.List(ctx, ledger.Filter{}) {
		if err != nil {
			return fmt.Errorf("the records in the end: %w", err)
		}
		if err := out.Write(snap.Of(&r)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) all() []*Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Worker{}, s.workers...)
}
