// Package leakcheck looks for goroutines that tests leave behind, as goleak does,
// with more patience: goleak gives up after 0.4 s, and a goroutine that is on its way out
// can be kept from a processor for longer than that.
package leakcheck

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long Main waits for goroutines to end. Only a leak costs it.
const Patience = 15 * time.Second

// Main runs the tests of a package and ends the process: with the tests' exit
// code, or with 1 if they passed and goroutines are left after [Patience].
func Main(m goleak.TestingM) { os.Exit(Run(m)) }

// Run is [Main] for a TestMain that has more to do before the process ends: it
// returns the exit code.
func Run(m goleak.TestingM) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Find(Patience); err != nil {
		fmt.Fprintln(os.Stderr, "the tests passed, but left goroutines behind:", err)
		return 1
	}
	return 0
}

// Find returns an error that shows the goroutines which are still there after
// patience, or nil as soon as there are none.
func Find(patience time.Duration, options ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		// Each look is itself a wait of up to 0.4 s.
		if err := goleak.Find(options...); err == nil || !time.Now().Before(end) {
			return err
		}
	}
}
