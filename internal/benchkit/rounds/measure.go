// Package rounds measures how fast calls can be made, here or in a process that is asked for it. It knows
// nothing of how a call is carried out, so that programs of other modules can be measured with it.
package rounds

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
)

// A Sample is what one round of one way came to.
type Sample struct {
	Calls     int
	Took      time.Duration
	P50, P99  time.Duration
	Allocs    float64 // a call, of the whole process
	CPU       time.Duration
	Goroutine int // at the most busy moment that was looked at

	Heap, RSS int64 // bytes after a collection, of Run only; RSS is 0 where the system does not tell
}

// PerSecond is the rate of the calls.
func (s Sample) PerSecond() float64 { return float64(s.Calls) / s.Took.Seconds() }

// maxLatencies bounds what one caller remembers of a round.
const maxLatencies = 1 << 16

// Measure lets so many callers make calls, one after the other, until the time is over; a call that has begun
// is waited for and counted. Each caller makes one call at least. It returns the first error of a call.
func Measure(ctx context.Context, call func(context.Context, ledger.ID) error, callers int, budget time.Duration) (Sample, error) {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		all    []time.Duration
		calls  int
		failed error
		before runtime.MemStats
		after  runtime.MemStats
	)
	runtime.ReadMemStats(&before)
	cpu := CPUTime()
	start := time.Now()
	for range callers {
		wg.Go(func() {
			var took []time.Duration
			n := 0
			for {
				began := time.Now()
				err := call(ctx, RandomID())
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
					return
				}
				n++
				if len(took) < maxLatencies {
					took = append(took, time.Since(began))
				}
				if time.Since(start) >= budget {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			calls += n
			all = append(all, took...)
		})
	}
	goroutines := runtime.NumGoroutine()
	wg.Wait()
	s := Sample{Calls: calls, Took: time.Since(start), CPU: CPUTime() - cpu, Goroutine: goroutines}
	runtime.ReadMemStats(&after)
	if failed != nil {
		return s, failed
	}
	slices.Sort(all)
	s.P50, s.P99 = all[len(all)/2], all[len(all)*99/100]
	s.Allocs = float64(after.Mallocs-before.Mallocs) / float64(calls)
	return s, nil
}

// Run lets so many callers make n calls in all, and returns the process's memory after them. Its latencies are not kept. It returns the first error of a call.
func Run(ctx context.Context, call func(context.Context, ledger.ID) error, callers, n int) (Sample, error) {
	var (
		wg     sync.WaitGroup
		taken  atomic.Int64
		mu     sync.Mutex
		failed error
	)
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for taken.Add(1) <= int64(n) {
				err := call(ctx, RandomID())
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	s := Sample{Calls: n, Took: time.Since(start)}
	s.Heap, s.RSS = memory()
	return s, failed
}

// memory is what the process holds after a collection, with what nobody needs given back to the system.
func memory() (heap, rss int64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), residentBytes()
}
