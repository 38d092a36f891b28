// Package demo shows what Ledger is for, on real input and with nothing but
// this executable: an agent's transcript of tool calls runs against a payment
// and mail service on the loopback interface, in four worker processes of which
// one is killed mid-call; first without Ledger, then with it.
//
// The records are kept in an etcd that runs inside the demo's process, in a cluster
// of the caller's, or in a SQLite file.
//
// What it prints is counted, not staged: actions by the service's own journal,
// recoveries, fences and expiries by the store, blocked and replayed calls by the answers that
// the workers gave. Only what goes wrong is arranged (truth.json), the same in both passes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// WorkerCommand is the hidden command that makes this executable a worker; see [Work].
const WorkerCommand = "demo-worker"

// Options of a run. The zero value, and nil, work.
type Options struct {
	// Workers is the number of processes. Defaults to 4; at least 2, for one is killed.
	Workers int
	// Store is where the records are kept: "embedded:DIR", which is an etcd inside this process
	// whose data stay in DIR; an etcd: or etcds: URL as connect.Open takes it, below whose prefix the demo makes
	// one of its own and removes its records in the end; or a SQLite file. The latter and DIR must hold no records. Defaults to an
	// etcd inside this process with its data in the Keep directory.
	Store string
	// Lease is the workers' in an etcd inside this process: whole seconds. Defaults to 2 s.
	Lease time.Duration
	// Keep is a directory, made if it is missing, for the service's journals and the default Store. With it
	// the records in an etcd cluster stay too. Defaults to a temporary one, which is removed.
	Keep string
	// Timeout bounds the whole run, but for the end. Defaults to 60 s.
	Timeout time.Duration
	// Progress gets what happens as it happens. Defaults to nowhere.
	Progress *Printer
	// Command starts a worker. Defaults to this executable with [WorkerCommand].
	Command []string
	// BreakGuard lets the second pass call the tools past the guard. It is there to test
	// that the demo notices. Defaults to false.
	BreakGuard bool
}

// ErrKeep is matched by the error for a Keep directory that can not be used.
var ErrKeep = errors.New("choose another directory to keep")

// File names in the data directory.
const (
	etcdDir        = "etcd"
	journalWithout = "service-without-ledger.jsonl"
	journalWith    = "service-with-ledger.jsonl"
)

// Run runs the demo. A nil error says that it ran to its end, not that all
// went well: see [Report.OK]. It leaves no process and, without Keep, no file.
func Run(ctx context.Context, o *Options) (_ *Report, err error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Workers == 0 {
		opts.Workers = 4
	}
	if opts.Workers < 2 || opts.Workers > 64 {
		return nil, fmt.Errorf("demo: %d workers: use 2 to 64", opts.Workers)
	}
	if opts.Lease == 0 {
		opts.Lease = lease
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	if opts.Progress == nil {
		opts.Progress = &Printer{W: io.Discard}
	}
	if opts.Command == nil {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		opts.Command = []string{exe, WorkerCommand}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout,
		fmt.Errorf("demo: not done after %v; something hangs, or this machine is very busy", opts.Timeout))
	defer cancel()

	s, err := loadScript()
	if err != nil {
		return nil, err
	}
	dir, remove, err := dataDir(opts.Keep)
	if err != nil {
		return nil, err
	}
	defer remove()

	p := opts.Progress
	p.Title("Ledger demo")
	p.Text("An agent's transcript: %d tool calls for %d orders, meaning %d actions. The rest are searches and retries: keys reordered, 99.99 spelled 99.9900000001, new ids, calls made twice at once, a run started twice.",
		s.calls, s.workflows(), len(s.actions))
	p.Text("%d worker processes. The payment and mail service, on loopback, kills one of them after the effect and before the answer.", opts.Workers)

	st, err := openStage(ctx, &opts, dir)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	defer func() {
		switch cerr := st.close(); {
		case err == nil:
			err = cerr
		case cerr != nil:
			p.Bad("%v", cerr)
		}
	}()
	p.Text("Ledger's records: %s.", st.info)
	return bothPasses(ctx, s, &opts, dir, st)
}

// bothPasses ends when ctx does, and when the stage falls down.
func bothPasses(ctx context.Context, s *script, o *Options, dir string, st *stage) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-st.died: // never, without a server of our own
			cancel(fmt.Errorf("demo: %w", st.why()))
		case <-ctx.Done():
		}
	})
	r := &Report{Calls: s.calls, Workflows: s.workflows(), Workers: o.Workers, Store: st.info, Kept: o.Keep, Left: st.left}
	o.Progress.Title("1. Without Ledger")
	without, err := runPass(ctx, s, o, dir, nil)
	if err != nil {
		return nil, err
	}
	o.Progress.Title("2. With Ledger, %s", st.title)
	with, err := runPass(ctx, s, o, dir, st)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx) // whatever failed, failed for that
	case err != nil:
		return nil, err
	}
	r.fill(s, without, with)
	return r, nil
}

