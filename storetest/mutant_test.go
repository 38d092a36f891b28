package storetest

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// broken is a memory store that breaks one promise: each function that is set
// stands in for the method of that name.
type broken struct {
	*ledger.Memory
	shared *shared
	mutant *mutant
}

// shared is what the broken owners of one store have in common.
type shared struct {
	mu     sync.Mutex
	n      int
	offset map[ledger.ID]ledger.Version
	tally  map[ledger.ID]ledger.Tally
	high   ledger.Version
	lock   chan struct{}
}

// A mutant names the promise that it breaks and cases that have to notice it.
type mutant struct {
	name   string
	want   string // "group/case; group/case"
	claim  func(b *broken, ctx context.Context, c ledger.Claim) (ledger.Record, bool, error)
	finish func(b *broken, ctx context.Context, done ledger.Record) error
	tally  func(b *broken, ctx context.Context, counts []ledger.Tally) error
	get    func(b *broken, ctx context.Context, id ledger.ID) (ledger.Record, error)
	list   func(b *broken, ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error]
	delete func(b *broken, ctx context.Context, id ledger.ID, seen ledger.Version) error
	await  func(b *broken, ctx context.Context, id ledger.ID, seen ledger.Version) error
	watch  func(b *broken, ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error]
	close  func(b *broken) error
	lost   func(b *broken, session string) <-chan struct{}
	opened func(b *broken)        // after an owner was opened
	in     func(r *ledger.Record) // changes what is written
	out    func(r *ledger.Record) // changes what is read
	id     func(id *ledger.ID)    // changes the ID of all that is written and asked for
	all    func(s []ledger.Session) []ledger.Session
}

func (b *broken) Claim(ctx context.Context, c ledger.Claim) (r ledger.Record, won bool, err error) {
	if b.mutant.in != nil {
		b.mutant.in(&c.Next)
	}
	if b.mutant.id != nil {
		b.mutant.id(&c.Next.ID)
	}
	if b.mutant.claim != nil {
		r, won, err = b.mutant.claim(b, ctx, c)
	} else {
		r, won, err = b.Memory.Claim(ctx, c)
	}
	if b.mutant.out != nil {
		b.mutant.out(&r)
	}
	return r, won, err
}

func (b *broken) Finish(ctx context.Context, done ledger.Record) error {
	if b.mutant.in != nil {
		b.mutant.in(&done)
	}
	if b.mutant.id != nil {
		b.mutant.id(&done.ID)
	}
	if b.mutant.finish != nil {
		return b.mutant.finish(b, ctx, done)
	}
	return b.Memory.Finish(ctx, done)
}

func (b *broken) Tally(ctx context.Context, counts []ledger.Tally) error {
	if b.mutant.tally != nil {
		return b.mutant.tally(b, ctx, counts)
	}
	return b.Memory.Tally(ctx, counts)
}

func (b *broken) Get(ctx context.Context, id ledger.ID) (r ledger.Record, err error) {
	if b.mutant.id != nil {
		b.mutant.id(&id)
	}
	if b.mutant.get != nil {
		r, err = b.mutant.get(b, ctx, id)
	} else {
		r, err = b.Memory.Get(ctx, id)
	}
	if b.mutant.out != nil {
		b.mutant.out(&r)
	}
	return r, err
}

func (b *broken) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	list := b.Memory.List
	if b.mutant.list != nil {
		list = func(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
			return b.mutant.list(b, ctx, f)
		}
	}
	return func(yield func(ledger.Record, error) bool) {
		for r, err := range list(ctx, f) {
			if b.mutant.out != nil && err == nil {
				b.mutant.out(&r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func (b *broken) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if b.mutant.id != nil {
		b.mutant.id(&id)
	}
	if b.mutant.delete != nil {
		return b.mutant.delete(b, ctx, id, seen)
	}
	return b.Memory.Delete(ctx, id, seen)
}

func (b *broken) Await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if b.mutant.await != nil {
		return b.mutant.await(b, ctx, id, seen)
	}
	return b.Memory.Await(ctx, id, seen)
}

func (b *broken) Watch(ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	if b.mutant.watch != nil {
		return b.mutant.watch(b, ctx, o)
	}
	return b.Memory.Watch(ctx, o)
}

func (b *broken) Close() error {
	if b.mutant.close != nil {
		return b.mutant.close(b)
	}
	return b.Memory.Close()
}

func (b *broken) LeaseLost(session string) <-chan struct{} {
	if b.mutant.lost != nil {
		return b.mutant.lost(b, session)
	}
	return b.Memory.LeaseLost(session)
}

func (b *broken) Sessions(ctx context.Context) ([]ledger.Session, error) {
	all, err := b.Memory.Sessions(ctx)
	if b.mutant.all != nil {
		all = b.mutant.all(all)
	}
	return all, err
}

// TestMutants breaks the memory store in each way and wants the fitting cases to fail.
func TestMutants(t *testing.T) {
	// rapid need not keep, nor make small, what is expected to fail.
	quietRapid(t)
	for _, m := range slices.Concat(writeMutants(), readMutants(), watchMutants()) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			open := brokenOpener(&m)
			for name := range strings.SplitSeq(m.want, "; ") {
				r := runCase(t, name, open, 300*time.Millisecond)
				if !r.Failed() {
					t.Errorf("the suite misses a store with %q: the case %q passes (skipped: %t)", m.name, name, r.Skipped())
				}
				t.Logf("%s: %s", name, r.text())
			}
		})
	}
}

// TestUnbroken is the control: with nothing broken, no case of the mutants fails.
func TestUnbroken(t *testing.T) {
	open := brokenOpener(&mutant{})
	names := map[string]bool{}
	for _, m := range slices.Concat(writeMutants(), readMutants(), watchMutants()) {
		for name := range strings.SplitSeq(m.want, "; ") {
			names[name] = true
		}
	}
	for name := range names {
		if r := runCase(t, name, open, 30*time.Second); r.Failed() || r.Skipped() {
			t.Errorf("%s fails, or is skipped, on an unbroken store: %s", name, r.text())
		}
	}
}

func brokenOpener(m *mutant) Opener {
	var memory memories
	var mu sync.Mutex
	stores := map[string]*shared{}
	return func(_ testing.TB, dir string) ledger.Store {
		mu.Lock()
		defer mu.Unlock()
		if stores[dir] == nil {
			stores[dir] = &shared{offset: map[ledger.ID]ledger.Version{}, tally: map[ledger.ID]ledger.Tally{}, lock: make(chan struct{}, 1)}
		}
		b := &broken{memory.open(dir), stores[dir], m}
		if m.opened != nil {
			m.opened(b)
		}
		return b
	}
}

// runCase runs the case "group/name" on a recorder.
func runCase(t *testing.T, name string, open Opener, patience time.Duration) *recorder {
	t.Helper()
	group, rest, _ := strings.Cut(name, "/")
	for _, g := range groups() {
		for _, c := range g.cases {
			if g.name == group && c.name == rest {
				test := t.Name()
				return record(t, func(t testing.TB) {
					var o *Options
					opts := o.withDefaults()
					opts.Patience = patience
					c.test(newEnv(t, test, open, opts))
				})
			}
		}
	}
	t.Fatalf("there is no case %q", name)
	return nil
}
