package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A signal is what is sent to a process.
type signal int

const (
	sigKill signal = iota
	sigStop
	sigCont
	sigTerm
)

const (
	maxLine   = 1 << 20          // bytes, of a line of a child's output
	waitDelay = 10 * time.Second // for what a child's own children still write, once it is gone
	sendDelay = 10 * time.Second // for a child to make room for a line
	stopDelay = 30 * time.Second // for a child to be stopped: a system call may hold it up, such as an fsync
)

// A Spec says what to start.
type Spec struct {
	Name  string   // "w03.2", "member-1"
	Argv  []string // the program and its arguments
	Env   []string // "K=V", added to this process's environment
	Dir   string   // its working directory. Defaults to this process's
	Stdin bool     // it reads lines from Proc.Send. Defaults to no input
	// OnLine gets each line of its standard output, without its end, valid until it
	// returns: in order, in one goroutine, all of them before Done. A last line without
	// its end is left out, as is one of more than 1 MiB, which Exit.Err tells of. It must not wait for Done. Defaults to no output.
	OnLine func(line []byte)
	Stderr string // the file that its standard error is appended to. Defaults to nowhere
}

// A Proc is a child process, in a process group of its own, which gets its signals as a whole.
type Proc struct {
	Child

	cmd   *exec.Cmd
	lines lineWriter

	sending sync.Mutex
	stdin   *os.File // nil: none
	sendErr error    // the first: the stream is broken from there on

	mu     sync.Mutex // held while a signal is sent: its number may be another's once it is reaped
	reaped bool       // or about to be

	gone chan struct{} // closed when the process has ended
	at   int64         // when it was seen to be gone; set before gone is closed
	done chan struct{} // closed when its output has been read, too
	exit Exit          // set before done is closed
}

// An Exit is how a process ended.
type Exit struct {
	At     int64  // trace.Now, when it was seen to be gone
	Code   int    // its exit code; -1 if a signal ended it
	Signal string // that ended it: "killed"; "": none
	Err    error  // its output was not read whole
}

// await waits for the process, and fills in at and exit.
func (p *Proc) await() {
	awaitExit(p.PID)
	p.at = trace.Now()
	p.mu.Lock()
	_ = p.send(sigKill) // to what it started and left; the group keeps its number until the process is reaped
	p.reaped = true
	p.mu.Unlock()
	close(p.gone)
	p.CloseInput()
	err := p.cmd.Wait()
	p.exit = Exit{At: p.at, Code: p.cmd.ProcessState.ExitCode(), Err: p.lines.err}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.exit.Signal = ws.Signal().String()
	}
	var exited *exec.ExitError
	if p.exit.Err == nil && !errors.As(err, &exited) {
		p.exit.Err = err
	}
}

// signal sends a signal to the process group. It returns ErrGone if the process has ended.
func (p *Proc) signal(s signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return ErrGone
	}
	return p.send(s)
}

// send needs mu, and a process that is not yet reaped.
func (p *Proc) send(s signal) error {
	if err := signalGroup(p.PID, s); err != nil {
		return fmt.Errorf("proc: signal %s (pid %d): %w", p.Name, p.PID, err)
	}
	return nil
}

// Kill sends SIGKILL and returns, once the process is gone, when that was (trace.Now). For
// a process that was gone already it is when that was seen.
func (p *Proc) Kill() int64 {
	_ = p.signal(sigKill) // it fails for one that is gone
	<-p.gone
	return p.at
}

// Stop sends SIGSTOP and returns, once the kernel reports every thread of the process as stopped, when
// that was (trace.Now). It returns ErrGone if the process has ended, and an error if it
// does not stop in 30 s. Stop and Cont of one process are for one goroutine at a time.
func (p *Proc) Stop() (int64, error) {
	if err := p.signal(sigStop); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(stopDelay)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		stopped, err := p.stopped()
		if stopped || err != nil {
			return trace.Now(), err
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("proc: %s (pid %d) did not stop in %v", p.Name, p.PID, stopDelay)
		}
		select {
		case <-p.gone:
			return 0, ErrGone
		case <-time.After(pause):
		}
	}
}

func (p *Proc) stopped() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return false, ErrGone
	}
	return isStopped(p.PID)
}

// Cont sends SIGCONT. It returns ErrGone if the process has ended.
func (p *Proc) Cont() error { return p.signal(sigCont) }

// Terminate asks the process to end (SIGTERM, and SIGCONT if it is stopped) and waits until it is done. When ctx ends
// before that, it kills it, waits, and returns the context's error.
func (p *Proc) Terminate(ctx context.Context) error {
	_ = p.signal(sigTerm) // it fails for one that is gone
	_ = p.signal(sigCont)
	_, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
		<-p.done
	}
	return err
}

// Wait waits until the process is done. It returns the context's error if that ends before.
func (p *Proc) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("proc: wait for %s (pid %d): %w", p.Name, p.PID, ctx.Err())
	}
}

// Done is closed when the process has ended and all of its output was delivered.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Send writes v as a line of JSON to the process's standard input. It waits up to 10 s for room. Its first error
// stays: the process may have got a part of that line.
func (p *Proc) Send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	if p.sendErr != nil {
		return p.sendErr
	}
	if p.stdin == nil {
		return fmt.Errorf("proc: send to %s (pid %d): it was started without Stdin", p.Name, p.PID)
	}
	if err = p.stdin.SetWriteDeadline(time.Now().Add(sendDelay)); err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		p.sendErr = fmt.Errorf("proc: send to %s (pid %d): %w", p.Name, p.PID, err)
	}
	return p.sendErr
}

// CloseInput ends the process's standard input. What Send is called for after that fails.
func (p *Proc) CloseInput() {
	if p.stdin != nil {
		_ = p.stdin.Close() // nothing is buffered, and twice does no harm
	}
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	to   func([]byte)
	buf  []byte
	skip bool // the rest of a line that is too long
	err  error
}

func (l *lineWriter) Write(data []byte) (int, error) {
	n := len(data)
	for {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if len(l.buf)+len(line) > maxLine {
			l.skip = true
			l.err = fmt.Errorf("proc: a line of output is longer than %d bytes, and was left out", maxLine)
		}
		if !l.skip {
			l.buf = append(l.buf, line...)
		}
		if !whole {
			return n, nil
		}
		if !l.skip {
			l.to(l.buf)
		}
		l.buf, l.skip, data = l.buf[:0], false, rest
	}
}