// dataDir returns the directory for all files and how to remove it.
func dataDir(keep string) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err := os.MkdirTemp("", "ledger-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("demo: %w", err)
		}
		return dir, func() { _ = os.RemoveAll(dir) }, nil
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return "", nil, fmt.Errorf("demo: %w: %w", ErrKeep, err)
	}
	for _, name := range []string{etcdDir, journalWithout, journalWith} {
		if _, err := os.Lstat(filepath.Join(keep, name)); !errors.Is(err, os.ErrNotExist) {
			return "", nil, fmt.Errorf("demo: %w: %s is there already", ErrKeep, filepath.Join(keep, name))
		}
	}
	return keep, func() {}, nil
}

// A pass is what one of the two runs came to.
type pass struct {
	count
	deeds
	stats   ledger.Stats   // zero without Ledger
	doubt   map[string]int // calls still in doubt, by tool
	settled map[string]int // calls that were in doubt and were settled, by tool
	took    time.Duration

	recoveries []Recovery
	vigils     map[ledger.ID]*vigil
}

// runPass runs the transcript once. st is nil without Ledger.
func runPass(ctx context.Context, s *script, o *Options, dir string, st *stage) (_ *pass, err error) {
	began := time.Now()
	journal := journalWithout
	if st != nil {
		journal = journalWith
	}
	file, err := os.OpenFile(filepath.Join(dir, journal), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	f, err := startFleet(o.Command, o.Workers)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	world, err := startService(s.faults, file, f.kill)
	if err != nil {
		return nil, err
	}
	defer world.close()

	var begin start
	if st != nil {
		begin = st.workers
		begin.Bypass = o.BreakGuard
	}
	begin.Service = world.url
	if err := f.begin(ctx, begin); err != nil {
		return nil, err
	}
	p := &pass{vigils: map[ledger.ID]*vigil{}}
	nctx, cancel := context.WithCancel(ctx)
	n := &narrator{Printer: o.Progress, ctx: nctx, script: s, stage: st, vigils: p.vigils}
	defer n.end()
	defer cancel()
	if p.count, err = f.deliver(ctx, s.steps, n); err != nil {
		return nil, err
	}
	n.end()
	if err := f.finish(ctx); err != nil {
		return nil, err
	}
	p.deeds, p.took = world.did(), time.Since(began)
	if p.deeds.err != nil {
		return nil, p.deeds.err
	}
	if st != nil {
		if err := p.consult(ctx, st.store); err != nil {
			return nil, fmt.Errorf("demo: read the ledger: %w", err)
		}
	}
	n.summary(p)
	return p, nil
}

// consult reads from the store what became of the calls.
func (p *pass) consult(ctx context.Context, store ledger.Store) (err error) {
	guard, err := ledger.New(store, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close(ctx)) }()

	if p.stats, err = guard.Stats(ctx, ledger.Filter{}); err != nil {
		return err
	}
	p.doubt, p.settled = map[string]int{}, map[string]int{}
	for r, err := range guard.History(ctx, ledger.Filter{}) {
		if err != nil {
			return err
		}
		if r.Status() == ledger.StateInDoubt {
			p.doubt[r.ID.Tool]++
		}
		if rec, ok := p.recovery(&r); ok {
			p.settled[r.ID.Tool]++
			p.recoveries = append(p.recoveries, rec)
		}
	}
	return nil
}
