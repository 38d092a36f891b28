package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

func watchCases() []testCase {
	return []testCase{
		{"tells of puts and deletes", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			e.tellsOf(w, s)
		}},
		{"tells of what others do", func(e *env) {
			s, other := e.owner(), e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			e.tellsOf(w, other)
		}},
		{"misses nothing from its first change on", func(e *env) {
			s, other := e.owner(), e.owner()
			for round := range 5 {
				w := e.watch(s, ledger.WatchOptions{}) // the first one was yielded when this returns
				r := e.succeeded(other, id(fmt.Sprint(round)))
				w.put(r)
				w.end()
			}
		}},
		{"tells of each record's last write", func(e *env) {
			s, other := e.owner(), e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			errs := make([]error, 8)
			together(len(errs), func(i int) {
				r, _, err := other.Claim(e.ctx, claimOf(id(fmt.Sprint(i)), 0))
				for n := 0; n < 5 && err == nil; n++ {
					if err = other.Finish(e.ctx, ended(r, ledger.StateFailed)); err == nil {
						var now ledger.Record
						if now, err = other.Get(e.ctx, r.ID); err == nil {
							r, _, err = other.Claim(e.ctx, claimOf(r.ID, now.Version))
						}
					}
				}
				errs[i] = err
			})
			e.noErrors("write under a watch", errs)
			last := map[ledger.ID]ledger.Version{}
			for _, r := range e.list(s, ledger.Filter{}) {
				last[r.ID] = r.Version
			}
			for len(last) > 0 {
				c := w.next(fmt.Sprintf("the last write of %d records", len(last)))
				if c.Version > last[c.ID] && last[c.ID] > 0 {
					e.Fatalf("told of version %d of %s, whose last one is %d", c.Version, c.ID, last[c.ID])
				}
				if c.Kind == ledger.ChangeSync || c.Version == last[c.ID] {
					delete(last, c.ID)
				}
				if c.Kind == ledger.ChangeSync {
					return // it says that it may have missed some
				}
			}
		}},
		{"filters", func(e *env) {
			s := e.owner()
			mine := idIn("mine", "t", "a")
			for _, o := range []ledger.WatchOptions{
				{Filter: ledger.Filter{Workflow: "mine"}},
				{Filter: ledger.Filter{Workflow: "mine", Tool: "t"}},
				{Filter: ledger.Filter{Workflow: "mine", After: idIn("z", "z", "z"), Limit: 1}}, // not used
			} {
				w := e.watch(s, o)
				for _, id := range []ledger.ID{idIn("other", "t", "a"), idIn("mine2", "t", "a"), idIn("min", "t", "a")} {
					e.remove(s, e.succeeded(s, id))
				}
				for range 2 { // Limit is not used
					r := e.succeeded(s, mine)
					w.put(r)
					e.remove(s, r)
					w.until("the delete", func(c ledger.Change) bool { return c.Kind == ledger.ChangeDelete && c.ID == mine })
				}
				for _, c := range w.seen {
					if c.ID.Workflow != "mine" && c.Kind != ledger.ChangeSync {
						e.Errorf("watching mine, told of %s", c.ID)
					}
				}
				w.end()
			}
		}},
		{"filters by record", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{Filter: ledger.Filter{States: []ledger.State{ledger.StateFailed}, Key: "k"}})
			for _, key := range []string{"k", "l"} {
				for _, state := range finished {
					r := ended(e.claimNew(s, id(key+string(state))), state)
					r.Key = key
					e.finish(s, r)
				}
			}
			last := ended(e.claimNew(s, id("last")), ledger.StateFailed)
			last.Key = "k"
			w.put(e.finish(s, last))
			for _, c := range w.seen {
				if c.Kind == ledger.ChangePut && (c.Record.State != ledger.StateFailed || c.Record.Key != "k") {
					e.Errorf("watching failed records with the key k, told of %s with the key %q", brief(*c.Record), c.Record.Key)
				}
			}
		}},
		{"notices are deletions, forces and claims of stored records", func(e *env) {
			s, other := e.owner(), e.owner()
			w := e.watch(s, ledger.WatchOptions{Notices: true})
			plain := e.succeeded(other, id("plain")) // a fresh claim and its finish are none
			r := e.succeeded(other, id("a"))
			again := e.claim(other, claimOf(r.ID, r.Version))
			w.notice("the claim of a stored record", again)
			forced := e.claim(other, stealOf(r.ID, again.Version))
			w.notice("the force", forced)
			done := e.finish(other, ended(forced, ledger.StateSucceeded))
			e.remove(other, done)
			w.until("the deletion", func(c ledger.Change) bool { return c.Kind == ledger.ChangeDelete && c.ID == r.ID })
			dead := e.dead(other, id("dead"))
			w.notice("the takeover", e.claim(other, claimOf(dead.ID, dead.Version)))
			for _, c := range w.seen {
				if c.ID == plain.ID || c.ID == r.ID && c.Kind == ledger.ChangePut && (c.Version < again.Version || c.Version == done.Version) {
					e.Errorf("noticed version %d of %s: a fresh claim or a finish", c.Version, c.ID)
				}
			}
		}},
		{"notices are filtered by ID", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{Notices: true, Filter: ledger.Filter{Workflow: "mine"}})
			for _, workflow := range []string{"other", "mine"} {
				e.remove(s, e.succeeded(s, idIn(workflow, "t", "a")))
			}
			w.until("the deletion", func(c ledger.Change) bool { return c.Kind == ledger.ChangeDelete && c.ID == idIn("mine", "t", "a") })
			for _, c := range w.seen {
				if c.ID.Workflow == "other" {
					e.Errorf("watching mine, noticed %s", c.ID)
				}
			}
		}},
		{"a slow one is told what it missed, or that it did", func(e *env) {
			s, other := e.owner(), e.owner()
			ctx, cancel := context.WithCancel(e.ctx)
			defer cancel()
			left := map[ledger.ID]bool{}
			first := true
			for c, err := range e.watcher(s).Watch(ctx, ledger.WatchOptions{}) {
				if err != nil {
					e.Fatalf("watch: %v", err)
				}
				if first { // it writes while nobody takes what the watcher has to tell
					first = false
					for _, id := range e.fill(other, 1500) {
						left[id] = true
					}
					continue
				}
				if c.Kind == ledger.ChangePut && c.Record != nil && c.Record.State == ledger.StateSucceeded {
					delete(left, c.ID)
				}
				if c.Kind == ledger.ChangeSync || len(left) == 0 {
					return
				}
			}
			e.Fatalf("the watch ended with %d records untold", len(left))
		}},
		{"ends with its context", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			w.cancel()
			e.ends("a watch whose context is cancelled", func() { <-w.done })
		}},
		{"with a cancelled context ends", func(e *env) {
			w := e.watcher(e.owner())
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.ends("a watch whose context is cancelled", func() {
				for _, err := range w.Watch(ctx, ledger.WatchOptions{}) {
					if err != nil {
						return
					}
				}
			})
		}},
		{"ends when its store closes", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			e.end(s)
			e.ends("a watch of a closed store", func() { <-w.done })
			e.want("the watch's last element", w.err, ledger.ErrClosed)
			for _, err := range e.watcher(s).Watch(e.ctx, ledger.WatchOptions{}) {
				e.want("watch after close", err, ledger.ErrClosed)
			}
		}},
		{"each of several is told", func(e *env) {
			s := e.owner()
			var all []*stream
			for range 5 {
				all = append(all, e.watch(s, ledger.WatchOptions{}))
			}
			all[2].end() // one that leaves
			r := e.succeeded(s, id("a"))
			for i, w := range all {
				if i != 2 {
					w.put(r)
				}
			}
		}},
	}
}

