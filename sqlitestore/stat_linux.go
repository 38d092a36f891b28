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
}

func (s stamp) same(other stamp) bool { return s.dev == other.dev && s.ino == other.ino }

// stampOf follows no descriptor and opens nothing; see conn. It does not ask for
// times: since Linux 6.13 (multigrain timestamps) that makes the next write change the inode, and the next fsync
// commit the file system's journal: 15 µs for each file and commit.
func stampOf(path string) (stamp, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_NLINK|unix.STATX_SIZE, &st)
	if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or a sandbox's filter
		return oldStamp(path)
	}
	if err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, uint64(st.Nlink), int64(st.Size)}, nil
}

func oldStamp(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{uint64(st.Dev), st.Ino, uint64(st.Nlink), st.Size}, nil
}
