//go:build failpoint

package failpoint_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// arm arms the point for the test.
func arm(t *testing.T, point string, f func()) {
	t.Helper()
	if err := failpoint.Arm(point, f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { failpoint.Disarm(point) })
}

// enable breaks the rule for the test.
func enable(t *testing.T, mutant string) {
	t.Helper()
	if err := failpoint.Enable(mutant); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { failpoint.Disable(mutant) })
}

func TestPoint(t *testing.T) {
	var hits atomic.Int64
	failpoint.Hit(failpoint.GuardStarting)
	arm(t, failpoint.GuardStarting, func() { hits.Add(1) })
	failpoint.Hit(failpoint.GuardReturned)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				failpoint.Hit(failpoint.GuardStarting)
				_ = failpoint.Arm(failpoint.GuardReturned, func() {})
				failpoint.Disarm(failpoint.GuardReturned)
			}
		})
	}
	group.Wait()
	if got := hits.Load(); got != 800 {
		t.Errorf("the point was hit %d times, want 800", got)
	}
	failpoint.Disarm(failpoint.GuardStarting)
	failpoint.Hit(failpoint.GuardStarting)
	if got := hits.Load(); got != 800 {
		t.Errorf("a disarmed point was hit")
	}
}

func TestUnknownNames(t *testing.T) {
	if err := failpoint.Arm("guard.strating", func() {}); !errors.Is(err, failpoint.ErrUnknown) {
		t.Errorf("Arm returned %v, want ErrUnknown", err)
	}
	if err := failpoint.Enable("late"); !errors.Is(err, failpoint.ErrUnknown) {
		t.Errorf("Enable returned %v, want ErrUnknown", err)
	}
	arm(t, failpoint.GuardStarting, func() {})
	defer func() {
		if recover() == nil {
			t.Error("a point that is not listed can be hit")
		}
	}()
	failpoint.Hit("guard.strating")
}

func TestMutant(t *testing.T) {
	if failpoint.Mutant(failpoint.MutantLateCopy) {
		t.Error("a mutant is on from the start")
	}
	enable(t, failpoint.MutantLateCopy)
	if !failpoint.Mutant(failpoint.MutantLateCopy) || failpoint.Mutant(failpoint.MutantLocalFence) {
		t.Error("not the mutant is on that was enabled")
	}
	failpoint.Disable(failpoint.MutantLateCopy)
	if failpoint.Mutant(failpoint.MutantLateCopy) {
		t.Error("a mutant can not be disabled")
	}
}

func TestClock(t *testing.T) {
	t.Cleanup(func() { failpoint.SetClockOffset(0) })
	if failpoint.Stale(time.Now()) || !failpoint.Stale(time.Now().Add(-2*failpoint.StaleAfter)) {
		t.Error("without an offset the clock is not the wall clock")
	}
	failpoint.SetClockOffset(time.Hour)
	if !failpoint.Stale(time.Now()) {
		t.Error("the clock did not jump")
	}
}

// What is not armed costs nothing but a look.
func TestUnarmedAllocatesNothing(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() {
		failpoint.Hit(failpoint.GuardStarting)
		failpoint.Mutant(failpoint.MutantLateCopy)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
