//go:build unix

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
	modified unix.Timespec
}

// unchanged reports whether nothing was written to the file since other.
func (s stamp) unchanged(other stamp) bool { return s == other }

func (s stamp) same(other stamp) bool { return s.dev == other.dev && s.ino == other.ino }

// stampOf follows no descriptor and opens nothing; see conn.
func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{uint64(st.Dev), uint64(st.Ino), uint64(st.Nlink), st.Size, st.Mtim}, nil
}

// hasName reports whether any name leads to the open file f.
func hasName(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink > 0
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
