//go:build unix && !linux

package sqlitestore

import (
	"os"

	"golang.org/x/sys/unix"
)

// A stamp tells one file from another, whatever its name.
type stamp struct {
	dev, ino uint64
	links    uint64
	size     int64
	mount    bool // the file itself is a mount point: told on Linux only
}

func (s stamp) same(other stamp) bool { return s.dev == other.dev && s.ino == other.ino }

// stampOf follows no descriptor and opens nothing; see conn.
func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{uint64(st.Dev), uint64(st.Ino), uint64(st.Nlink), st.Size, false}, nil
}

func mountPoint(string) bool { return false }
