//go:build unix

package sqlitestore

import (
	"os"

	"golang.org/x/sys/unix"
)

// The locks are flock(2)'s: they belong to the open file, not to the process as
// POSIX record locks do. So two stores of one process see each other rightly, closing a probe
// releases nothing, and the kernel frees them with the last descriptor.

// tryLock takes the lock of f if nobody holds one that excludes it.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	switch err := flock(f, how|unix.LOCK_NB); err {
	case nil:
		return true, nil
	case unix.EWOULDBLOCK:
		return false, nil
	default:
		return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
}

// waitLock waits for the exclusive lock of f; nothing can end the wait early.
func waitLock(f *os.File) error {
	if err := flock(f, unix.LOCK_EX); err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}

func unlock(f *os.File) error { return flock(f, unix.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
