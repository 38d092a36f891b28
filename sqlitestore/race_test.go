//go:build race

package sqlitestore

// The race detector makes SQLite, which is Go code here, some twenty times slower.
const underRace = true
