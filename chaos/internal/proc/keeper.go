// Package proc starts the processes of a chaos run, kills, stops and continues them, and leaves none behind.
//
// A [Keeper] owns them. They end with it in every way in which it may end: closed,
// its context cancelled, or its own process killed, for Linux then kills them (Pdeathsig). Each
// child's process id and start time are in the run's directory, so that [Leftovers]
// can say what a crashed run left.
//
// All of it needs Linux; elsewhere NewKeeper returns an error.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

var (
	// ErrClosed is returned by Start once the keeper is closed or its context has ended.
	ErrClosed = errors.New("proc: the keeper is closed")
	// ErrGone is returned for a signal to a process that has ended.
	ErrGone = errors.New("proc: the process is gone")
)

// A Keeper owns child processes. Several goroutines may use it.
type Keeper struct {
	dir  string
	self Harness
	pids *trace.Writer

	starts  chan func() // to the thread that starts children
	starter sync.WaitGroup
	forget  func() bool // stops the watch of the context
	end     func()      // kills all and waits; once
	close   func() error

	mu     sync.Mutex
	closed bool
	procs  map[*Proc]bool // not yet done
	waits  sync.WaitGroup // one goroutine for each of them; none is added once closed
}

// NewKeeper makes a keeper whose files are in dir: harness.json, which says whose run it is, and pids.jsonl, which must
// not exist. When ctx ends, all children are killed. The caller must Close it.
func NewKeeper(ctx context.Context, dir string) (*Keeper, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	self, err := whoami()
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	pids, err := trace.Create(filepath.Join(dir, PIDsFile), false)
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	if err := trace.Save(filepath.Join(dir, HarnessFile), self); err != nil {
		return nil, errors.Join(fmt.Errorf("proc: %w", err), pids.Close())
	}
	k := &Keeper{dir: dir, self: self, pids: pids, starts: make(chan func()), procs: map[*Proc]bool{}}
	k.end = sync.OnceFunc(k.endAll)
	k.close = sync.OnceValue(k.finish)
	k.starter.Go(func() {
		// A child's Pdeathsig fires when the thread that started it ends (prctl(2)), which in Go may be at any
		// time. This one lives as long as the keeper: never unlocked, it ends with this goroutine.
		runtime.LockOSThread()
		for start := range k.starts {
			start()
		}
	})
	k.forget = context.AfterFunc(ctx, k.end)
	return k, nil
}

// Start starts a process. It returns ErrClosed once the keeper has ended.
func (k *Keeper) Start(s Spec) (*Proc, error) {
	k.mu.Lock()
	defer k.mu.Unlock() // held while it starts: Close misses nobody
	if k.closed {
		return nil, ErrClosed
	}
	p, err := k.start(s)
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", s.Name, err)
	}
	k.procs[p] = true
	k.waits.Go(func() {
		p.await()
		k.mu.Lock()
		delete(k.procs, p)
		k.mu.Unlock()
		close(p.done)
	})
	if err := k.pids.Write(p.Child); err != nil {
		p.Kill()
		return nil, fmt.Errorf("proc: start %s: %w", s.Name, err)
	}
	return p, nil
}

func (k *Keeper) start(s Spec) (_ *Proc, err error) {
	if len(s.Argv) == 0 {
		return nil, errors.New("no program is named")
	}
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = waitDelay
	p := &Proc{cmd: cmd, gone: make(chan struct{}), done: make(chan struct{})}
	if s.Stderr != "" {
		f, err := os.OpenFile(s.Stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close() // the child has its own
		cmd.Stderr = f
	}
	if s.OnLine != nil {
		p.lines.to = s.OnLine
		cmd.Stdout = &p.lines
	}
	if s.Stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		cmd.Stdin = r
		p.stdin = w
	}
	started := make(chan error)
	k.starts <- func() { started <- cmd.Start() }
	if err = <-started; err == nil {
		p.Child = Child{Name: s.Name, PID: cmd.Process.Pid, Argv: s.Argv, At: trace.Now()}
		p.Child.Start, err = startTime(p.PID) // it is there: nobody has waited for it
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	if err != nil {
		if p.stdin != nil {
			_ = p.stdin.Close()
		}
		return nil, err
	}
	return p, nil
}

// endAll kills all children, and returns when they are done.
func (k *Keeper) endAll() {
	k.mu.Lock()
	k.closed = true
	for p := range k.procs {
		_ = p.signal(sigKill) // gone is as good
	}
	k.mu.Unlock()
	k.waits.Wait()
}

// Close kills all children that are left, waits for them, and notes in harness.json that the run
// came to its end. It may be called again, and returns the first error of its files.
func (k *Keeper) Close() error { return k.close() }

func (k *Keeper) finish() error {
	k.forget()
	k.end()
	close(k.starts)
	k.starter.Wait()
	ended := time.Now()
	k.self.Ended = &ended
	return errors.Join(k.pids.Close(), trace.Save(filepath.Join(k.dir, HarnessFile), k.self))
}
