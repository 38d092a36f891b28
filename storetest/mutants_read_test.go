package storetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

type records = iter.Seq2[ledger.Record, error]

// readMutants break promises of reads, versions, contexts and closing.
func readMutants() []mutant {
	type ctx = context.Context
	listed := func(keep func(r *ledger.Record, f ledger.Filter) bool, ask func(f *ledger.Filter)) func(b *broken, ctx ctx, f ledger.Filter) records {
		return func(b *broken, ctx ctx, f ledger.Filter) records {
			asked := f
			ask(&asked)
			return func(yield func(ledger.Record, error) bool) {
				for r, err := range b.Memory.List(ctx, asked) {
					if (err != nil || keep(&r, f)) && !yield(r, err) {
						return
					}
				}
			}
		}
	}
	all := func(*ledger.Record, ledger.Filter) bool { return true }
	return []mutant{
		versions("versions that begin anew with each record", "version/grows across deletion; version/grows over 100 rounds; version/of a removed record does not let a stale claim pass; finish/that removes leaves nothing; model/random operations of three owners agree with the oracle", nil),
		versions("versions derived from the records that are left", "version/grows across deletion and reopening", func(b *broken) {
			for range b.Memory.List(context.Background(), ledger.Filter{}) {
				return
			}
			b.shared.offset[ledger.ID{}] = b.shared.high
		}),
		{name: "a reader that writes what it shows", want: "list/does not write what it shows; owner/that ends leaves its claim in doubt",
			get: func(b *broken, ctx ctx, id ledger.ID) (ledger.Record, error) {
				if r, err := b.Memory.Get(ctx, id); err == nil && r.Status() != r.State {
					r.State = ledger.StateInDoubt
					_ = b.Memory.Finish(ctx, r)
				}
				return b.Memory.Get(ctx, id)
			}},
		{name: "an owner without a name", want: "owner/is filled in by the store", out: func(r *ledger.Record) { r.Owner.Host = "" }},
		{name: "an owner that the caller names", want: "owner/is filled in by the store",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				r.Owner = c.Next.Owner
				return r, won, err
			}},
		{name: "owners who share a session", want: "owner/each open store is one", out: func(r *ledger.Record) {
			if r.Owner.Session != "" {
				r.Owner.Session = "s"
			}
		}},
		{name: "names matched as prefixes", want: "names/of workflows do not match as prefixes", list: listed(
			func(r *ledger.Record, f ledger.Filter) bool { return strings.HasPrefix(r.ID.Workflow, f.Workflow) },
			func(f *ledger.Filter) { f.Workflow = "" })},
		{name: "a filter without the caller", want: "list/by workflow, tool, caller and key", list: listed(all, func(f *ledger.Filter) { f.Caller = "" })},
		{name: "a filter without the key", want: "list/by workflow, tool, caller and key", list: listed(all, func(f *ledger.Filter) { f.Key = "" })},
		{name: "a filter without the end", want: "list/by time", list: listed(all, func(f *ledger.Filter) { f.Until = time.Time{} })},
		{name: "a filter that includes the end", want: "list/by time", list: listed(all, func(f *ledger.Filter) {
			if !f.Until.IsZero() {
				f.Until = f.Until.Add(time.Microsecond)
			}
		})},
		{name: "a filter by the stored state", want: "list/by state, as it is shown", list: listed(
			func(r *ledger.Record, f ledger.Filter) bool { r.Alive = true; f.Limit = 0; return f.Match(r) },
			func(f *ledger.Filter) { f.States = nil })},
		{name: "a limit before the filter", want: "list/a limit counts what matches", list: listed(
			func(r *ledger.Record, f ledger.Filter) bool { return f.Match(r) },
			func(f *ledger.Filter) { f.States = nil })},
		{name: "no limit", want: "list/of a limit; list/of 1,000, whole and in pages", list: listed(all, func(f *ledger.Filter) { f.Limit = 0 })},
		{name: "a listing that begins with After", want: "list/after an ID", list: listed(all, func(f *ledger.Filter) {
			if f.After.Fingerprint != "" {
				f.After.Fingerprint = f.After.Fingerprint[:len(f.After.Fingerprint)-1] // just before it
			}
		})},
		{name: "a listing without counters", want: "tally/creates counters; list/is ordered by ID", list: listed(
			func(r *ledger.Record, _ ledger.Filter) bool { return !r.ID.IsCounter() }, func(*ledger.Filter) {})},
		{name: "a page with a hole", want: "list/of 1,000, whole and in pages",
			list: func(b *broken, ctx ctx, f ledger.Filter) records {
				return func(yield func(ledger.Record, error) bool) {
					n := 0
					for r, err := range b.Memory.List(ctx, f) {
						if n++; n%257 != 0 && !yield(r, err) {
							return
						}
					}
				}
			}},
		{name: "a page that overlaps", want: "list/while others write; list/of 1,000, whole and in pages",
			list: func(b *broken, ctx ctx, f ledger.Filter) records {
				return func(yield func(ledger.Record, error) bool) {
					n := 0
					for r, err := range b.Memory.List(ctx, f) {
						if n++; n%100 == 0 && !yield(r, err) || !yield(r, err) {
							return
						}
					}
				}
			}},
		{name: "an order of its own", want: "list/is ordered by ID",
			list: func(b *broken, ctx ctx, f ledger.Filter) records {
				return func(yield func(ledger.Record, error) bool) {
					var all []ledger.Record
					for r := range b.Memory.List(ctx, f) {
						all = append([]ledger.Record{r}, all...)
					}
					for _, r := range all {
						if !yield(r, nil) {
							return
						}
					}
				}
			}},
		{name: "a listing that ends in silence", want: "context/cancelled during a read; list/with a cancelled context; close/then each method returns ErrClosed",
			list: func(b *broken, ctx ctx, f ledger.Filter) records {
				return func(yield func(ledger.Record, error) bool) {
					time.Sleep(100 * time.Microsecond)
					for r, err := range b.Memory.List(ctx, f) {
						if err != nil || !yield(r, err) {
							return
						}
					}
				}
			}},
		{name: "a listing that holds the lock", want: "list/with writes inside its loop",
			list: func(b *broken, ctx ctx, f ledger.Filter) records {
				return func(yield func(ledger.Record, error) bool) {
					b.shared.lock <- struct{}{}
					defer func() { <-b.shared.lock }()
					for r, err := range b.Memory.List(ctx, f) {
						if !yield(r, err) {
							return
						}
					}
				}
			},
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				select {
				case b.shared.lock <- struct{}{}:
				case <-ctx.Done():
					return ledger.Record{}, false, ctx.Err()
				}
				defer func() { <-b.shared.lock }()
				return b.Memory.Claim(ctx, c)
			}},
		{name: "no context", want: "context/cancelled before: each method says so; context/past its deadline: each method says so",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				return b.Memory.Claim(context.WithoutCancel(ctx), c)
			}},
		{name: "a claim that was written, and says that it was not", want: "context/cancelled during a claim",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(context.WithoutCancel(ctx), c)
				if late(ctx) {
					return ledger.Record{}, false, errors.Join(ctx.Err(), ledger.ErrNotWritten)
				}
				return r, won, err
			}},
		{name: "a finish that was written, and says that it was not", want: "context/cancelled during a finish",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				err := b.Memory.Finish(context.WithoutCancel(ctx), done)
				if late(ctx) {
					return errors.Join(ctx.Err(), ledger.ErrNotWritten)
				}
				return err
			}},
		{name: "a delete that was not written, and says that it was", want: "delete/of a finished one; close/leaves other stores alone",
			delete: func(*broken, ctx, ledger.ID, ledger.Version) error { return nil },
			tally:  func(*broken, ctx, []ledger.Tally) error { return errors.New("no") }},
		{name: "a tally that was not written, and says that it was", want: "context/cancelled during a tally",
			tally: func(b *broken, ctx ctx, counts []ledger.Tally) error {
				if late(ctx) {
					return nil
				}
				return b.Memory.Tally(ctx, counts)
			}},
		{name: "a read of nothing when cancelled", want: "context/cancelled during a read",
			get: func(b *broken, ctx ctx, id ledger.ID) (ledger.Record, error) {
				if late(ctx) {
					return ledger.Record{}, ledger.ErrNotFound
				}
				return b.Memory.Get(ctx, id)
			}},
		{name: "a close that does nothing", want: "close/then each method returns ErrClosed; owner/that ends leaves its claim in doubt; close/and reopen finds all",
			close: func(*broken) error { return nil }},
		{name: "a second close that fails", want: "close/twice; close/at once from many",
			close: func(b *broken) error {
				if _, err := b.Memory.Get(context.Background(), id("a")); errors.Is(err, ledger.ErrClosed) || b.shared.count() > 1 {
					return err
				}
				return b.Memory.Close()
			}},
		{name: "a close that waits for ever", want: "close/during calls ends them",
			close: func(b *broken) error {
				time.Sleep(10 * time.Second)
				return b.Memory.Close()
			}},
	}
}

