package storetest

import (
	"fmt"
	"os"

	"github.com/ledger-once/ledger"
)

const processes = 8

// processCases put several OS processes on one store; a process that is killed
// can not clean up after itself.
func processCases() []testCase {
	return []testCase{
		{"of 8 one wins each claim", func(e *env) {
			var workers []*process
			for range processes {
				workers = append(workers, e.process())
			}
			for round := range 4 {
				var ids []ledger.ID
				for i := range 25 {
					ids = append(ids, id(fmt.Sprint(round, i)))
				}
				e.raceProcesses(workers, ids, make([]ledger.Version, len(ids)))
			}
		}},
		{"of 8 one wins each takeover", func(e *env) {
			dying := e.process()
			s := e.owner()
			var claims []ledger.Claim
			var ids []ledger.ID
			for i := range 40 {
				claims = append(claims, claimOf(id(fmt.Sprint(i)), 0))
				ids = append(ids, claims[i].Next.ID)
			}
			if r := dying.call(request{Race: claims}); r.Err != "" {
				e.Fatal(r.Err)
			}
			dying.kill()
			seen := make([]ledger.Version, len(ids))
			for i := range ids {
				seen[i] = e.get(s, ids[i]).Version
			}
			e.died(s, e.get(s, ids[0]))
			var workers []*process
			for range processes {
				workers = append(workers, e.process())
			}
			e.raceProcesses(workers, ids, seen)
		}},
		{"a living one is not taken over", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			if !r.Alive || r.Owner.PID == os.Getpid() {
				e.Fatalf("the worker's claim reads %s with owner %+v; want it alive, and another process than %d", brief(r), r.Owner, os.Getpid())
			}
			e.refused(s, claimOf(r.ID, r.Version), r)
			e.want("delete of a living process's record", s.Delete(e.ctx, r.ID, r.Version), ledger.ErrRunning)
			e.noErrors("finish", []error{p.finish(ended(r, ledger.StateSucceeded))})
			if got := e.get(s, r.ID); got.State != ledger.StateSucceeded {
				e.Errorf("the worker has finished; there is %s", brief(got))
			}
		}},
		{"a killed one is taken over", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.kill()
			e.died(s, r)
			next := e.claim(s, claimOf(r.ID, r.Version))
			if next.Fence <= r.Fence {
				e.Errorf("the takeover has fence %d; want one above %d", next.Fence, r.Fence)
			}
			e.fenced(s, ended(r, ledger.StateSucceeded))
			e.finish(s, ended(next, ledger.StateSucceeded))
		}},
		{"a killed one's late finish is welcome", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.kill()
			e.died(s, r)
			e.finish(s, ended(r, ledger.StateSucceeded))
		}},
		{"a killed one leaves what it was told", func(e *env) {
			s := e.owner()
			for round, after := range []int{1, 3, 10, 30} {
				p := e.process()
				var claims []ledger.Claim
				for i := range 2000 {
					claims = append(claims, claimOf(id(fmt.Sprint(round, i)), 0))
				}
				p.send(request{Stream: claims})
				var told []ledger.Record
				for range after {
					r := p.next()
					e.noErrors("claim and finish", []error{r.error()})
					told = append(told, r.Record)
				}
				p.kill()
				for r := range p.replies { // those on the way
					if r.Err == "" && r.Record.Fence > 0 {
						told = append(told, r.Record)
					}
				}
				for _, done := range told {
					got := e.get(s, done.ID)
					done.Version, done.Attempts, done.Blocked, done.Alive = got.Version, got.Attempts, got.Blocked, false
					e.same("of what the killed process was told, there is", got, done)
				}
				e.succeeded(s, id(fmt.Sprint("after ", round))) // and it blocks nobody
			}
		}},
		{"one that leaves is dead at once", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.exit()
			r.Alive = false
			e.stands(s, r)
			e.claim(s, claimOf(r.ID, r.Version))
		}},
		{"one that was robbed is fenced", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			stolen := e.claim(s, stealOf(r.ID, r.Version))
			e.want("finish of the process that was robbed", p.finish(ended(r, ledger.StateSucceeded)), ledger.ErrFenced)
			e.stands(s, stolen)
		}},
		{"fences grow across them", func(e *env) {
			s := e.owner()
			a, b := e.process(), e.process()
			var high, seen ledger.Version
			for round := range 10 {
				r := []*process{a, b}[round%2].claim(claimOf(id("a"), seen))
				if r.Fence <= high {
					e.Fatalf("round %d has fence %d; want one above %d", round, r.Fence, high)
				}
				state := append(finished, ledger.StateNone)[round%4]
				done := e.finish(s, ended(r, state))
				high, seen = max(r.Fence, done.Version), done.Version
			}
		}},
		{"tallies of all are exact", func(e *env) {
			s := e.owner()
			r := e.claimNew(s, id("a"))
			var workers []*process
			for range 4 {
				workers = append(workers, e.process())
			}
			const times = 25
			for _, p := range workers {
				p.send(request{Tally: &tallies{[]ledger.Tally{{ID: r.ID, Blocked: 1}, {ID: counter, Attempts: 2}}, times}})
			}
			for _, p := range workers {
				if r := p.next(); r.Err != "" {
					e.Fatal(r.Err)
				}
			}
			workers[0].kill() // what it was told stays
			a, b := e.get(s, r.ID), e.get(s, counter)
			if want := int64(len(workers) * times); a.Blocked != want || b.Attempts != 2*want {
				e.Errorf("of %d counts of 1 and of 2 there are %d and %d", want, a.Blocked, b.Attempts)
			}
		}},
		{"await sees a finish and a death", func(e *env) {
			s := e.owner()
			e.watcher(s)
			p := e.process()
			r := p.claim(claimOf(id("finish"), 0))
			awaited := e.awaiting(r, s)
			e.noErrors("finish", []error{p.finish(ended(r, ledger.StateSucceeded))})
			awaited()
			awaited = e.awaiting(p.claim(claimOf(id("death"), 0)), s, e.owner())
			p.kill()
			awaited()
		}},
		{"watch sees what another does", func(e *env) {
			s := e.owner()
			w := e.watch(s, ledger.WatchOptions{})
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			w.put(r)
			e.noErrors("finish", []error{p.finish(ended(r, ledger.StateSucceeded))})
			done := e.get(s, r.ID)
			w.put(done)
			n := e.watch(s, ledger.WatchOptions{Notices: true})
			n.notice("the claim of a stored record", p.claim(claimOf(r.ID, done.Version)))
		}},
		{"a killed one's session is not alive", func(e *env) {
			s := e.owner()
			l := e.lister(s)
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			if got := e.session(l, r.Owner.Session); !got.Alive || got.PID != r.Owner.PID {
				e.Errorf("the session of a living process is listed as %+v", got)
			}
			p.kill()
			e.eventually("a killed process's session is listed as alive", func() bool { return !e.session(l, r.Owner.Session).Alive })
		}},
	}
}

