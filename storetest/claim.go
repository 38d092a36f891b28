package storetest

import (
	"fmt"
	"slices"

	"github.com/ledger-once/ledger"
)

// How many callers race, over how many rounds.
const (
	racers = 32
	rounds = 10
)

var finished = []ledger.State{ledger.StateSucceeded, ledger.StateFailed, ledger.StateInDoubt}

func claimCases() []testCase {
	return []testCase{
		{"fresh", func(e *env) {
			s := e.owner()
			e.absent(s, id("a"))
			c := claimOf(id("a"), 0)
			r := e.claim(s, c)
			want := c.Next
			want.Version, want.Fence, want.Owner, want.Alive, want.Attempts = r.Version, r.Version, r.Owner, true, want.Starts
			e.stands(s, want)
			e.stands(e.owner(), want)
		}},
		{"over a running one is refused", func(e *env) {
			s, other := e.owner(), e.owner()
			r := e.claimNew(s, id("a"))
			for _, seen := range []ledger.Version{0, r.Version, r.Version + 1} {
				e.refused(s, claimOf(r.ID, seen), r)
				e.refused(other, claimOf(r.ID, seen), r)
			}
		}},
		{"over a finished one, not seen, is refused", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				r := e.finish(s, ended(e.claimNew(s, id(string(state))), state))
				e.refused(s, claimOf(r.ID, 0), r)
				e.refused(other, claimOf(r.ID, 0), r)
			}
		}},
		{"over a finished one, seen, is granted", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				r := e.finish(s, ended(e.claimNew(s, id(string(state))), state))
				again := e.claim(other, claimOf(r.ID, r.Version))
				if again.Fence <= r.Version {
					e.Errorf("%s: the new fence %d is not above the version %d before", state, again.Fence, r.Version)
				}
			}
		}},
		{"leaves nothing of the record before", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			done := ended(r, ledger.StateFailed)
			done.Key, done.Result, done.Settled = "key", []byte("1"), &ledger.Settlement{How: "happened"}
			done.Log, done.Takeovers, done.Spent, done.Doubted = []ledger.Attempt{{Fence: 1}}, 3, 2, true
			r = e.finish(s, done)
			c := claimOf(r.ID, r.Version)
			again := e.claim(s, c)
			want := c.Next
			want.Version, want.Fence, want.Owner, want.Alive, want.Attempts = again.Version, again.Version, again.Owner, true, again.Starts
			e.stands(s, want)
		}},
		{"with a wrong version is refused", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			done := e.finish(s, ended(r, ledger.StateFailed))
			for _, seen := range []ledger.Version{r.Version, done.Version + 1, 1 << 60, -1} {
				e.refused(s, claimOf(r.ID, seen), done)
			}
		}},
		{"of nothing, with a version, is refused", func(e *env) {
			s := e.owner()
			e.refusedAbsent(s, claimOf(id("a"), 1))
			r := e.succeeded(s, id("b"))
			e.remove(s, r)
			e.refusedAbsent(s, claimOf(r.ID, r.Version))
			e.refusedAbsent(s, stealOf(r.ID, r.Version))
		}},
		{"sent again while running wins and writes nothing", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), 0)
			r := e.claim(s, c)
			for range 3 {
				if again := e.claim(s, c); again.Version != r.Version || again.Fence != r.Fence {
					e.Fatalf("sent again, the claim has version %d and fence %d; want %d, those of its first copy", again.Version, again.Fence, r.Version)
				}
			}
			c.Steal = true
			e.claim(s, c)
			e.stands(s, r)
			e.finish(s, ended(r, ledger.StateSucceeded))
		}},
		{"over a finished one, sent again, wins too", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), e.succeeded(s, id("a")).Version)
			r := e.claim(s, c)
			e.claim(s, c)
			e.stands(s, r)
		}},
		{"sent again after its finish is refused", func(e *env) {
			s := e.owner()
			for _, state := range finished {
				c := claimOf(id(string(state)), 0)
				done := e.finish(s, ended(e.claim(s, c), state))
				e.refused(s, c, done)
			}
		}},
		{"sent again after it was stolen is refused", func(e *env) {
			s, other := e.owner(), e.owner()
			c := claimOf(id("a"), 0)
			r := e.claim(s, c)
			e.refused(s, c, e.claim(other, stealOf(r.ID, r.Version)))
		}},
		{"that can not be one is invalid", func(e *env) {
			s := e.owner()
			for what, spoil := range map[string]func(c *ledger.Claim){
				"a claim of a finished record": func(c *ledger.Claim) { c.Next.State = ledger.StateSucceeded },
				"a claim without a state":      func(c *ledger.Claim) { c.Next.State = ledger.StateNone },
				"a claim without a nonce":      func(c *ledger.Claim) { c.Next.Nonce = "" },
				"a claim of a counter":         func(c *ledger.Claim) { c.Next.ID.Fingerprint = "" },
			} {
				c := claimOf(id("a"), 0)
				spoil(&c)
				_, won, err := s.Claim(e.ctx, c)
				e.want(what, err, ledger.ErrInvalid)
				if won {
					e.Errorf("%s was granted", what)
				}
				e.absent(s, c.Next.ID)
			}
		}},
		{"of 32 racers one wins", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner(), e.owner()}
			for round := range rounds {
				e.race(owners, id(fmt.Sprint(round)), 0, false)
			}
		}},
		{"of 32 racers over a finished one one wins", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner(), e.owner()}
			for round := range rounds {
				done := e.finish(owners[0], ended(e.claimNew(owners[0], id(fmt.Sprint(round))), ledger.StateFailed))
				e.race(owners, done.ID, done.Version, false)
			}
		}},
		{"of 32 at once for other calls all win", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner()}
			errs := make([]error, racers)
			together(racers, func(i int) {
				r, won, err := owners[i%2].Claim(e.ctx, claimOf(id(fmt.Sprint(i)), 0))
				if errs[i] = err; err == nil && !won {
					errs[i] = fmt.Errorf("refused for %s", brief(r))
				}
			})
			e.noErrors("claim", errs)
			if got := len(e.list(owners[0], ledger.Filter{})); got != racers {
				e.Errorf("%d records are listed, want %d", got, racers)
			}
		}},
	}
}

