// Package demo shows what Ledger is for, on real input and with nothing but
// this executable: an agent's transcript of tool calls runs against a payment
// and mail service on the loopback interface, in four worker processes of which
// one is killed mid-call; first without Ledger, then with it.
//
// What it prints is counted, not staged: actions by the service's own journal,
// recoveries by the ledger file, blocked and replayed calls by the answers that
// the workers gave. Only what goes wrong is arranged (truth.json), the same in both passes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
)

// WorkerCommand is the hidden command that makes this executable a worker; see [Work].
const WorkerCommand = "demo-worker"

// Options of a run. The zero value, and nil, work.
type Options struct {
	// Workers is the number of processes. Defaults to 4; at least 2, for one is killed.
	Workers int
	// Keep is a directory, made if it is missing, for the ledger file and the
	// service's journals. Defaults to a temporary one, which is removed.
	Keep string
	// Timeout bounds the whole run. Defaults to 60 s.
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
	ledgerFile     = "ledger.db"
	journalWithout = "service-without-ledger.jsonl"
	journalWith    = "service-with-ledger.jsonl"
)

// Run runs the demo. A nil error says that it ran to its end, not that all
// went well: see [Report.OK]. It leaves no process and, without Keep, no file.
func Run(ctx context.Context, o *Options) (*Report, error) {
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

	r := &Report{Calls: s.calls, Workflows: s.workflows(), Workers: opts.Workers, Kept: opts.Keep}
	p.Title("1. Without Ledger")
	without, err := runPass(ctx, s, &opts, dir, false)
	if err != nil {
		return nil, err
	}
	p.Title("2. With Ledger, in one SQLite file")
	with, err := runPass(ctx, s, &opts, dir, true)
	if err != nil {
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
	for _, name := range []string{ledgerFile, journalWithout, journalWith} {
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
	stats   ledger.Stats            // zero without Ledger
	doubt   map[string]int          // calls still in doubt, by tool
	settled map[string]int          // calls that were in doubt and were settled, by tool
	byTool  map[string]ledger.Stats // zero without Ledger
	took    time.Duration
}

func runPass(ctx context.Context, s *script, o *Options, dir string, guarded bool) (_ *pass, err error) {
	began := time.Now()
	journal := journalWithout
	if guarded {
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

	begin := start{Service: world.url}
	if guarded {
		begin.Ledger, begin.Bypass = "sqlite:"+filepath.Join(dir, ledgerFile), o.BreakGuard
	}
	if err := f.begin(ctx, begin); err != nil {
		return nil, err
	}
	p := &pass{}
	n := narrator{o.Progress, s}
	if p.count, err = f.deliver(ctx, s.steps, n.event, n.lost); err != nil {
		return nil, err
	}
	if err := f.finish(ctx); err != nil {
		return nil, err
	}
	p.deeds, p.took = world.did(), time.Since(began)
	if p.deeds.err != nil {
		return nil, p.deeds.err
	}
	if guarded {
		if err := p.consult(ctx, s, begin.Ledger); err != nil {
			return nil, fmt.Errorf("demo: read the ledger: %w", err)
		}
	}
	n.end(p)
	return p, nil
}

// consult reads from the ledger file what became of the calls.
func (p *pass) consult(ctx context.Context, s *script, url string) (err error) {
	store, err := connect.Open(ctx, url)
	if err != nil {
		return err
	}
	if c, ok := store.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	guard, err := ledger.New(store, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close(ctx)) }()

	if p.stats, err = guard.Stats(ctx, ledger.Filter{}); err != nil {
		return err
	}
	p.byTool, p.doubt, p.settled = map[string]ledger.Stats{}, map[string]int{}, map[string]int{}
	for _, tool := range s.tools() {
		if p.byTool[tool], err = guard.Stats(ctx, ledger.Filter{Tool: tool}); err != nil {
			return err
		}
	}
	for r, err := range guard.History(ctx, ledger.Filter{}) {
		if err != nil {
			return err
		}
		switch {
		case r.Status() == ledger.StateInDoubt:
			p.doubt[r.ID.Tool]++
		case slices.ContainsFunc(r.Log, func(a ledger.Attempt) bool {
			return a.Outcome == ledger.OutcomeLost || a.Outcome == ledger.OutcomeInDoubt
		}):
			p.settled[r.ID.Tool]++
		}
	}
	return nil
}

// A narrator turns what happens into lines of progress.
type narrator struct {
	*Printer
	script *script
}

func (n narrator) lost(w *worker, s step) {
	n.Bad("%s (pid %d) is killed mid-call, after %s of %s happened", w.name, w.cmd.Process.Pid, toolsOf(s), s.Workflow)
	n.Note("the queue delivers its %d calls again", len(s.Calls))
}

func (n narrator) event(w *worker, e event) {
	if e.Workflow == "" {
		e.Workflow = n.script.workflowOf(e.Call)
	}
	subject := e.Tool + " of " + e.Workflow
	switch {
	case e.Kind == eventTakeover:
		n.Good("%s takes over %s: its worker is dead", w.name, subject)
	case e.Kind == eventRefused:
		n.Note("%s gets 503 for %s: certainly not done", w.name, subject)
	case e.Kind == eventTimeout:
		n.Bad("%s gets 504 for %s, though it happened", w.name, subject)
	case e.Kind == eventDeduped:
		n.Good("%s resends %s, same key: not done again", w.name, subject)
	case e.Kind == eventAsked && e.Happened:
		n.Good("%s asks about %s: it was sent, so not again", w.name, subject)
	case e.Kind == eventAsked:
		n.Good("%s asks about %s: it was not sent", w.name, subject)
	}
}

func (n narrator) end(p *pass) {
	n.Note("%d calls, %d delivered again, in %v: %d actions done where %d were meant",
		n.script.calls, p.again, p.took.Round(time.Millisecond), len(p.effects), len(n.script.actions))
}
