package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/ledger-once/ledger"
)

// listRaceCases are about listings while something else happens.
func listRaceCases() []testCase {
	return []testCase{
		{"two at once", func(e *env) {
			s := e.owner()
			ids := e.fill(s, 200)
			for outer, err := range s.List(e.ctx, ledger.Filter{Limit: 3}) {
				if err != nil {
					e.Fatal(err)
				}
				if outer.ID.Workflow != "many" {
					e.Fatalf("listed %s", brief(outer))
				}
				e.listed(s, ledger.Filter{}, ids)
			}
			errs := make([]error, 8)
			together(8, func(i int) {
				n := 0
				for _, err := range s.List(e.ctx, ledger.Filter{}) {
					if n++; err != nil {
						errs[i] = err
					}
				}
				if errs[i] == nil && n != len(ids) {
					errs[i] = fmt.Errorf("%d records are listed, want %d", n, len(ids))
				}
			})
			e.noErrors("list", errs)
		}},
		{"with writes inside its loop", func(e *env) {
			s := e.owner()
			ids := e.fill(s, 40)
			e.ends("a listing with writes inside its loop", func() {
				for r, err := range s.List(e.ctx, ledger.Filter{Workflow: "many"}) {
					if err != nil {
						e.Errorf("list: %v", err)
						return
					}
					// Not the helpers of env: this is another goroutine.
					again, won, err := s.Claim(e.ctx, claimOf(r.ID, r.Version))
					if err != nil || !won {
						e.Errorf("claim inside the loop: won %t, error %v", won, err)
						return
					}
					if err := s.Finish(e.ctx, ended(again, ledger.StateNone)); err != nil {
						e.Errorf("finish inside the loop: %v", err)
						return
					}
					if _, _, err := s.Claim(e.ctx, claimOf(idIn("other", "t", r.ID.Fingerprint), 0)); err != nil {
						e.Errorf("claim inside the loop: %v", err)
						return
					}
				}
			})
			if got := len(e.list(s, ledger.Filter{Workflow: "many"})); got != 0 {
				e.Errorf("%d records are left of those that the loop removed", got)
			}
			if got := len(e.list(s, ledger.Filter{Workflow: "other"})); got != len(ids) {
				e.Errorf("%d records are listed of those that the loop wrote; want %d", got, len(ids))
			}
		}},
		{"while others write", func(e *env) {
			s, other := e.owner(), e.owner()
			unchanged := e.fill(s, 400)
			ctx, cancel := context.WithCancel(e.ctx)
			defer cancel()
			var writers sync.WaitGroup
			errs := make([]error, 4)
			for i := range errs {
				writers.Go(func() { errs[i] = churn(ctx, other, i) })
			}
			for range 5 {
				seen := map[ledger.ID]int{}
				for _, r := range e.list(s, ledger.Filter{Workflow: "many"}) {
					seen[r.ID]++
				}
				for _, id := range unchanged {
					if seen[id] != 1 {
						cancel()
						writers.Wait()
						e.Fatalf("while others write, the unchanged %s was listed %d times", id, seen[id])
					}
				}
			}
			cancel()
			writers.Wait()
			e.noErrors("write during a listing", errs)
		}},
		{"with a cancelled context", func(e *env) {
			s := e.owner()
			e.succeeded(s, id("a"))
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			n := 0
			for r, err := range s.List(ctx, ledger.Filter{}) {
				n++
				if err == nil {
					e.Fatalf("with a cancelled context the list yields %s", brief(r))
				}
				e.want("list with a cancelled context", err, context.Canceled)
			}
			if n != 1 {
				e.Errorf("with a cancelled context the list yields %d errors, want 1", n)
			}
		}},
		{"begins when it is ranged over, again and again", func(e *env) {
			s := e.owner()
			all := s.List(e.ctx, ledger.Filter{})
			for want := range 3 {
				got := 0
				for _, err := range all {
					if got++; err != nil {
						e.Fatal(err)
					}
				}
				if got != want {
					e.Fatalf("ranged over with %d records stored, the list yields %d", want, got)
				}
				e.succeeded(s, id(fmt.Sprint(want)))
			}
		}},
	}
}

// churn writes and removes records between those of fill until ctx ends.
func churn(ctx context.Context, s ledger.Store, worker int) error {
	for i := 0; ctx.Err() == nil; i++ {
		id := idIn("many", fmt.Sprint("t", i%3), fmt.Sprint("churn ", worker, i%50))
		r, won, err := s.Claim(ctx, claimOf(id, 0))
		if err == nil && won {
			err = s.Finish(ctx, ended(r, ledger.StateNone))
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
