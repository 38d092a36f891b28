package sqlitestore

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A stamp tells one file from another, whatever its name.
type stamp struct {
	dev, ino uint64
	links    uint64
	size     int64
	mount    bool // the file itself is a mount point
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
	mount := st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 // since Linux 5.8; see mountPoint
	return stamp{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, uint64(st.Nlink), int64(st.Size), mount}, nil
}

func oldStamp(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{uint64(st.Dev), st.Ino, uint64(st.Nlink), st.Size, false}, nil
}

// mountPoint reports whether the file at the real path is a mount point by itself, also where statx does not tell.
func mountPoint(real string) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && mountedAt(string(mounts), real)
}

// mountedAt looks real up in the text of proc_pid_mountinfo(5), which writes some bytes in octal.
func mountedAt(mounts, real string) bool {
	real = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace(real)
	for line := range strings.Lines(mounts) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == real {
			return true
		}
	}
	return false
}