// late waits a moment for ctx to end: a call that is cut short.
func late(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(500 * time.Microsecond):
		return false
	}
}

// versions is a store whose versions are less than those of its memory: by what
// the one before had, for each new record, or by what opened sets.
func versions(name, want string, opened func(b *broken)) mutant {
	by := func(b *broken, id ledger.ID) ledger.Version {
		b.shared.mu.Lock()
		defer b.shared.mu.Unlock()
		return b.shared.offset[id] + b.shared.offset[ledger.ID{}]
	}
	out := func(b *broken, r ledger.Record) ledger.Record {
		if r.Version != 0 {
			b.shared.mu.Lock()
			b.shared.high = max(b.shared.high, r.Version)
			b.shared.mu.Unlock()
			r.Version -= by(b, r.ID)
			r.Fence -= by(b, r.ID)
		}
		return r
	}
	in := func(b *broken, id ledger.ID, v ledger.Version) ledger.Version {
		if v != 0 {
			v += by(b, id)
		}
		return v
	}
	return mutant{name: name, want: want, opened: opened,
		claim: func(b *broken, ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
			c.Seen = in(b, c.Next.ID, c.Seen)
			r, won, err := b.Memory.Claim(ctx, c)
			if won && c.Seen == 0 && opened == nil {
				b.shared.mu.Lock()
				b.shared.offset[r.ID] = r.Version - 1
				b.shared.mu.Unlock()
			}
			return out(b, r), won, err
		},
		finish: func(b *broken, ctx context.Context, done ledger.Record) error {
			done.Fence = in(b, done.ID, done.Fence)
			return b.Memory.Finish(ctx, done)
		},
		get: func(b *broken, ctx context.Context, id ledger.ID) (ledger.Record, error) {
			r, err := b.Memory.Get(ctx, id)
			return out(b, r), err
		},
		list: func(b *broken, ctx context.Context, f ledger.Filter) records {
			return func(yield func(ledger.Record, error) bool) {
				for r, err := range b.Memory.List(ctx, f) {
					if !yield(out(b, r), err) {
						return
					}
				}
			}
		},
		delete: func(b *broken, ctx context.Context, id ledger.ID, seen ledger.Version) error {
			return b.Memory.Delete(ctx, id, in(b, id, seen))
		},
	}
}
