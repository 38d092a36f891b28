package storetest

import (
	"context"
	"errors"
	"flag"
	"iter"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

type changes = iter.Seq2[ledger.Change, error]

// watchMutants break promises of Watcher, Leaser and SessionLister.
func watchMutants() []mutant {
	type ctx = context.Context
	told := func(keep func(c *ledger.Change) bool, ask func(o *ledger.WatchOptions)) func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
		return func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
			ask(&o)
			return func(yield func(ledger.Change, error) bool) {
				for c, err := range b.Memory.Watch(ctx, o) {
					if (err != nil || keep(&c)) && !yield(c, err) {
						return
					}
				}
			}
		}
	}
	all := func(*ledger.Change) bool { return true }
	asked := func(*ledger.WatchOptions) {}
	return []mutant{
		{name: "an await that misses deaths", want: "watch/await returns when its owner closes; watch/await returns at once if there is nothing to wait for",
			await: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				for {
					r, err := b.Memory.Get(ctx, id)
					if err != nil && !errors.Is(err, ledger.ErrNotFound) {
						return err
					}
					if r.Version != seen {
						return nil
					}
					time.Sleep(time.Millisecond)
				}
			}},
		{name: "an await that misses what was before", want: "watch/await returns at once if there is nothing to wait for",
			await: func(b *broken, ctx ctx, id ledger.ID, _ ledger.Version) error {
				r, _ := b.Memory.Get(ctx, id)
				if r.Alive {
					return b.Memory.Await(ctx, id, r.Version)
				}
				return b.Memory.Await(ctx, id, 0)
			}},
		{name: "an await that does not wait", want: "watch/await waits, and ends with its context",
			await: func(*broken, ctx, ledger.ID, ledger.Version) error { return nil }},
		{name: "an await without a context", want: "watch/await waits, and ends with its context",
			await: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				long, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
				defer cancel()
				return errors.Unwrap(errors.Unwrap(b.Memory.Await(long, id, seen)))
			}},
		{name: "an await that outlives its store", want: "watch/await ends when its store closes",
			await: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				other := b.Memory.Session()
				defer other.Close()
				return other.Await(ctx, id, seen)
			}},
		{name: "an await for this owner's writes only", want: "watch/await returns when it finishes elsewhere; watch/await wakes all 32 waiters",
			await: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				if b.shared.count()%2 == 0 {
					<-ctx.Done()
					return ctx.Err()
				}
				return b.Memory.Await(ctx, id, seen)
			}},
		{name: "a watch without deletes", want: "watch/tells of puts and deletes; watch/filters", watch: told(func(c *ledger.Change) bool { return c.Kind != ledger.ChangeDelete }, asked)},
		{name: "a watch without finishes", want: "watch/tells of puts and deletes; watch/tells of what others do; watch/misses nothing from its first change on; watch/each of several is told",
			watch: told(func(c *ledger.Change) bool { return c.Record == nil || c.Record.State != ledger.StateSucceeded }, asked)},
		{name: "a watch that begins without a word", want: "watch/tells of puts and deletes", watch: told(func(c *ledger.Change) bool { return c.Kind != ledger.ChangeSync }, asked)},
		{name: "a watch that drops what is slow to take", want: "watch/a slow one is told what it missed, or that it did",
			watch: func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
				return func(yield func(ledger.Change, error) bool) {
					first := true
					for c, err := range b.Memory.Watch(ctx, o) {
						if c.Kind == ledger.ChangeSync && !first {
							continue
						}
						first = false
						if !yield(c, err) {
							return
						}
					}
				}
			}},
		{name: "a watch without records", want: "watch/tells of puts and deletes", watch: told(func(c *ledger.Change) bool { c.Record = nil; return true }, asked)},
		{name: "a watch without the workflow", want: "watch/filters; watch/notices are filtered by ID", watch: told(all, func(o *ledger.WatchOptions) { o.Filter.Workflow = "" })},
		{name: "a watch without states", want: "watch/filters by record", watch: told(all, func(o *ledger.WatchOptions) { o.Filter.States = nil })},
		{name: "notices of everything", want: "watch/notices are deletions, forces and claims of stored records", watch: told(all, func(o *ledger.WatchOptions) { o.Notices = false })},
		{name: "notices of deletions only", want: "watch/notices are deletions, forces and claims of stored records",
			watch: func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
				return told(func(c *ledger.Change) bool { return !o.Notices || c.Kind != ledger.ChangePut }, asked)(b, ctx, o)
			}},
		{name: "a watch without a context", want: "watch/ends with its context",
			watch: func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
				return func(yield func(ledger.Change, error) bool) {
					long, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
					defer cancel()
					b.Memory.Watch(long, o)(yield)
				}
			}},
		{name: "a watch that ends in silence", want: "watch/ends when its store closes",
			watch: func(b *broken, ctx ctx, o ledger.WatchOptions) changes {
				return func(yield func(ledger.Change, error) bool) {
					for c, err := range b.Memory.Watch(ctx, o) {
						if err != nil || !yield(c, nil) {
							return
						}
					}
				}
			}},
		{name: "a lease that is never lost", want: "lease/is lost with its owner; lease/of an unknown session is lost",
			lost: func(*broken, string) <-chan struct{} { return make(chan struct{}) }},
		{name: "a lease that is lost at once", want: "lease/is not lost while its owner lives",
			lost: func(b *broken, _ string) <-chan struct{} { return b.Memory.LeaseLost("unknown") }},
		{name: "sessions of which one is missing", want: "lease/sessions are listed", all: func(s []ledger.Session) []ledger.Session { return s[:len(s)-1] }},
	}
}

// quietRapid keeps rapid from writing files about failures that are wanted, and gives it the tries to find them:
// with the 20 of -short, one was missed in every 16th run.
func quietRapid(t *testing.T) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s", "rapid.checks": "2000"} {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
}
