//go:build !failpoint

package failpoint_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// Without the tag nothing can be armed, and who tries is told.
func TestOff(t *testing.T) {
	if failpoint.On {
		t.Error("On is true without the tag")
	}
	if err := failpoint.Arm(failpoint.GuardStarting, func() { t.Error("the point was hit") }); !errors.Is(err, failpoint.ErrOff) {
		t.Errorf("Arm returned %v, want ErrOff", err)
	}
	failpoint.Hit(failpoint.GuardStarting)
	failpoint.Disarm(failpoint.GuardStarting)
	if err := failpoint.Enable(failpoint.MutantLateCopy); !errors.Is(err, failpoint.ErrOff) {
		t.Errorf("Enable returned %v, want ErrOff", err)
	}
	failpoint.SetClockOffset(time.Hour)
	if failpoint.Mutant(failpoint.MutantLateCopy) || failpoint.ClockOffset() != 0 || failpoint.Stale(time.Time{}) || failpoint.Count() != 0 {
		t.Error("something is on without the tag")
	}
	failpoint.Disable(failpoint.MutantLateCopy)
}
