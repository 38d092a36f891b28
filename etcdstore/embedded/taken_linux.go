package embedded

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// isLocked reports whether etcd has the file open somewhere. It only asks: a lock of its own might outlive it in a
// child as well.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, nil // a system without such locks: etcd uses others there
	}
	return lock.Type != syscall.F_UNLCK, nil
}
