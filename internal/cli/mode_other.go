//go:build !unix

package cli

import "io/fs"

// othersRead does not know: this system keeps it elsewhere.
func othersRead(fs.FileInfo) bool { return false }
