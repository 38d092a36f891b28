//go:build !linux

package sqlitestore

// networkFSOf can not tell outside Linux: keep the database on a local disk.
func networkFSOf(string) string { return "" }
