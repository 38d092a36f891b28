package storetest

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/ledger-once/ledger"
)

func closeCases() []testCase {
	return []testCase{
		{"then each method returns ErrClosed", func(e *env) {
			other, s := e.owner(), e.owner()
			r := e.claimNew(s, id("running"))
			done := e.succeeded(s, id("done"))
			e.end(s)
			for what, err := range map[string]error{
				"claim":       second(s.Claim(e.ctx, claimOf(id("a"), 0))),
				"claim again": second(s.Claim(e.ctx, ledger.Claim{Next: r})),
				"finish":      s.Finish(e.ctx, ended(r, ledger.StateSucceeded)),
				"tally":       s.Tally(e.ctx, []ledger.Tally{{ID: done.ID, Attempts: 1}}),
				"get":         first(s.Get(e.ctx, done.ID)),
				"delete":      s.Delete(e.ctx, done.ID, done.Version),
			} {
				e.want(what+" after close", err, ledger.ErrClosed)
			}
			n := 0
			for _, err := range s.List(e.ctx, ledger.Filter{}) {
				n++
				e.want("list after close", err, ledger.ErrClosed)
			}
			if n != 1 {
				e.Errorf("after close the list yields %d times; want one error", n)
			}
			r.Alive = false
			e.stands(other, r)
			e.stands(other, done)
			e.absent(other, id("a"))
		}},
		{"twice", func(e *env) {
			s := e.owner()
			e.claimNew(s, id("a"))
			e.end(s)
			e.end(s)
		}},
		{"at once from many", func(e *env) {
			c, ok := e.owner().(io.Closer)
			if !ok {
				e.Skip("the store is no io.Closer")
			}
			errs := make([]error, 8)
			e.ends("close", func() { together(8, func(i int) { errs[i] = c.Close() }) })
			e.noErrors("close", errs)
		}},
		{"unused", func(e *env) {
			e.end(e.owner())
			s := e.owner()
			e.listed(s, ledger.Filter{}, nil)
		}},
		{"and reopen finds all", func(e *env) {
			s := e.owner()
			var want []ledger.Record
			for _, state := range finished {
				want = append(want, e.finish(s, ended(e.claimNew(s, id(string(state))), state)))
			}
			running := e.claimNew(s, id("running"))
			e.tally(s, ledger.Tally{ID: running.ID, Attempts: 1, Blocked: 1}, ledger.Tally{ID: counter, Attempts: 4})
			e.end(s)
			running.Alive, running.Blocked = false, 1
			running.Attempts++
			want = append(want, running, ledger.Record{ID: counter, Attempts: 4})
			for range 3 {
				s = e.owner()
				for _, r := range want {
					e.stands(s, r)
				}
				if got := len(e.list(s, ledger.Filter{})); got != len(want) {
					e.Errorf("after reopening %d records are listed, want %d", got, len(want))
				}
				e.end(s)
			}
		}},
		{"during calls ends them", func(e *env) {
			for round := range 5 {
				e.closeDuringCalls(round)
			}
		}},
		{"leaves other stores alone", func(e *env) {
			s, elsewhere := e.owner(), e.elsewhere().owner()
			r := e.claimNew(s, id("a"))
			e.absent(elsewhere, id("a"))
			e.claimNew(elsewhere, id("a"))
			e.tally(elsewhere, ledger.Tally{ID: id("a"), Attempts: 1}, ledger.Tally{ID: counter, Attempts: 1})
			e.end(elsewhere)
			e.stands(s, r)
			e.listed(s, ledger.Filter{}, []ledger.ID{r.ID})
		}},
		{"and an unknown schema is refused", func(e *env) {
			if e.opts.Corrupt == nil {
				e.Skip("no Options.Corrupt")
			}
			s := e.owner()
			e.succeeded(s, id("a"))
			e.end(s)
			if err := e.opts.Corrupt(e.dir); err != nil {
				e.Fatal(err)
			}
			record(e.TB, func(t testing.TB) {
				s := e.open(t, e.dir) // ends here, if the store is as it should be
				if c, ok := s.(io.Closer); ok {
					t.Cleanup(func() { _ = c.Close() })
				}
				if r, err := s.Get(e.ctx, id("a")); err == nil || errors.Is(err, ledger.ErrNotFound) {
					e.Errorf("get in a store of an unknown schema: %s, error %v; want an error that says so", brief(r), err)
				}
				if r, won, err := s.Claim(e.ctx, claimOf(id("a"), 0)); err == nil {
					e.Errorf("claim in a store of an unknown schema: won %t, %s; want an error that says so", won, brief(r))
				}
			})
		}},
	}
}

// closeDuringCalls closes an owner while 16 callers claim and finish through
// it: all end, and what they were told is so.
func (e *env) closeDuringCalls(round int) {
	e.Helper()
	observer, s := e.owner(), e.owner()
	closer, ok := s.(io.Closer)
	if !ok {
		e.Skip("the store is no io.Closer")
	}
	var closed error
	var mu sync.Mutex
	var won, done []ledger.Record
	var wg sync.WaitGroup
	begun, closing := make(chan struct{}, 1024), make(chan struct{})
	for worker := range 16 {
		wg.Go(func() {
			for i := range 1000 {
				if i == 500 { // so that calls are left when it is closed
					select {
					case <-closing:
					case <-e.ctx.Done():
						return
					}
				}
				r, ok, err := s.Claim(e.ctx, claimOf(id(fmt.Sprint(round, worker, i)), 0))
				if err == nil && ok {
					mu.Lock()
					won = append(won, r)
					mu.Unlock()
					r = ended(r, ledger.StateSucceeded)
					if err = s.Finish(e.ctx, r); err == nil {
						mu.Lock()
						done = append(done, r)
						mu.Unlock()
					}
				}
				select {
				case begun <- struct{}{}:
				default:
				}
				if err != nil {
					return
				}
			}
		})
	}
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		wg.Wait()
	}()
	for range 16 * (round + 1) {
		select {
		case <-begun:
		case <-idle:
			e.Fatal("the calls ended before the store was closed")
		}
	}
	close(closing)
	e.ends("close during calls", func() { closed = closer.Close() })
	e.noErrors("close during calls", []error{closed})
	e.ends("a call during close", func() { <-idle })
	for _, r := range won {
		if got := e.get(observer, r.ID); got.Nonce != r.Nonce || got.Alive {
			e.Fatalf("a granted claim of %s; after close there is %s", brief(r), brief(got))
		}
	}
	for _, r := range done {
		if got := e.get(observer, r.ID); got.State != ledger.StateSucceeded {
			e.Fatalf("an acknowledged finish of %s; after close there is %s", brief(r), brief(got))
		}
	}
}
