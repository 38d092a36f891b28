package storetest

import (
	"github.com/ledger-once/ledger"
)

func versionCases() []testCase {
	return []testCase{
		{"grows with every write", func(e *env) {
			s, other := e.owner(), e.owner()
			var high ledger.Version
			up := func(what string, v ledger.Version) {
				if v <= high {
					e.Fatalf("%s has version %d; want one above %d", what, v, high)
				}
				high = v
			}
			r := e.claimNew(s, id("a"))
			up("the claim", r.Version)
			r = e.claim(other, stealOf(r.ID, r.Version))
			up("the stolen claim", r.Version)
			r = e.finish(other, ended(r, ledger.StateFailed))
			up("the finish", r.Version)
			r = e.claim(s, claimOf(r.ID, r.Version))
			up("the next claim", r.Version)
			r = e.finish(s, ended(r, ledger.StateSucceeded))
			up("its finish", r.Version)
		}},
		{"grows across deletion", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.remove(s, r)
			if again := e.claimNew(s, r.ID); again.Fence <= r.Version {
				e.Errorf("after the deletion the fence is %d; want one above %d", again.Fence, r.Version)
			}
		}},
		{"grows across reopening", func(e *env) {
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.end(s)
			s = e.owner()
			if again := e.claim(s, claimOf(r.ID, r.Version)); again.Fence <= r.Version {
				e.Errorf("after reopening the fence is %d; want one above %d", again.Fence, r.Version)
			}
		}},
		{"grows across deletion and reopening", func(e *env) {
			// The highest version must not be derived from the records that are left.
			s := e.owner()
			r := e.succeeded(s, id("a"))
			e.remove(s, r)
			e.end(s)
			s = e.owner()
			if again := e.claimNew(s, r.ID); again.Fence <= r.Version {
				e.Errorf("after deletion and reopening the fence is %d; want one above %d", again.Fence, r.Version)
			}
		}},
		{"grows over 100 rounds", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner()}
			var high, seen ledger.Version
			for round := range 100 {
				s := owners[round/3%2]
				r := e.claim(s, claimOf(id("a"), seen))
				if r.Fence <= high {
					e.Fatalf("round %d has fence %d; want one above %d", round, r.Fence, high)
				}
				state := append(finished, ledger.StateNone)[round%4]
				done := e.finish(s, ended(r, state))
				high, seen = max(r.Version, done.Version), done.Version
				if round%7 == 0 && seen > 0 {
					e.remove(s, done)
					seen = 0
				}
			}
		}},
		{"is that of the record, whoever reads", func(e *env) {
			s, other := e.owner(), e.owner()
			for range 3 {
				r := e.succeeded(s, id("a"))
				e.stands(other, r)
				for _, got := range e.list(other, ledger.Filter{}) {
					e.same("the list yields", got, r)
				}
				e.remove(other, r)
			}
		}},
		{"of a removed record does not let a stale claim pass", func(e *env) {
			s := e.owner()
			first := e.succeeded(s, id("a"))
			e.remove(s, first)
			second := e.succeeded(s, id("a"))
			e.refused(s, claimOf(first.ID, first.Version), second)
			e.want("delete of the removed record's version", s.Delete(e.ctx, first.ID, first.Version), ledger.ErrFenced)
			e.stands(s, second)
		}},
	}
}
