//go:build !linux

package embedded

// isLocked leaves it to etcd to find out, which gives up on a log that is locked, if only for a moment.
func isLocked(string) (bool, error) { return false, nil }
