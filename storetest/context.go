package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

func contextCases() []testCase {
	return []testCase{
		{"cancelled before: each method says so", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("running"))
			done := e.succeeded(s, id("done"))
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			for what, err := range map[string]error{
				"claim":  second(s.Claim(ctx, claimOf(id("a"), 0))),
				"finish": s.Finish(ctx, ended(r, ledger.StateSucceeded)),
				"tally":  s.Tally(ctx, []ledger.Tally{{ID: counter, Attempts: 1}}),
				"get":    first(s.Get(ctx, done.ID)),
				"delete": s.Delete(ctx, done.ID, done.Version),
			} {
				e.want(what+" with a cancelled context", err, context.Canceled)
			}
		}},
		{"past its deadline: each method says so", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("running"))
			ctx, cancel := context.WithTimeout(e.ctx, 0)
			defer cancel()
			e.want("claim past the deadline", second(s.Claim(ctx, claimOf(id("a"), 0))), context.DeadlineExceeded)
			e.want("finish past the deadline", s.Finish(ctx, ended(r, ledger.StateSucceeded)), context.DeadlineExceeded)
			e.want("get past the deadline", first(s.Get(ctx, r.ID)), context.DeadlineExceeded)
		}},
		{"cancelled during a claim", func(e *env) {
			s := e.owner()
			e.interrupted(func(ctx context.Context, round int) {
				c := claimOf(id(fmt.Sprint(round)), 0)
				r, won, err := s.Claim(ctx, c)
				if err == nil && !won {
					e.Fatalf("claim of a new call refused for %s", brief(r))
				}
				if err != nil && definite(err) {
					e.absent(s, c.Next.ID)
				}
				// Whatever became of it: sent again, it wins, and one record stands.
				r = e.claim(s, c)
				e.finish(s, ended(r, ledger.StateSucceeded))
			})
		}},
		{"cancelled during a finish", func(e *env) {
			s := e.owner()
			e.interrupted(func(ctx context.Context, round int) {
				done := ended(e.claimNew(s, id(fmt.Sprint(round))), ledger.StateSucceeded)
				if err := s.Finish(ctx, done); err != nil && definite(err) {
					if got := e.get(s, done.ID); got.State != ledger.StateRunning {
						e.Fatalf("finish: got error %v, and there is %s", err, brief(got))
					}
				}
				e.finish(s, done)
			})
		}},
		{"cancelled during a delete", func(e *env) {
			s := e.owner()
			e.interrupted(func(ctx context.Context, round int) {
				r := e.succeeded(s, id(fmt.Sprint(round)))
				if err := s.Delete(ctx, r.ID, r.Version); err != nil && definite(err) {
					e.stands(s, r)
				}
				if err := s.Delete(e.ctx, r.ID, r.Version); err != nil && !errors.Is(err, ledger.ErrNotFound) {
					e.Fatalf("the same delete again: %v", err)
				}
				e.absent(s, r.ID)
			})
		}},
		{"cancelled during a tally", func(e *env) {
			s := e.owner()
			e.interrupted(func(ctx context.Context, round int) {
				id := ledger.ID{Workflow: "w", Tool: fmt.Sprint(round)}
				err := s.Tally(ctx, []ledger.Tally{{ID: id, Attempts: 1}})
				got, exists := e.lookup(s, id)
				if err == nil && got.Attempts != 1 || err != nil && definite(err) && exists || got.Attempts > 1 {
					e.Fatalf("tally of 1: error %v, and the counter has %d", err, got.Attempts)
				}
			})
		}},
		{"cancelled during a read", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.interrupted(func(ctx context.Context, _ int) {
				if got, err := s.Get(ctx, r.ID); err == nil {
					e.same("get returned", got, r)
				} else if errors.Is(err, ledger.ErrNotFound) {
					e.Fatalf("a cancelled get of a stored record: %v", err)
				}
				n := 0
				var failed error
				for got, err := range s.List(ctx, ledger.Filter{}) {
					if failed = err; err == nil {
						e.same("list yielded", got, r)
						n++
					}
				}
				if failed == nil && n != 1 {
					e.Fatalf("a cancelled list yields %d records and no error; want the one that is stored", n)
				}
			})
		}},
		{"cancelled for one caller spares the others", func(e *env) {
			// Stores gather writes; one caller who leaves must not take the batch along.
			s := e.owner()
			for round := range rounds {
				ctx, cancel := context.WithCancel(e.ctx)
				errs := make([]error, racers)
				together(racers, func(i int) {
					if i == 0 {
						cancel()
					}
					mine := e.ctx
					if i%2 == 0 {
						mine = ctx
					}
					_, won, err := s.Claim(mine, claimOf(id(fmt.Sprint(round, " ", i)), 0))
					if i%2 == 1 && (err != nil || !won) {
						errs[i] = fmt.Errorf("won %t, error %w", won, err)
					}
				})
				e.noErrors("claim beside a cancelled one", errs)
			}
		}},
	}
}

// interrupted calls f with contexts that end at many moments of the call.
func (e *env) interrupted(f func(ctx context.Context, round int)) {
	e.Helper()
	for round := range 30 {
		ctx, cancel := context.WithCancel(e.ctx)
		timer := time.AfterFunc(time.Duration(round*round)*3*time.Microsecond, cancel)
		f(ctx, round)
		timer.Stop()
		cancel()
	}
}

// definite is what the contract says of errors after which nothing was written and nothing will be.
func definite(err error) bool {
	for _, sure := range []error{ledger.ErrFenced, ledger.ErrRunning, ledger.ErrNotFound, ledger.ErrInvalid, ledger.ErrClosed, ledger.ErrNotWritten} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}

func first(_ ledger.Record, err error) error          { return err }
func second(_ ledger.Record, _ bool, err error) error { return err }
