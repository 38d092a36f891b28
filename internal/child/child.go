package child

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Spec says what to run, and how.
type Spec struct {
	Argv []string  // the program and its arguments
	Env  []string  // NAME=VALUE, after this process's own
	In   *os.File  // a file: for anything else Wait would wait, too
	Out  io.Writer // the program's output is passed on while it comes; a writer that fails is written to no more
	Err  io.Writer
	// Signals are passed on to the program, and to what it started in its process group.
	Signals <-chan os.Signal
	// Grace is how long the program may take to end once ctx has ended, after SIGTERM and before SIGKILL. Defaults to 5 s.
	Grace time.Duration
	// Hold is a file that the program, and what it starts, keeps open. nil: none.
	Hold *os.File
}

const (
	// drain is how long output may take to come once the program has ended: what it left running in the background may hold its streams.
	drain = time.Second
	// maxPipe is what a pipe can hold, in bytes: by default Linux lets nobody but root have a larger one.
	maxPipe = 1 << 20
	// holdAt is the descriptor of Spec.Hold in the program: high, because scripts use the low ones.
	holdAt = 100
)

// A StartError says that the program was not started.
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// An Ended says why a program ended before it was done: ctx ended.
type Ended struct{ Cause error }

func (e *Ended) Error() string { return "it was ended: " + e.Cause.Error() }
func (e *Ended) Unwrap() error { return e.Cause }

// Run runs a program to its end, and returns what it left behind. The exit code of a program that a signal ended is 128
// and the signal's number. It returns a *StartError if there was none, and an *Ended if it was ended because ctx had ended.
// On Linux the program is killed when this process dies; the processes that it started are not.
func Run(ctx context.Context, s Spec) (Output, error) {
	if s.Grace == 0 {
		s.Grace = 5 * time.Second
	}
	if err := context.Cause(ctx); err != nil {
		return Output{}, &StartError{err}
	}
	// The program dies with the thread that starts it (prctl(2), PR_SET_PDEATHSIG): it must stay this goroutine's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdin = s.In
	group := attributes(cmd)
	hold(cmd, s.Hold)
	var kept keeper
	outs, err := pipes(cmd, &s, &kept)
	if err != nil {
		return Output{}, &StartError{err}
	}
	err = cmd.Start()
	outs.started()
	if err != nil {
		outs.wait()
		return Output{}, &StartError{err}
	}
	gone := make(chan struct{})
	var ended atomic.Pointer[Ended]
	var minder sync.WaitGroup
	minder.Go(func() { mind(ctx, &s, cmd.Process, group, gone, &ended) })
	err = cmd.Wait()
	close(gone)
	minder.Wait()
	outs.wait()
	out := kept.output(exitCode(cmd.ProcessState))
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return out, err
	}
	if e := ended.Load(); e != nil {
		return out, e
	}
	return out, nil
}

// mind passes signals on, and ends the program when ctx ends.
func mind(ctx context.Context, s *Spec, p *os.Process, group bool, gone <-chan struct{}, ended *atomic.Pointer[Ended]) {
	done := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-gone:
			return
		case sig := <-s.Signals:
			if group || !fromTerminal(sig) {
				send(p, group, sig)
			}
		case <-done:
			done = nil
			ended.Store(&Ended{context.Cause(ctx)})
			terminate(p, group)
			timer := time.NewTimer(s.Grace)
			defer timer.Stop()
			late = timer.C
		case <-late:
			late = nil
			kill(p, group)
		}
	}
}

// Streams are the program's two streams on their way.
type streams struct {
	theirs, ours []*os.File
	exited       atomic.Bool
	copies       sync.WaitGroup
}

func pipes(cmd *exec.Cmd, s *Spec, kept *keeper) (*streams, error) {
	st := &streams{}
	for i, to := range []io.Writer{s.Out, s.Err} {
		r, w, err := os.Pipe()
		if err != nil {
			st.started()
			for _, f := range st.ours {
				err = errors.Join(err, f.Close())
			}
			return nil, err
		}
		st.ours, st.theirs = append(st.ours, r), append(st.theirs, w)
		if i == 0 {
			cmd.Stdout = w
		} else {
			cmd.Stderr = w
		}
		st.copies.Go(func() { st.copy(r, to, i+1, kept) })
	}
	return st, nil
}

// started closes this process's copies of the program's ends.
func (st *streams) started() {
	for _, f := range st.theirs {
		_ = f.Close()
	}
}

// wait returns when the streams have ended or, once the program has, nothing comes for a while.
func (st *streams) wait() {
	st.exited.Store(true)
	for _, f := range st.ours {
		_ = f.SetReadDeadline(time.Now().Add(drain))
	}
	st.copies.Wait()
	for _, f := range st.ours {
		_ = f.Close()
	}
}

func (st *streams) copy(from *os.File, to io.Writer, stream int, kept *keeper) {
	pass := func(b []byte) {
		if len(b) == 0 {
			return
		}
		kept.write(stream, b)
		if to != nil {
			if _, err := to.Write(b); err != nil {
				to = nil // whoever read it has gone; the program need not
			}
		}
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		pass(buf[:n])
		if st.exited.Load() { // a slow reader of ours is no reason to lose what comes
			_ = from.SetReadDeadline(time.Now().Add(drain))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // nor is it that there was no processor for us until now
			for got, n := 0, present(from, buf); n > 0 && got < maxPipe; n = present(from, buf) {
				pass(buf[:n])
				got += n
			}
		}
		if err != nil {
			return
		}
	}
}
