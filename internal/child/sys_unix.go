//go:build unix

package child

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attributes gives the program a process group of its own, and reports so, unless this process is in
// the foreground of a terminal: there the program stays in its group, to read from the terminal and to get its signals.
func attributes(cmd *exec.Cmd) (group bool) {
	group = !foreground()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
	withParent(cmd.SysProcAttr)
	return group
}

// present reads what a pipe holds, into buf, without waiting for more. It returns the number of bytes.
func present(pipe *os.File, buf []byte) (n int) {
	if err := pipe.SetReadDeadline(time.Time{}); err != nil { // with one that has passed nothing is read at all
		return 0
	}
	c, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	_ = c.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Read(int(fd), buf); err != unix.EINTR {
				return true
			}
		}
	})
	return max(n, 0)
}

func foreground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	pgrp, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}

// fromTerminal reports whether a terminal sends s to all processes in its foreground: the program has got it, too.
func fromTerminal(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// Forwarded has the signals that are to be passed on sent to c, until stop is called. One that this process was
// started to ignore (nohup(1), a background job) stays ignored.
func Forwarded(c chan<- os.Signal) (stop func()) {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return func() { signal.Stop(c) }
}

// Ends reports whether s asks a program to end.
func Ends(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

func send(p *os.Process, group bool, s os.Signal) {
	n, ok := s.(syscall.Signal)
	if group && ok {
		_ = syscall.Kill(-p.Pid, n)
		return
	}
	_ = p.Signal(s)
}

func terminate(p *os.Process, group bool) { send(p, group, syscall.SIGTERM) }
func kill(p *os.Process, group bool)      { send(p, group, syscall.SIGKILL) }

func hold(cmd *exec.Cmd, f *os.File) {
	if f == nil {
		return
	}
	cmd.ExtraFiles = make([]*os.File, holdAt-3+1)
	cmd.ExtraFiles[holdAt-3] = f
}

func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
