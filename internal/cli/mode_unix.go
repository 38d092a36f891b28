//go:build unix

package cli

import "io/fs"

// othersRead reports whether users besides the owner can read the file.
func othersRead(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
