package storetest

import (
	"errors"
	"fmt"

	"github.com/ledger-once/ledger"
)

func finishCases() []testCase {
	return []testCase{
		{"in each state", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				r := e.claimNew(s, id(string(state)))
				done := e.finish(s, ended(r, state))
				if done.Version <= r.Version || done.Fence != r.Fence {
					e.Errorf("%s: finished with version %d and fence %d; want a version above %d and the claim's fence %d", state, done.Version, done.Fence, r.Version, r.Fence)
				}
				e.stands(other, done)
			}
		}},
		{"as running is invalid", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			e.want("finish as running", s.Finish(e.ctx, r), ledger.ErrInvalid)
			e.stands(s, r)
		}},
		{"writes the owner as given", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			done.Owner = ledger.Owner{Session: "before", Host: "far away", PID: 4711, Caller: "agent-B"}
			e.finish(s, done)
		}},
		{"of nothing is fenced", func(e *env) {
			s := e.owner()
			r := claimOf(id("a"), 0).Next
			e.fenced(s, ended(r, ledger.StateSucceeded))
			r.Fence, r.Version = 1, 1
			e.fenced(s, ended(r, ledger.StateSucceeded))
		}},
		{"with a wrong fence is fenced", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			for _, fence := range []ledger.Version{0, r.Fence - 1, r.Fence + 1} {
				for _, state := range append(finished, ledger.StateNone) {
					done := ended(r, state)
					done.Fence = fence
					e.fenced(s, done)
				}
			}
		}},
		{"with a wrong nonce is fenced", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			for _, nonce := range []string{"", "another", r.Nonce + " "} {
				for _, state := range append(finished, ledger.StateNone) {
					done := ended(r, state)
					done.Nonce = nonce
					e.fenced(s, done)
				}
			}
		}},
		{"does not look at the version", func(e *env) {
			// Only fence and nonce name the claim.
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			done.Version = 0
			e.finish(s, done)
		}},
		{"twice is one", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				done := ended(e.claimNew(s, id(string(state))), state)
				stands := e.finish(s, done)
				for _, again := range []ledger.Store{s, other} {
					if err := again.Finish(e.ctx, done); err != nil {
						e.Fatalf("the same finish again: %v", err)
					}
					e.stands(s, stands)
				}
			}
		}},
		{"with tallies in between is still the same", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			e.finish(s, done)
			e.tally(s, ledger.Tally{ID: done.ID, Attempts: 2, Blocked: 2})
			if err := s.Finish(e.ctx, done); err != nil {
				e.Fatalf("the same finish again: %v", err)
			}
		}},
		{"twice with other content is fenced", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			e.finish(s, done)
			other := done
			other.Result = []byte(`{"ok":false}`)
			e.fenced(s, other)
			other = done
			other.Result = nil
			e.fenced(s, other)
			e.fenced(s, ended(done, ledger.StateFailed))
			e.fenced(s, ended(done, ledger.StateInDoubt))
			e.fenced(s, ended(done, ledger.StateNone))
		}},
		{"after a delete is fenced", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			e.remove(s, e.finish(s, done))
			e.fenced(s, done)
		}},
		{"after a delete and a claim is fenced", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateSucceeded)
			e.remove(s, e.finish(s, done))
			e.claimNew(s, done.ID)
			e.fenced(s, done)
			e.fenced(s, ended(done, ledger.StateNone))
		}},
		{"after the next claim is fenced", func(e *env) {
			s := e.owner()
			done := ended(e.claimNew(s, id("a")), ledger.StateFailed)
			r := e.claim(s, claimOf(done.ID, e.finish(s, done).Version))
			e.fenced(s, done)
			e.finish(s, ended(r, ledger.StateSucceeded))
			e.fenced(s, done)
		}},
		{"after a takeover is fenced", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			r := e.claim(s, claimOf(dead.ID, dead.Version))
			for _, state := range append(finished, ledger.StateNone) {
				e.fenced(s, ended(dead, state))
			}
			done := e.finish(s, ended(r, ledger.StateSucceeded))
			e.fenced(s, ended(dead, ledger.StateFailed))
			e.stands(s, done)
		}},
		{"of a dead owner is welcome while its fence stands", func(e *env) {
			s := e.owner()
			for _, state := range finished {
				e.finish(s, ended(e.dead(s, id(string(state))), state))
			}
			e.finish(s, ended(e.dead(s, id("none")), ledger.StateNone))
		}},
		{"may come through another owner", func(e *env) {
			a, b := e.owner(), e.owner()
			e.finish(b, ended(e.claimNew(a, id("a")), ledger.StateSucceeded))
		}},
		{"of 32 different ones one counts", func(e *env) {
			owners := []ledger.Store{e.owner(), e.owner()}
			for round := range rounds {
				r := e.claimNew(owners[0], id(fmt.Sprint(round)))
				errs := make([]error, racers)
				together(racers, func(i int) {
					done := ended(r, ledger.StateSucceeded)
					done.Result = fmt.Append(nil, i)
					errs[i] = owners[i%2].Finish(e.ctx, done)
				})
				winner := -1
				for i, err := range errs {
					if err == nil && winner >= 0 {
						e.Fatalf("the finishes %d and %d of one claim both count", winner, i)
					} else if err == nil {
						winner = i
					} else if !errors.Is(err, ledger.ErrFenced) {
						e.Fatalf("finish: %v", err)
					}
				}
				if got := string(e.get(owners[0], r.ID).Result); got != fmt.Sprint(winner) {
					e.Fatalf("the stored result is that of finish %s; %d was told that it counts", got, winner)
				}
			}
		}},
	}
}