// race lets 32 claims run at one record, wants one winner, and returns it.
func (e *env) race(owners []ledger.Store, id ledger.ID, seen ledger.Version, steal bool) ledger.Record {
	e.Helper()
	type answer struct {
		r   ledger.Record
		won bool
	}
	answers, errs, claims := make([]answer, racers), make([]error, racers), make([]ledger.Claim, racers)
	together(racers, func(i int) {
		c := claimOf(id, seen)
		c.Steal = steal
		claims[i] = c
		answers[i].r, answers[i].won, errs[i] = owners[i%len(owners)].Claim(e.ctx, c)
	})
	e.noErrors("claim", errs)
	winner := slices.IndexFunc(answers, func(a answer) bool { return a.won })
	if winner < 0 {
		e.Fatalf("of %d racers for %s nobody won", racers, id)
	}
	for i, a := range answers {
		if a.won && i != winner {
			e.Fatalf("of %d racers for %s two won: %s and %s", racers, id, brief(answers[winner].r), brief(a.r))
		}
		if a.r.Nonce != claims[winner].Next.Nonce || !a.r.Alive || a.r.Version != answers[winner].r.Version {
			e.Fatalf("a racer (won: %t) was told of %s; want the winner's %s", a.won, brief(a.r), brief(answers[winner].r))
		}
	}
	r := e.get(owners[0], id)
	if r.Nonce != claims[winner].Next.Nonce || r.Fence <= seen {
		e.Fatalf("after the race there is %s; want the winner's nonce %s and a fence above %d", brief(r), claims[winner].Next.Nonce, seen)
	}
	return r
}

// refusedAbsent wants a claim to be refused, and told that nothing stands.
func (e *env) refusedAbsent(s ledger.Store, c ledger.Claim) {
	e.Helper()
	r, won, err := s.Claim(e.ctx, c)
	if err != nil || won {
		e.Fatalf("claim of nothing with seen %d: won %t, error %v; want it refused without an error", c.Seen, won, err)
	}
	e.same("a refused claim of nothing returned", r, ledger.Record{})
	e.absent(s, c.Next.ID)
}

func (e *env) noErrors(what string, errs []error) {
	e.Helper()
	for _, err := range errs {
		if err != nil {
			e.Fatalf("%s: %v", what, err)
		}
	}
}
