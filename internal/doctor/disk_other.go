//go:build !(linux || darwin || freebsd)

package doctor

// space can not be told here.
func space(string) (free, total int64, ok bool) { return 0, 0, false }

// writable can not be told here.
func writable(string) (known, ok bool) { return false, false }
