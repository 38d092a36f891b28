package storetest

import (
	"fmt"
	"os"

	"github.com/ledger-once/ledger"
)

func ownerCases() []testCase {
	return []testCase{
		{"is filled in by the store", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), 0)
			c.Next.Owner = ledger.Owner{Session: "mine", Host: "mine", PID: -1, Caller: "agent-A"}
			got := e.claim(s, c).Owner
			if got.Session == "" || got.Session == "mine" || got.Host == "mine" || got.PID != os.Getpid() || got.Caller != "agent-A" {
				e.Errorf("the claim's owner is %+v; want the store's session and host, process %d, and the caller agent-A", got, os.Getpid())
			}
			if host, err := os.Hostname(); err == nil && got.Host != host {
				e.Errorf("the claim's host is %q, want %q", got.Host, host)
			}
		}},
		{"each open store is one", func(e *env) {
			a, b := e.claimNew(e.owner(), id("a")), e.claimNew(e.owner(), id("b"))
			if a.Owner.Session == b.Owner.Session {
				e.Errorf("two open stores share the session %q", a.Owner.Session)
			}
		}},
		{"that ends leaves its claim in doubt", func(e *env) {
			s := e.owner()
			r := e.dead(s, id("a"))
			if got := e.get(s, r.ID); got.State != ledger.StateRunning || got.Alive || got.Status() != ledger.StateInDoubt {
				e.Errorf("the dead owner's record is %s; want running, not alive", brief(got))
			}
		}},
		{"that is dead is taken over", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			r := e.claim(s, claimOf(dead.ID, dead.Version))
			if r.Fence <= dead.Fence || r.Owner.Session == dead.Owner.Session {
				e.Errorf("after the takeover there is %s; want a fence above %d and another session than %s", brief(r), dead.Fence, dead.Owner.Session)
			}
			again := e.owner()
			e.refused(again, claimOf(r.ID, r.Version), r)
		}},
		{"that is dead is not taken over unseen", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			for _, seen := range []ledger.Version{0, dead.Version - 1, dead.Version + 1} {
				e.refused(s, claimOf(dead.ID, seen), dead)
			}
			e.refused(s, stealOf(dead.ID, 0), dead)
		}},
		{"that is dead is taken over by one of 32", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner(), e.owner()}
			ending := e.owner()
			var dead []ledger.Record
			for round := range rounds {
				dead = append(dead, e.claimNew(ending, id(fmt.Sprint(round))))
			}
			e.end(ending)
			for _, r := range dead {
				e.race(owners, r.ID, r.Version, false)
			}
		}},
		{"that ends leaves the claims of others", func(e *env) {
			a, b, c := e.owner(), e.owner(), e.owner()
			kept := e.claimNew(b, id("b"))
			e.claimNew(a, id("a"))
			e.end(a)
			e.refused(c, claimOf(kept.ID, kept.Version), kept)
			e.finish(b, ended(kept, ledger.StateSucceeded))
		}},
		{"that ends leaves its successes", func(e *env) {
			a := e.owner()
			done := e.succeeded(a, id("a"))
			e.end(a)
			b := e.owner()
			e.stands(b, done)
			e.refused(b, claimOf(done.ID, 0), done)
		}},
		{"that comes back is another", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			e.owner() // opened after the death, in the same process: it does not revive the claim
			e.stands(s, dead)
			e.claim(s, claimOf(dead.ID, dead.Version))
		}},
		{"that lives loses its claim to a steal", func(e *env) {
			a, b := e.owner(), e.owner()
			r := e.claimNew(a, id("a"))
			e.refused(b, claimOf(r.ID, r.Version), r)
			stolen := e.claim(b, stealOf(r.ID, r.Version))
			if stolen.Fence <= r.Fence {
				e.Errorf("the stolen claim has fence %d; want one above %d", stolen.Fence, r.Fence)
			}
			e.fenced(a, ended(r, ledger.StateSucceeded))
			e.finish(b, ended(stolen, ledger.StateSucceeded))
		}},
		{"steals its own claim for the next try", func(e *env) {
			s := e.owner()
			first := e.claimNew(s, id("a"))
			second := e.claim(s, stealOf(first.ID, first.Version))
			if second.Fence <= first.Fence {
				e.Errorf("the next try has fence %d; want one above %d", second.Fence, first.Fence)
			}
			e.fenced(s, ended(first, ledger.StateSucceeded))
			e.finish(s, ended(second, ledger.StateSucceeded))
		}},
		{"steals only what it has seen", func(e *env) {
			a, b := e.owner(), e.owner()
			first := e.claimNew(a, id("a"))
			r := e.claim(a, stealOf(first.ID, first.Version))
			for _, seen := range []ledger.Version{0, first.Version, r.Version + 1} {
				e.refused(b, stealOf(r.ID, seen), r)
			}
			done := e.finish(a, ended(r, ledger.StateSucceeded))
			e.refused(b, stealOf(r.ID, r.Version), done)
		}},
		{"may steal what is not running", func(e *env) {
			s := e.owner()
			e.claim(s, stealOf(id("a"), 0))
			done := e.succeeded(s, id("b"))
			e.claim(s, stealOf(done.ID, done.Version))
		}},
		{"one of 32 steals", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner(), e.owner()}
			for round := range rounds {
				r := e.claimNew(owners[0], id(fmt.Sprint(round)))
				e.race(owners, r.ID, r.Version, true)
			}
		}},
	}
}