// died waits until the killed owner of r counts as dead, and wants the record to be untouched.
func (e *env) died(s ledger.Store, r ledger.Record) {
	e.Helper()
	e.eventually("a killed process still counts as alive", func() bool { return !e.get(s, r.ID).Alive })
	r.Alive = false
	e.stands(s, r)
}

// raceProcesses lets all workers claim ids in the same order, and wants one winner for each.
func (e *env) raceProcesses(workers []*process, ids []ledger.ID, seen []ledger.Version) {
	e.Helper()
	nonces := make([][]string, len(workers))
	for i, p := range workers {
		var claims []ledger.Claim
		for j := range ids {
			claims = append(claims, claimOf(ids[j], seen[j]))
			nonces[i] = append(nonces[i], claims[j].Next.Nonce)
		}
		p.send(request{Race: claims})
	}
	winners := make([]string, len(ids))
	for i, p := range workers {
		r := p.next()
		e.noErrors("claim", []error{r.error()})
		for j, won := range r.Wins {
			if won && winners[j] != "" {
				e.Fatalf("two processes won the claim of %s", ids[j])
			}
			if won {
				winners[j] = nonces[i][j]
			}
		}
	}
	s := e.owner()
	for j := range ids {
		if got := e.get(s, ids[j]); winners[j] == "" || got.Nonce != winners[j] || got.Fence <= seen[j] {
			e.Fatalf("the winner of %d processes has nonce %q, and there is %s; want that nonce and a fence above %d", len(workers), winners[j], brief(got), seen[j])
		}
	}
}
