package storetest

import (
	"fmt"

	"github.com/ledger-once/ledger"
)

var counter = ledger.ID{Workflow: "w", Tool: "t"}

func tallyCases() []testCase {
	return []testCase{
		{"adds up", func(e *env) {
			s, other := e.owner(), e.owner()
			r := e.claimNew(s, id("a"))
			for range 3 {
				e.tally(s, ledger.Tally{ID: r.ID, Attempts: 2, Executed: 1, Blocked: 3})
				e.tally(other, ledger.Tally{ID: r.ID, Attempts: 1, Blocked: 1})
			}
			want := r
			want.Attempts, want.Executed, want.Blocked = r.Starts+9, r.Executed+3, 12
			e.stands(s, want)
			e.stands(other, want)
			e.refused(other, claimOf(r.ID, 0), want)
		}},
		{"touches neither state nor version", func(e *env) {
			s := e.owner()
			running := e.claimNew(s, id("running"))
			done := e.succeeded(s, id("done"))
			dead := e.dead(s, id("dead"))
			e.tally(s, ledger.Tally{ID: running.ID, Blocked: 1}, ledger.Tally{ID: done.ID, Blocked: 1}, ledger.Tally{ID: dead.ID, Blocked: 1})
			for _, want := range []ledger.Record{running, done, dead} {
				want.Blocked = 1
				e.stands(s, want)
			}
			e.finish(s, ended(running, ledger.StateSucceeded))
			e.claim(s, claimOf(done.ID, done.Version))
			e.claim(s, claimOf(dead.ID, dead.Version))
		}},
		{"creates counters", func(e *env) {
			s, other := e.owner(), e.owner()
			e.tally(s, ledger.Tally{ID: counter, Attempts: 5, Executed: 4, Blocked: 1})
			e.tally(other, ledger.Tally{ID: counter, Attempts: 5, Executed: 4, Blocked: 1})
			e.stands(s, ledger.Record{ID: counter, Attempts: 10, Executed: 8, Blocked: 2})
			e.listed(s, ledger.Filter{}, []ledger.ID{counter})
			e.listed(s, ledger.Filter{States: []ledger.State{ledger.StateNone}}, []ledger.ID{counter})
			e.absent(s, ledger.ID{Workflow: "w", Tool: "u"})
		}},
		{"of a counter leaves the tool's records alone", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.tally(s, ledger.Tally{ID: counter, Attempts: 5})
			e.stands(s, r)
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 1})
			e.stands(s, ledger.Record{ID: counter, Attempts: 5})
		}},
		{"of nothing is dropped", func(e *env) {
			s := e.owner()
			e.tally(s, ledger.Tally{ID: id("a"), Attempts: 5, Executed: 5, Blocked: 5})
			e.absent(s, id("a"))
			if r := e.claimNew(s, id("a")); r.Attempts != r.Starts || r.Blocked != 0 || r.Executed != 0 {
				e.Errorf("counts from before the record: %d attempts, %d blocked, %d executed", r.Attempts, r.Blocked, r.Executed)
			}
		}},
		{"goes with the record", func(e *env) {
			s, other := e.owner(), e.owner()
			r := e.succeeded(s, id("a"))
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 5, Blocked: 5})
			e.tally(other, ledger.Tally{ID: r.ID, Attempts: 5, Blocked: 5})
			e.remove(s, r)
			e.tally(other, ledger.Tally{ID: r.ID, Attempts: 5, Blocked: 5})
			if r = e.claimNew(s, r.ID); r.Attempts != r.Starts || r.Blocked != 0 {
				e.Errorf("the new record has %d attempts and %d blocked; the deleted one's tallies are still there", r.Attempts, r.Blocked)
			}
			e.tally(other, ledger.Tally{ID: r.ID, Attempts: 1, Blocked: 1})
			if r = e.get(s, r.ID); r.Attempts != r.Starts+1 || r.Blocked != 1 {
				e.Errorf("the new record has %d attempts and %d blocked; want %d and 1", r.Attempts, r.Blocked, r.Starts+1)
			}
		}},
		{"outlives claims and finishes", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			for i := range int64(3) {
				e.tally(s, ledger.Tally{ID: r.ID, Attempts: 1, Blocked: 1})
				r = e.finish(s, ended(r, ledger.StateFailed))
				e.tally(s, ledger.Tally{ID: r.ID, Attempts: 1, Blocked: 1})
				r = e.claim(s, claimOf(r.ID, r.Version))
				if want := 2*i + 2; r.Attempts != r.Starts+want || r.Blocked != want {
					e.Fatalf("after %d counts there are %d attempts and %d blocked", want, r.Attempts-r.Starts, r.Blocked)
				}
			}
		}},
		{"outlives its owner", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 2, Blocked: 2}, ledger.Tally{ID: counter, Attempts: 3})
			e.end(s)
			s = e.owner()
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 2, Blocked: 2}, ledger.Tally{ID: counter, Attempts: 3})
			if r, c := e.get(s, r.ID), e.get(s, counter); r.Attempts != r.Starts+4 || r.Blocked != 4 || c.Attempts != 6 {
				e.Errorf("after reopening there are %d attempts, %d blocked and %d calls; want %d, 4 and 6", r.Attempts, r.Blocked, c.Attempts, r.Starts+4)
			}
		}},
		{"of none and of many at once", func(e *env) {
			s := e.owner()
			e.tally(s)
			e.tally(s, ledger.Tally{ID: counter})
			var counts []ledger.Tally
			for i := range 600 {
				counts = append(counts, ledger.Tally{ID: ledger.ID{Workflow: "w", Tool: fmt.Sprint("t", i%300)}, Attempts: 1})
			}
			e.tally(s, counts...)
			for i := range 300 {
				if got := e.get(s, counts[i].ID).Attempts; got != 2 {
					e.Fatalf("%s has %d attempts; it came twice in one call, want 2", counts[i].ID, got)
				}
			}
		}},
		{"is exact under concurrency", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner(), e.owner()}
			r := e.claimNew(owners[0], id("a"))
			const times = 20
			errs := make([]error, racers)
			together(racers, func(i int) {
				for range times {
					if err := owners[i%len(owners)].Tally(e.ctx, []ledger.Tally{{ID: r.ID, Attempts: 1, Blocked: 1}, {ID: counter, Attempts: 1, Executed: 1}}); err != nil {
						errs[i] = err
					}
				}
			})
			e.noErrors("tally", errs)
			for _, s := range owners {
				a, b := e.get(s, r.ID), e.get(s, counter)
				if want := int64(racers * times); a.Attempts != a.Starts+want || a.Blocked != want || b.Attempts != want || b.Executed != want {
					e.Fatalf("of %d counts there are %d attempts, %d blocked; %d calls, %d executed", want, a.Attempts-a.Starts, a.Blocked, b.Attempts, b.Executed)
				}
			}
		}},
		{"is exact while the record changes", func(e *env) {
			s, other := e.owner(), e.owner()
			r := e.claimNew(s, id("a"))
			const times = 100
			var failed error
			together(2, func(i int) {
				if i == 0 {
					for range times {
						if err := other.Tally(e.ctx, []ledger.Tally{{ID: r.ID, Attempts: 1, Blocked: 1}}); err != nil {
							failed = err
						}
					}
					return
				}
				for range times / 4 {
					e.step(s, id("a"))
				}
			})
			e.noErrors("tally", []error{failed})
			if got := e.get(s, r.ID); got.Blocked != times || got.Attempts != got.Starts+times {
				e.Errorf("of %d counts there are %d attempts and %d blocked", times, got.Attempts-got.Starts, got.Blocked)
			}
		}},
	}
}

// step finishes or claims the record of id; on any goroutine.
func (e *env) step(s ledger.Store, id ledger.ID) {
	r, err := s.Get(e.ctx, id)
	if err == nil && r.State == ledger.StateRunning {
		err = s.Finish(e.ctx, ended(r, ledger.StateFailed))
	} else if err == nil {
		_, _, err = s.Claim(e.ctx, claimOf(id, r.Version))
	}
	if err != nil {
		e.Errorf("step: %v", err)
	}
}
