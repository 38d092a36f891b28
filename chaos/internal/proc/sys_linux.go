package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func supported() error { return nil }

// attributes let a child die with its keeper, and give it a process group of its own, out of reach of a terminal's Ctrl-C.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

var numbers = map[signal]syscall.Signal{
	sigKill: syscall.SIGKILL, sigStop: syscall.SIGSTOP, sigCont: syscall.SIGCONT, sigTerm: syscall.SIGTERM,
}

func signalGroup(pid int, s signal) error { return syscall.Kill(-pid, numbers[s]) }

// awaitExit returns when the child has ended, with all of its threads and so with its locks and
// open files, and leaves it to be waited for.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // without an error; there is no other for a child that nobody has waited for
		}
	}
}

// isStopped reports whether each thread of the child is stopped: that is when the kernel has this report for its
// parent, while the state in /proc/PID/stat is the first thread's only.
func isStopped(pid int) (bool, error) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOWAIT|unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECHILD) {
		return false, nil // ECHILD: it has ended
	}
	const stopped = 5 // CLD_STOPPED, of asm-generic/siginfo.h
	return err == nil && info.Signo == int32(unix.SIGCHLD) && info.Code == stopped, err
}

// stat is what is needed of /proc/PID/stat, see proc_pid_stat(5).
func stat(pid int) (state byte, start uint64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name in parentheses; it may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat can not be understood: %q", pid, text)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return fields[0][0], start, err
}

func startTime(pid int) (uint64, error) {
	_, start, err := stat(pid)
	return start, err
}

// isAlive reports whether the process with this number is the one of this start time, and runs.
func isAlive(pid int, start uint64) (bool, error) {
	state, began, err := stat(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	return err == nil && began == start && state != 'Z' && state != 'X', err
}

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(text)), err
}

func isMine(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
}