// giveBackCases are about finishes that undo a claim.
func giveBackCases() []testCase {
	return []testCase{
		{"that removes leaves nothing", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 5, Blocked: 5})
			e.finish(s, ended(r, ledger.StateNone))
			again := e.claimNew(s, r.ID)
			if again.Fence <= r.Fence {
				e.Errorf("the claim after a removal has fence %d; want one above %d", again.Fence, r.Fence)
			}
			if again.Attempts != again.Starts || again.Blocked != 0 {
				e.Errorf("the new record has %d attempts and %d blocked; the removed one's tallies are still there", again.Attempts, again.Blocked)
			}
		}},
		{"that removes, sent again", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			e.finish(s, ended(r, ledger.StateNone))
			e.finish(s, ended(r, ledger.StateNone))
			e.claimNew(s, r.ID)
			e.fenced(s, ended(r, ledger.StateNone))
		}},
		{"that gives back restores what was seen", func(e *env) {
			s, other := e.owner(), e.owner()
			for _, state := range finished {
				first := ended(e.claimNew(s, id(string(state))), state)
				first.Key, first.Log = "key", []ledger.Attempt{{Fence: first.Fence, Owner: first.Owner, Outcome: ledger.OutcomeLost}}
				seen := e.finish(s, first)
				r := e.claim(other, claimOf(seen.ID, seen.Version))
				back := seen
				back.Fence, back.Nonce = r.Fence, r.Nonce
				restored := e.finish(other, back)
				if restored.Version <= r.Version {
					e.Fatalf("given back with version %d; want one above %d", restored.Version, r.Version)
				}
				e.refused(s, claimOf(seen.ID, seen.Version), restored)
				e.claim(s, claimOf(seen.ID, restored.Version))
			}
		}},
		{"that gives back a takeover leaves it in doubt", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			r := e.claim(s, claimOf(dead.ID, dead.Version))
			back := dead
			back.State, back.Fence, back.Nonce = ledger.StateInDoubt, r.Fence, r.Nonce
			restored := e.finish(s, back)
			e.fenced(s, ended(dead, ledger.StateSucceeded))
			if restored.Token != dead.Token || restored.Owner != dead.Owner {
				e.Errorf("given back with token %s and owner %+v; want %s and %+v", restored.Token, restored.Owner, dead.Token, dead.Owner)
			}
		}},
		{"keeps the tallies", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 3, Blocked: 2})
			done := e.finish(s, ended(r, ledger.StateFailed))
			r = e.claim(s, claimOf(r.ID, done.Version))
			for _, got := range []ledger.Record{done, r} {
				if got.Attempts != got.Starts+3 || got.Blocked != 2 {
					e.Errorf("%s has %d attempts and %d blocked; want %d and 2", brief(got), got.Attempts, got.Blocked, got.Starts+3)
				}
			}
		}},
	}
}
