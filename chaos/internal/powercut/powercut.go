package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// ErrNoTracer is matched by Run's error where strace is not there, or may trace nothing.
var ErrNoTracer = errors.New("a power cut needs strace, on Linux; install it with: apt-get install strace")

const (
	maxOps        = 5000
	maxCuts       = 100_000
	maxViolations = 100 // that are kept
	maxImages     = 3   // that are kept, of cuts that lost something
	workWithin    = 3 * time.Minute
	beside        = 4 // how many cuts are looked at at a time
)

// Options of Run. Dir, Command and SpecVariable are needed.
type Options struct {
	Dir          string       // of this run only; it exists, and is on a file system for a ledger
	Command      []string     // starts the worker: a program that calls Serve with what is in SpecVariable, without a process between
	SpecVariable string       // the environment variable that takes the spec
	Keeper       *proc.Keeper // of the process. Defaults to one of its own in Dir
	Mutant       string       // of package failpoint, that is switched on in the worker. Defaults to none
	Seed         uint64       // of the calls and of the random cuts
	Ops          int          // calls that the worker makes, at most 5000. Defaults to 120
	Callers      int          // that make them at the same time. Defaults to 4
	// Cuts is how many cuts there are at random moments, in all variants, beside those at the acknowledgements. Defaults to 150.
	Cuts int
	// Progress is told after each cut. It is not called by two at a time.
	Progress func(done, of int)

	forgets func(*node) bool // of tests: the syncs of these files did nothing
}

// A Result is what the cuts showed.
type Result struct {
	Acknowledged int // claims, finishes and removals that the store acknowledged to the worker
	Syncs        int // that returned, of files and directories
	Writes       int // and truncations
	Cuts         int // that were played, by variant: see ByVariant
	ByVariant    map[string]int
	Lost         int // what was found lost or wrong, summed over all cuts
	LostCuts     int // cuts in which something was
	Took         time.Duration
	Violations   []trace.Violation // at most 100 of the Lost
}

// Run has a worker make calls on a new ledger, and plays power cuts: without anything unsynced at each acknowledgement
// (those that find the same on the disk are played as one, the last), and at random moments in all variants. It
// returns an error that matches ErrNoTracer where that can not be done, and others where the run says nothing. What was
// lost is no error: see Result. Where nothing was, Run leaves no big files in Dir.
func Run(ctx context.Context, o Options) (*Result, error) {
	began := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	live, traced := filepath.Join(o.Dir, "live"), filepath.Join(o.Dir, "trace.txt")
	if err := o.work(ctx, live, traced); err != nil {
		return nil, fmt.Errorf("powercut: %w", err)
	}
	d, said, err := load(live, traced)
	if err == nil {
		err = o.prove(d, live)
	}
	if err != nil {
		return nil, fmt.Errorf("powercut: %w (see %s)", err, o.Dir)
	}
	r := &Result{Syncs: d.syncs, ByVariant: map[string]int{}}
	for _, n := range d.files {
		r.Writes += len(n.changes)
	}
	for _, h := range said {
		if !h.Asked && h.Op != opEnd {
			r.Acknowledged++
		}
	}
	if r.Acknowledged == 0 {
		return nil, fmt.Errorf("powercut: the run is invalid: nothing was acknowledged (see %s)", o.Dir)
	}
	if err := o.play(ctx, d, said, r); err != nil {
		return nil, fmt.Errorf("powercut: %w", err)
	}
	r.Took = time.Since(began)
	if r.Lost == 0 {
		return r, errors.Join(os.RemoveAll(live), os.Remove(traced))
	}
	return r, nil
}

func (o *Options) complete() (err error) {
	if runtime.GOOS != "linux" {
		return ErrNoTracer
	}
	if len(o.Command) == 0 || o.SpecVariable == "" || o.Dir == "" {
		return errors.New("powercut: Dir, Command and SpecVariable have to be set")
	}
	if o.Ops < 0 || o.Ops > maxOps || o.Cuts < 0 || o.Cuts > maxCuts || o.Callers < 0 || o.Callers > 64 {
		return fmt.Errorf("powercut: at most %d calls, %d cuts and 64 callers", maxOps, maxCuts)
	}
	for _, d := range []struct {
		value *int
		to    int
	}{{&o.Ops, 120}, {&o.Cuts, 150}, {&o.Callers, 4}} {
		if *d.value == 0 {
			*d.value = d.to
		}
	}
	// The kernel is asked for real paths, and so is the trace.
	if o.Dir, err = filepath.Abs(o.Dir); err == nil {
		o.Dir, err = filepath.EvalSymlinks(o.Dir)
	}
	return err
}

