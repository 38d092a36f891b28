//go:build !failpoint

package failpoint

import "time"

// On reports whether this program has failpoints. It is a constant: what it guards is compiled with the tag only.
const On = false

// Arm returns ErrOff.
func Arm(point string, f func()) error { return ErrOff }

// Disarm does nothing.
func Disarm(point string) {}

// Hit does nothing.
func Hit(point string) {}

// Enable returns ErrOff.
func Enable(mutant string) error { return ErrOff }

// Disable does nothing.
func Disable(mutant string) {}

// Mutant returns false.
func Mutant(name string) bool { return false }

// SetClockOffset does nothing.
func SetClockOffset(d time.Duration) {}

// ClockOffset returns 0.
func ClockOffset() time.Duration { return 0 }

// Stale returns false.
func Stale(started time.Time) bool { return false }

// Count returns 0.
func Count() uint64 { return 0 }