// tellsOf lets s write in each way and wants the watcher to be told of each.
func (e *env) tellsOf(w *stream, s ledger.Store) {
	e.Helper()
	r := e.claimNew(s, id("a"))
	w.put(r)
	r = e.claim(s, stealOf(r.ID, r.Version))
	w.put(r)
	r = e.finish(s, ended(r, ledger.StateFailed))
	w.put(r)
	r = e.claim(s, claimOf(r.ID, r.Version))
	w.put(r)
	r = e.finish(s, ended(r, ledger.StateSucceeded))
	w.put(r)
	e.remove(s, r)
	w.until("the delete", func(c ledger.Change) bool { return c.Kind == ledger.ChangeDelete && c.ID == r.ID })
	r = e.claimNew(s, id("a"))
	w.put(r)
	e.finish(s, ended(r, ledger.StateNone))
	w.until("the removal by a finish", func(c ledger.Change) bool { return c.Kind == ledger.ChangeDelete && c.ID == r.ID })
}

// stream is a watch that runs on a goroutine of its own.
type stream struct {
	e       *env
	changes chan ledger.Change
	cancel  func()
	done    chan struct{}
	err     error // once done: what ended it
	seen    []ledger.Change
}

// watch begins to watch and returns after the first ChangeSync.
func (e *env) watch(s ledger.Store, o ledger.WatchOptions) *stream {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	w := &stream{e: e, changes: make(chan ledger.Change), cancel: cancel, done: make(chan struct{})}
	watcher := e.watcher(s)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(w.done)
		for c, err := range watcher.Watch(ctx, o) {
			if err != nil {
				w.err = err
				continue // it has to be the last element
			}
			select {
			case w.changes <- c:
			case <-ctx.Done():
			}
		}
	})
	e.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	if c := w.next("its first change"); c.Kind != ledger.ChangeSync {
		e.Fatalf("a watch begins with a change of kind %d of %s; want a ChangeSync", c.Kind, c.ID)
	}
	return w
}

func (w *stream) end() {
	w.cancel()
	<-w.done
}

func (w *stream) next(what string) ledger.Change {
	w.e.Helper()
	select {
	case c := <-w.changes:
		w.seen = append(w.seen, c)
		return c
	case <-w.done:
		w.e.Fatalf("the watch ended with %v before it told of %s", w.err, what)
	case <-time.After(w.e.opts.Patience):
		w.e.Fatalf("the watch did not tell of %s within %v; it told of %d other changes", what, w.e.opts.Patience, len(w.seen))
	}
	panic("unreachable")
}

func (w *stream) until(what string, is func(c ledger.Change) bool) ledger.Change {
	w.e.Helper()
	for {
		if c := w.next(what); is(c) {
			return c
		}
	}
}

// put wants to be told of the write of r, which is what stands.
func (w *stream) put(r ledger.Record) {
	w.e.Helper()
	c := w.until("the write of "+brief(r), func(c ledger.Change) bool {
		return c.Kind == ledger.ChangePut && c.ID == r.ID && c.Version == r.Version
	})
	if c.Record == nil {
		w.e.Fatalf("told of version %d of %s without its record", c.Version, c.ID)
	}
	got := *c.Record
	got.Attempts, got.Executed, got.Blocked = r.Attempts, r.Executed, r.Blocked // tallies are read elsewhere
	w.e.same("told of", got, r)
}

func (w *stream) notice(what string, r ledger.Record) {
	w.e.Helper()
	w.until(what, func(c ledger.Change) bool {
		return c.Kind == ledger.ChangePut && c.ID == r.ID && c.Version >= r.Version
	})
}