// work has the worker do its work, traced.
func (o *Options) work(ctx context.Context, live, traced string) (err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoTracer, err)
	}
	if err := os.Mkdir(live, 0o700); err != nil {
		return err
	}
	keeper := o.Keeper
	if keeper == nil {
		if keeper, err = proc.NewKeeper(ctx, o.Dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, keeper.Close()) }()
	}
	text, err := json.Marshal(spec{
		Path: filepath.Join(live, ledgerFile), Mutant: o.Mutant, Seed: o.Seed, Ops: o.Ops, Callers: o.Callers,
		Checkpoint: 60, // pages: several checkpoints in a run
	})
	if err != nil {
		return err
	}
	complaints := filepath.Join(o.Dir, "stderr.txt")
	p, err := keeper.Start(proc.Spec{
		Name: Role, Argv: straceArgv(strace, traced, o.Command), Env: []string{o.SpecVariable + "=" + string(text)},
		Stdin: true, Stderr: complaints,
	})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, workWithin)
	defer cancel()
	exit, err := p.Wait(waiting)
	if err != nil {
		p.Kill()
		<-p.Done()
		return err
	}
	if exit.Code == 0 {
		return exit.Err
	}
	said, _ := os.ReadFile(complaints) // as much as there is
	said = said[max(0, len(said)-2000):]
	for _, denied := range []string{"PTRACE_TRACEME", "PTRACE_SEIZE", "ptrace("} {
		if strings.Contains(string(said), denied) {
			return fmt.Errorf("%w: strace may trace nothing here: %s", ErrNoTracer, said)
		}
	}
	return fmt.Errorf("the worker ended with code %d %s: %s", exit.Code, exit.Signal, said)
}

// load reads the trace.
func load(live, traced string) (*disk, []heard, error) {
	in, err := os.Open(traced)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	d := newDisk(live)
	if d.length, err = read(in, d.enter); err != nil {
		return nil, nil, err
	}
	said, err := hear(d.lines)
	return d, said, err
}

// prove makes sure that the replay is faithful.
func (o *Options) prove(d *disk, live string) error {
	dir, err := os.MkdirTemp(o.Dir, "whole-*")
	if err != nil {
		return err
	}
	if err := d.faithful(live, dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// play plays all cuts.
func (o *Options) play(ctx context.Context, d *disk, said []heard, r *Result) error {
	cuts := o.plan(d, said)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan cut)
	var group sync.WaitGroup
	var mu sync.Mutex
	for range beside {
		group.Go(func() {
			for c := range next {
				lost, err := o.one(ctx, d, said, c)
				mu.Lock()
				r.add(c, lost)
				if err == nil && len(lost) > 0 && r.LostCuts <= maxImages {
					err = o.keep(d, c, r)
				}
				if o.Progress != nil {
					o.Progress(r.Cuts, len(cuts))
				}
				mu.Unlock()
				if err != nil {
					cancel(fmt.Errorf("%s: %w", c, err))
				}
			}
		})
	}
	for _, c := range cuts {
		if ctx.Err() != nil {
			break
		}
		next <- c
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

func (r *Result) add(c cut, lost []trace.Violation) {
	r.Cuts++
	r.ByVariant[c.variant.String()]++
	r.Lost += len(lost)
	if len(lost) > 0 {
		r.LostCuts++
	}
	r.Violations = append(r.Violations, lost[:min(len(lost), maxViolations-len(r.Violations))]...)
}

// one plays a cut, in a directory that it removes.
func (o *Options) one(ctx context.Context, d *disk, said []heard, c cut) (lost []trace.Violation, err error) {
	dir, err := os.MkdirTemp(o.Dir, "cut-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := d.build(dir, c, o.forgets); err != nil {
		return nil, err
	}
	return verify(ctx, dir, c, said)
}

// keep leaves what a cut left in a directory, which the violations that were added last then name.
func (o *Options) keep(d *disk, c cut, r *Result) error {
	dir := filepath.Join(o.Dir, fmt.Sprintf("lost-%d-%s", c.at, c.variant))
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = d.build(dir, c, o.forgets)
	}
	for i := range r.Violations {
		if v := &r.Violations[i]; v.Evidence[0] == c.String() {
			v.Dir = dir
		}
	}
	return err
}
