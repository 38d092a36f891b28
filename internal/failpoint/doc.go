// Package failpoint lets the chaos harness stop the library at named points and break its rules one at
// a time. It does so in programs that are built with the tag failpoint, and in no other: without the tag [On] is a
// constant false, so that what it guards is not compiled, and a release binary holds no point and no mutant. A test
// builds the command both ways and looks.
//
// The library marks a point, and the place where a rule lives, as
//
//	if failpoint.On {
//		failpoint.Hit(failpoint.GuardStarting)
//	}
//	if failpoint.On && failpoint.Mutant(failpoint.MutantTimeoutIsFailed) && errors.Is(err, context.DeadlineExceeded) {
//		return ClassNotDone, false
//	}
//
// A program asks for them by calling [Arm] and [Enable], before it opens a store. Nothing here reads
// the environment, and nothing is armed or enabled until somebody asks. What is asked for holds for the whole
// process: a harness breaks worker processes, which do nothing else.
package failpoint

import "errors"

// ErrOff is returned by Arm and Enable in a program that was built without the tag.
var ErrOff = errors.New("this program has no failpoints; build it with -tags failpoint")

// ErrUnknown is matched by the errors of Arm and Enable for names that are not listed.
var ErrUnknown = errors.New("unknown")

// A PointInfo describes a point.
type PointInfo struct {
	Name   string   // the value of its constant
	Text   string   // where it is
	Stores []string // under which stores it is reached: of Memory, SQLite and Etcd
}

// A MutantInfo describes a mutant: one rule of the guard or of a store, broken.
type MutantInfo struct {
	Name       string   // the value of its constant
	Text       string   // what it breaks
	Invariants []string // of which at least one must catch it
	Stores     []string // under which stores it shows
}

// The names of stores in PointInfo and MutantInfo.
const (
	Memory = "memory"
	SQLite = "sqlite"
	Etcd   = "etcd"
)
