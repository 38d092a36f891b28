//go:build failpoint

package failpoint

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// On reports whether this program has failpoints. It is a constant: what it guards is compiled with the tag only.
const On = true

// marker is in every program that can be told to fail, and in no other: the test of a release looks for it.
const marker = "ledger-failpoint: this program can be told to fail"

// What is armed and enabled are immutable maps, replaced as a whole: a Hit of nothing costs one load. nil: none.
var (
	mu      sync.Mutex // of who replaces them
	armed   atomic.Pointer[map[string]func()]
	enabled atomic.Pointer[map[string]struct{}]
	offset  atomic.Int64 // nanoseconds
	counter atomic.Uint64
)

var listed = sync.OnceValue(func() map[string]struct{} {
	all := make(map[string]struct{})
	for _, p := range Points() {
		all[p.Name] = struct{}{}
	}
	return all
})

// Arm has every later Hit of the point call f, on the goroutine that hits it, which
// holds locks perhaps: f may block, send signals to its own process or end it, and must not call the library. It may be
// called by several goroutines at a time, and goes on being called until Disarm, or another Arm of the
// point. The error matches ErrUnknown if no point has that name.
func Arm(point string, f func()) error {
	if _, ok := listed()[point]; !ok {
		return fmt.Errorf("failpoint: %w point %q", ErrUnknown, point)
	}
	with(&armed, func(m map[string]func()) { m[point] = f })
	return nil
}

// Disarm ends what Arm began. Calls of f that have begun go on.
func Disarm(point string) { with(&armed, func(m map[string]func()) { delete(m, point) }) }

// Hit calls what the point is armed with. It panics where an armed program hits a
// point that is not listed.
//
//go:noinline
func Hit(point string) {
	m := armed.Load()
	if m == nil {
		return
	}
	if _, ok := listed()[point]; !ok {
		panic(marker + ": " + point + " is not listed") // unreachable unless program bug
	}
	if f := (*m)[point]; f != nil {
		f()
	}
}

// Enable breaks the rule. The error matches ErrUnknown if no mutant has that name.
func Enable(mutant string) error {
	if !slices.ContainsFunc(Mutants(), func(m MutantInfo) bool { return m.Name == mutant }) {
		return fmt.Errorf("failpoint: %w mutant %q", ErrUnknown, mutant)
	}
	with(&enabled, func(m map[string]struct{}) { m[mutant] = struct{}{} })
	return nil
}

// Disable mends it.
func Disable(mutant string) { with(&enabled, func(m map[string]struct{}) { delete(m, mutant) }) }

// Mutant reports whether the rule is broken.
//
//go:noinline
func Mutant(name string) bool {
	m := enabled.Load()
	if m == nil {
		return false
	}
	_, ok := (*m)[name]
	return ok
}

// with replaces the map by a copy that change has changed; an empty one by nil.
func with[V any](p *atomic.Pointer[map[string]V], change func(map[string]V)) {
	mu.Lock()
	defer mu.Unlock()
	next := make(map[string]V)
	if m := p.Load(); m != nil {
		maps.Copy(next, *m)
	}
	change(next)
	if len(next) == 0 {
		p.Store(nil)
		return
	}
	p.Store(&next)
}

// SetClockOffset lets the clock of MutantWallClock jump: it is the wall clock and d from now on.
func SetClockOffset(d time.Duration) { offset.Store(int64(d)) }

// ClockOffset returns what SetClockOffset was given last, 0 by default.
func ClockOffset() time.Duration { return time.Duration(offset.Load()) }

// Stale reports whether a call that started then is a dead worker's in the eyes of MutantWallClock.
func Stale(started time.Time) bool {
	return time.Now().Round(0).Add(ClockOffset()).Sub(started) > StaleAfter
}

// Count returns 1 in a new process, and one more each time: the fences of MutantLocalFence.
func Count() uint64 { return counter.Add(1) }
