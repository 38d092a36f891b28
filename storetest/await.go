package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

// watcher is s as a Watcher.
func (e *env) watcher(s ledger.Store) ledger.Watcher {
	e.Helper()
	w, ok := s.(ledger.Watcher)
	if !ok {
		e.Skip("the store is no ledger.Watcher")
	}
	return w
}

func awaitCases() []testCase {
	// Each change wakes a waiter at the same owner and one at another.
	change := func(name string, f func(e *env, s, other ledger.Store, r ledger.Record)) testCase {
		return testCase{"await returns " + name, func(e *env) {
			for round := range 3 {
				s, other := e.owner(), e.owner()
				e.watcher(s)
				r := e.claimNew(s, id(fmt.Sprint(round)))
				awaited := e.awaiting(r, s, other)
				f(e, s, other, r)
				awaited()
			}
		}}
	}
	return []testCase{
		change("when it finishes", func(e *env, s, _ ledger.Store, r ledger.Record) {
			e.finish(s, ended(r, ledger.StateSucceeded))
		}),
		change("when it finishes elsewhere", func(e *env, _, other ledger.Store, r ledger.Record) {
			e.finish(other, ended(r, ledger.StateInDoubt))
		}),
		change("when it is given back", func(e *env, s, _ ledger.Store, r ledger.Record) {
			e.finish(s, ended(r, ledger.StateNone))
		}),
		change("when it is stolen", func(e *env, _, other ledger.Store, r ledger.Record) {
			e.claim(other, stealOf(r.ID, r.Version))
		}),
		change("when it finishes and is deleted and claimed again", func(e *env, s, other ledger.Store, r ledger.Record) {
			e.remove(other, e.finish(s, ended(r, ledger.StateFailed)))
			e.claimNew(other, r.ID)
		}),
		{"await returns when its owner closes", func(e *env) {
			for round := range 3 {
				s, other, dying := e.owner(), e.owner(), e.owner()
				e.watcher(s)
				awaited := e.awaiting(e.claimNew(dying, id(fmt.Sprint(round))), s, other)
				e.end(dying)
				awaited()
			}
		}},
		{"await returns at once if there is nothing to wait for", func(e *env) {
			s := e.owner()
			w := e.watcher(s)
			done := e.succeeded(s, id("done"))
			running := e.claimNew(s, id("running"))
			dead := e.dead(s, id("dead"))
			for what, err := range map[string]error{
				"an absent record":       w.Await(e.ctx, id("absent"), 0),
				"a record long gone":     w.Await(e.ctx, id("absent"), 7),
				"a finished record":      w.Await(e.ctx, done.ID, done.Version),
				"a version before":       w.Await(e.ctx, done.ID, done.Fence),
				"a version never seen":   w.Await(e.ctx, running.ID, running.Version+1),
				"no version":             w.Await(e.ctx, running.ID, 0),
				"a record without owner": w.Await(e.ctx, dead.ID, dead.Version),
			} {
				if err != nil {
					e.Errorf("await of %s: %v", what, err)
				}
			}
		}},
		{"await waits, and ends with its context", func(e *env) {
			s := e.owner()
			w := e.watcher(s)
			r := e.claimNew(s, id("a"))
			other := e.claimNew(s, id("b"))
			e.finish(s, ended(other, ledger.StateSucceeded)) // not its concern
			const tries = 1000
			for range tries { // it may return early, but not all the time
				ctx, cancel := context.WithTimeout(e.ctx, 5*time.Millisecond)
				begun := time.Now()
				err := w.Await(ctx, r.ID, r.Version)
				cancel()
				if late := time.Since(begun); late > e.opts.Patience {
					e.Fatalf("await with a deadline of 5 ms returned after %v", late)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					return
				}
				e.noErrors("await", []error{err})
			}
			e.Errorf("await of a running record returned at once %d times; it does not wait", tries)
		}},
		{"await with a cancelled context", func(e *env) {
			s := e.owner()
			w := e.watcher(s)
			r := e.claimNew(s, id("a"))
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.ends("await with a cancelled context", func() {
				if err := w.Await(ctx, r.ID, r.Version); err != nil && !errors.Is(err, context.Canceled) {
					e.Errorf("await with a cancelled context: %v", err)
				}
			})
		}},
		{"await wakes all 32 waiters", func(e *env) {
			s, other := e.owner(), e.owner()
			e.watcher(s)
			r := e.claimNew(s, id("a"))
			var stores []ledger.Store
			for i := range racers {
				stores = append(stores, []ledger.Store{s, other}[i%2])
			}
			awaited := e.awaiting(r, stores...)
			e.finish(s, ended(r, ledger.StateSucceeded))
			awaited()
		}},
		{"await wakes each of 32 calls' waiters", func(e *env) {
			s := e.owner()
			e.watcher(s)
			var running []ledger.Record
			var awaited []func()
			for i := range racers {
				r := e.claimNew(s, id(fmt.Sprint(i)))
				running = append(running, r)
				awaited = append(awaited, e.awaiting(r, s))
			}
			for i, r := range running {
				e.finish(s, ended(r, ledger.StateSucceeded))
				awaited[i]()
			}
		}},
		{"await ends when its store closes", func(e *env) {
			for round := range 3 {
				s, waiting := e.owner(), e.owner()
				w := e.watcher(waiting)
				r := e.claimNew(s, id(fmt.Sprint(round)))
				done := make(chan error, 1)
				go func() {
					var err error
					for err == nil {
						err = w.Await(e.ctx, r.ID, r.Version)
					}
					done <- err
				}()
				e.end(waiting)
				e.ends("await in a closed store", func() {
					if err := <-done; !errors.Is(err, ledger.ErrClosed) {
						e.Errorf("await in a closed store: got error %v, want %q", err, ledger.ErrClosed)
					}
				})
			}
		}},
	}
}

// awaiting starts a waiter for r in each store, and returns a function that
// wants them all to be woken. Whether the change comes before or after a waiter is
// there, it must not be missed.
func (e *env) awaiting(r ledger.Record, stores ...ledger.Store) func() {
	e.Helper()
	errs := make(chan error, len(stores))
	for _, s := range stores {
		w := e.watcher(s)
		go func() { errs <- e.waitOver(w, s, r) }()
	}
	return func() {
		e.Helper()
		deadline := time.After(e.opts.Patience)
		for range stores {
			select {
			case err := <-errs:
				e.noErrors("await", []error{err})
			case <-deadline:
				e.Fatalf("await still waits for %s after %v; now there is %s", brief(r), e.opts.Patience, brief(e.get0(stores[0], r.ID)))
			}
		}
	}
}

// waitOver awaits until r no longer stands under a living owner.
func (e *env) waitOver(w ledger.Watcher, s ledger.Store, r ledger.Record) error {
	for {
		if err := w.Await(e.ctx, r.ID, r.Version); err != nil {
			return err
		}
		now, err := s.Get(e.ctx, r.ID)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil
		}
		if err != nil || now.Version != r.Version || !now.Alive {
			return err
		}
		// Returned early, as it may.
	}
}

func (e *env) get0(s ledger.Store, id ledger.ID) ledger.Record {
	r, _ := s.Get(e.ctx, id)
	return r
}
