//go:build linux || darwin || freebsd

package doctor

import "golang.org/x/sys/unix"

// space returns what an unprivileged user may still write below dir, and the file system's size, in bytes.
func space(dir string) (free, total int64, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), true
}

// writable reports whether this user may write path; known is whether that can be told.
func writable(path string) (known, ok bool) { return true, unix.Access(path, unix.W_OK) == nil }
