package storetest

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

var reflectTime = reflect.TypeFor[time.Time]()

// brief is a record on one line.
func brief(r ledger.Record) string {
	if r.Version == 0 && r.State == ledger.StateNone {
		return "no record"
	}
	return fmt.Sprintf("%s %s alive=%t version=%d fence=%d nonce=%s session=%s", r.ID, r.State, r.Alive, r.Version, r.Fence, r.Nonce, r.Owner.Session)
}

// A recorder is a testing.TB that notes failures instead of passing them on:
// for what is expected to fail.
type recorder struct {
	testing.TB
	ctx      context.Context
	mu       sync.Mutex
	failed   bool
	skipped  bool
	log      string
	cleanups []func()
}

// record runs f on a recorder, with its cleanups, and returns it.
func record(t testing.TB, f func(t testing.TB)) *recorder {
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			cancel()
			for len(r.cleanups) > 0 {
				last := r.cleanups[len(r.cleanups)-1]
				r.cleanups = r.cleanups[:len(r.cleanups)-1]
				last()
			}
		}()
		f(r)
	}()
	<-done
	return r
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) note(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.log += text
}

func (r *recorder) Fail()                          { r.note(true, "") }
func (r *recorder) FailNow()                       { r.Fail(); runtime.Goexit() }
func (r *recorder) Log(args ...any)                { r.note(false, fmt.Sprintln(args...)) }
func (r *recorder) Logf(format string, a ...any)   { r.note(false, fmt.Sprintf(format+"\n", a...)) }
func (r *recorder) Error(args ...any)              { r.note(true, fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, a ...any) { r.note(true, fmt.Sprintf(format+"\n", a...)) }
func (r *recorder) Fatal(args ...any)              { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, a ...any) { r.Errorf(format, a...); runtime.Goexit() }
func (r *recorder) Skip(args ...any)               { r.Log(args...); r.SkipNow() }
func (r *recorder) Skipf(format string, a ...any)  { r.Logf(format, a...); r.SkipNow() }
func (r *recorder) SkipNow() {
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Skipped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.skipped
}

// text is what was logged so far; what a case left running may still add to it.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log
}
