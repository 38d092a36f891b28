//go:build race

package embedded

// What takes seconds in processes of its own is tested without the race detector.
const underRace = true
