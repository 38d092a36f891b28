package storetest

import (
	"errors"
	"fmt"

	"github.com/ledger-once/ledger"
)

func deleteCases() []testCase {
	return []testCase{
		{"of a finished one", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				r := e.finish(s, ended(e.claimNew(s, id(string(state))), state))
				e.remove(other, r)
				e.absent(s, r.ID)
				if all := e.list(s, ledger.Filter{}); len(all) != 0 {
					e.Errorf("the deleted record is listed: %s", brief(all[0]))
				}
			}
		}},
		{"of nothing is not found", func(e *env) {
			s := e.owner()
			e.want("delete of nothing", s.Delete(e.ctx, id("a"), 0), ledger.ErrNotFound)
			e.want("delete of nothing", s.Delete(e.ctx, id("a"), 1), ledger.ErrNotFound)
			r := e.succeeded(s, id("b"))
			e.remove(s, r)
			e.want("second delete", s.Delete(e.ctx, r.ID, r.Version), ledger.ErrNotFound)
			e.want("delete of no counter", s.Delete(e.ctx, ledger.ID{Workflow: "w", Tool: "t"}, 0), ledger.ErrNotFound)
		}},
		{"of a running one is refused", func(e *env) {
			s, other := e.owner(), e.owner()
			r := e.claimNew(s, id("a"))
			e.want("delete of a running record", s.Delete(e.ctx, r.ID, r.Version), ledger.ErrRunning)
			e.want("delete of a running record", other.Delete(e.ctx, r.ID, r.Version), ledger.ErrRunning)
			e.stands(s, r)
			e.finish(s, ended(r, ledger.StateSucceeded))
		}},
		{"of a running one whose owner is dead", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			e.remove(s, dead)
			e.fenced(s, ended(dead, ledger.StateSucceeded))
		}},
		{"of another version is fenced", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			done := e.finish(s, ended(r, ledger.StateFailed))
			for _, seen := range []ledger.Version{0, r.Version, done.Version + 1} {
				e.want("delete of another version", s.Delete(e.ctx, r.ID, seen), ledger.ErrFenced)
				e.stands(s, done)
			}
			dead := e.dead(s, id("b"))
			e.want("delete of another version", s.Delete(e.ctx, dead.ID, dead.Version+1), ledger.ErrFenced)
			e.stands(s, dead)
		}},
		{"that is stale spares the next claim", func(e *env) {
			s := e.owner()
			done := e.finish(s, ended(e.claimNew(s, id("a")), ledger.StateFailed))
			r := e.claim(s, claimOf(done.ID, done.Version))
			if err := s.Delete(e.ctx, r.ID, done.Version); !errors.Is(err, ledger.ErrFenced) && !errors.Is(err, ledger.ErrRunning) {
				e.Fatalf("stale delete: got error %v; want %q or %q", err, ledger.ErrFenced, ledger.ErrRunning)
			}
			e.stands(s, r)
		}},
		{"and a new claim", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.remove(s, r)
			e.refusedAbsent(s, claimOf(r.ID, r.Version))
			e.claimNew(s, r.ID)
		}},
		{"of a counter", func(e *env) {
			s := e.owner()
			counter := ledger.ID{Workflow: "w", Tool: "t"}
			e.tally(s, ledger.Tally{ID: counter, Attempts: 1})
			e.want("delete of another version", s.Delete(e.ctx, counter, 7), ledger.ErrFenced)
			e.remove(s, e.get(s, counter))
			e.tally(s, ledger.Tally{ID: counter, Attempts: 1})
			if got := e.get(s, counter).Attempts; got != 1 {
				e.Errorf("the new counter has %d attempts; want 1", got)
			}
		}},
		{"of 32 one counts", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner()}
			for round := range rounds {
				r := e.succeeded(owners[0], id(fmt.Sprint(round)))
				errs := make([]error, racers)
				together(racers, func(i int) { errs[i] = owners[i%2].Delete(e.ctx, r.ID, r.Version) })
				deleted := 0
				for _, err := range errs {
					if err == nil {
						deleted++
					} else if !errors.Is(err, ledger.ErrNotFound) {
						e.Fatalf("delete: %v", err)
					}
				}
				if deleted != 1 {
					e.Fatalf("%d of %d deletes were told that they did it; want 1", deleted, racers)
				}
			}
		}},
		{"or a claim wins", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner()}
			for round := range 2 * rounds {
				r := e.succeeded(owners[0], id(fmt.Sprint(round)))
				var deleted, claimed error
				var won bool
				together(2, func(i int) {
					if i == 0 {
						deleted = owners[0].Delete(e.ctx, r.ID, r.Version)
					} else {
						_, won, claimed = owners[1].Claim(e.ctx, claimOf(r.ID, r.Version))
					}
				})
				if claimed != nil || won == (deleted == nil) {
					e.Fatalf("claim: won %t, error %v; delete: error %v; want exactly one of them to have its way", won, claimed, deleted)
				}
				if _, exists := e.lookup(owners[0], r.ID); exists != won {
					e.Fatalf("there is a record: %t; the claim won: %t", exists, won)
				}
			}
		}},
	}
}
