package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledger-once/ledger"
)

// So many records make a listing of several pages.
const many = 1000

func listCases() []testCase {
	return []testCase{
		{"of nothing", func(e *env) { e.listed(e.owner(), ledger.Filter{}, nil) }},
		{"yields what Get returns", func(e *env) {
			s := e.owner()
			e.claimNew(s, id("running"))
			e.succeeded(s, id("succeeded"))
			e.dead(s, id("dead"))
			e.tally(s, ledger.Tally{ID: id("running"), Attempts: 3, Blocked: 2}, ledger.Tally{ID: ledger.ID{Workflow: "w", Tool: "t"}, Attempts: 3, Executed: 2, Blocked: 1})
			all := e.list(s, ledger.Filter{})
			if len(all) != 4 {
				e.Fatalf("%d records are listed, want 4", len(all))
			}
			for _, r := range all {
				e.same("the list yields", r, e.get(s, r.ID))
			}
		}},
		{"is ordered by ID", func(e *env) {
			s := e.owner()
			var ids []ledger.ID
			for _, w := range []string{"c", "a", "b"} {
				for _, tool := range []string{"y", "x"} {
					for i := range 3 {
						ids = append(ids, e.succeeded(s, idIn(w, tool, fmt.Sprint(i))).ID)
					}
					e.tally(s, ledger.Tally{ID: ledger.ID{Workflow: w, Tool: tool}, Attempts: 1})
					ids = append(ids, ledger.ID{Workflow: w, Tool: tool})
				}
			}
			slices.SortFunc(ids, e.opts.Order)
			e.listed(s, ledger.Filter{}, ids)
		}},
		{"by workflow, tool, caller and key", func(e *env) {
			s := e.owner()
			var all []ledger.Record
			for i := range 16 {
				pick := func(bit int) string { return []string{"a", "b"}[i>>bit&1] }
				c := claimOf(idIn(pick(0), pick(1), fmt.Sprint(i)), 0)
				c.Next.Owner.Caller, c.Next.Key = pick(2), pick(3)
				all = append(all, e.claim(s, c))
			}
			for i := range 81 {
				pick := func(digit int) string { return []string{"", "a", "b"}[i/digit%3] }
				e.filtered(s, all, ledger.Filter{Workflow: pick(1), Tool: pick(3), Caller: pick(9), Key: pick(27)})
			}
			e.listed(s, ledger.Filter{Workflow: "c"}, nil)
			for _, digits := range []int{1, 4, 31, 32} {
				whole := all[digits%len(all)].ID
				e.filtered(s, all, ledger.Filter{Fingerprint: whole.Fingerprint[:digits]})
				e.filtered(s, all, ledger.Filter{Fingerprint: whole.Fingerprint[:digits], Workflow: whole.Workflow, Tool: whole.Tool})
			}
			e.filtered(s, all, ledger.Filter{Fingerprint: "f~"})
		}},
		{"by time", func(e *env) {
			s := e.owner()
			at := time.Date(2026, 1, 2, 3, 4, 5, 600000, time.UTC)
			var all []ledger.Record
			for i := range 5 {
				c := claimOf(id(fmt.Sprint(i)), 0)
				c.Next.Started = at.Add(time.Duration(i) * time.Microsecond)
				c.Next.Created = at.Add(-time.Hour)
				all = append(all, e.claim(s, c))
			}
			for i := range 6 {
				for j := range 6 {
					since, until := at.Add(time.Duration(i)*time.Microsecond), at.Add(time.Duration(j)*time.Microsecond)
					e.filtered(s, all, ledger.Filter{Since: since})
					e.filtered(s, all, ledger.Filter{Until: until})
					e.filtered(s, all, ledger.Filter{Since: since.In(time.FixedZone("", 3600)), Until: until})
				}
			}
		}},
		{"by state, as it is shown", func(e *env) {
			s := e.owner()
			running, dead := e.claimNew(s, id("running")), e.dead(s, id("dead"))
			all := []ledger.Record{running, dead}
			for _, state := range finished {
				all = append(all, e.finish(s, ended(e.claimNew(s, id(string(state))), state)))
			}
			counter := ledger.ID{Workflow: "w", Tool: "t"}
			e.tally(s, ledger.Tally{ID: counter, Attempts: 1})
			all = append(all, e.get(s, counter))
			states := append(finished, ledger.StateRunning, ledger.StateNone)
			for _, a := range states {
				for _, b := range states {
					e.filtered(s, all, ledger.Filter{States: []ledger.State{a, b}})
				}
			}
			inDoubt := e.list(s, ledger.Filter{States: []ledger.State{ledger.StateInDoubt}})
			if len(inDoubt) != 2 {
				e.Errorf("%d records are listed as in doubt; want the dead one and the finished one", len(inDoubt))
			}
		}},
		{"does not write what it shows", func(e *env) {
			s := e.owner()
			dead := e.dead(s, id("a"))
			for range 3 {
				e.listed(s, ledger.Filter{States: []ledger.State{ledger.StateInDoubt}}, []ledger.ID{dead.ID})
				e.stands(s, dead)
			}
			e.finish(s, ended(dead, ledger.StateSucceeded)) // its fence still stands
		}},
		{"of a limit", func(e *env) {
			s := e.owner()
			var all []ledger.Record
			for i := range 10 {
				all = append(all, e.succeeded(s, id(fmt.Sprint(i))))
			}
			for limit := range 12 {
				e.filtered(s, all, ledger.Filter{Limit: limit})
			}
		}},
		{"a limit counts what matches", func(e *env) {
			s := e.owner()
			var all []ledger.Record
			for i := range 20 {
				state := finished[i%2]
				all = append(all, e.finish(s, ended(e.claimNew(s, id(fmt.Sprint(i))), state)))
			}
			e.filtered(s, all, ledger.Filter{Limit: 5, States: []ledger.State{ledger.StateFailed}})
		}},
		{"after an ID", func(e *env) {
			s := e.owner()
			var all []ledger.Record
			for _, w := range []string{"a", "b"} {
				for i := range 3 {
					all = append(all, e.succeeded(s, idIn(w, "t", fmt.Sprint(i))))
				}
			}
			for _, r := range all {
				e.filtered(s, all, ledger.Filter{After: r.ID})
				e.filtered(s, all, ledger.Filter{After: r.ID, Workflow: "b", Limit: 2})
			}
			e.filtered(s, all, ledger.Filter{After: ledger.ID{Workflow: "a", Tool: "u"}}) // not stored
			e.remove(s, all[3])
			e.filtered(s, slices.Delete(slices.Clone(all), 3, 4), ledger.Filter{After: all[3].ID}) // deleted since
		}},
		{"of 1,000, whole and in pages", func(e *env) {
			s := e.owner()
			ids := e.fill(s, many)
			e.listed(s, ledger.Filter{}, ids)
			var paged []ledger.ID
			for f := (ledger.Filter{Workflow: "many", Limit: 83}); ; f.After = paged[len(paged)-1] {
				page := e.list(s, f)
				for _, r := range page {
					paged = append(paged, r.ID)
				}
				if len(page) < f.Limit {
					break
				}
			}
			if !slices.Equal(paged, ids) {
				e.Errorf("in pages of 83 there are %d records, not those of one listing of %d", len(paged), len(ids))
			}
			e.interrupt(s, ids)
		}},
	}
}

// interrupt breaks listings of ids off in each way, and wants the store to go on.
func (e *env) interrupt(s ledger.Store, ids []ledger.ID) {
	e.Helper()
	for n := range 5 {
		seen := 0
		for range s.List(e.ctx, ledger.Filter{}) {
			if seen++; seen > 100*n {
				break
			}
		}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var got []ledger.ID
	var failed error
	for r, err := range s.List(ctx, ledger.Filter{}) {
		if failed != nil {
			e.Fatalf("the list yields %s, %v after its error %v", brief(r), err, failed)
		}
		if failed = err; err == nil {
			got = append(got, r.ID)
		}
		cancel()
	}
	if failed == nil && !slices.Equal(got, ids) {
		e.Fatalf("cancelled after its first record, the list yielded %d of %d records and no error", len(got), len(ids))
	}
	if failed != nil && !errors.Is(failed, context.Canceled) {
		e.Fatalf("cancelled after its first record, the list ended with %v", failed)
	}
	e.listed(s, ledger.Filter{Limit: 3}, ids[:3])
}

const fillTakeovers = 3

// fill stores n succeeded records in the workflow many and returns their IDs as they are listed.
func (e *env) fill(s ledger.Store, n int) []ledger.ID {
	e.Helper()
	ids, errs := make([]ledger.ID, n), make([]error, n)
	together(racers, func(worker int) {
		for i := worker; i < n; i += racers {
			ids[i] = idIn("many", fmt.Sprint("t", i%3), fmt.Sprint(i))
			r, won, err := s.Claim(e.ctx, claimOf(ids[i], 0))
			// A store that was starved past its own lease between a claim and its answer is refused rightly,
			// for the claim that it left behind: its owner is dead, and the next claim takes it over.
			for range fillTakeovers {
				if err == nil && !won && r.State == ledger.StateRunning && !r.Alive {
					r, won, err = s.Claim(e.ctx, claimOf(ids[i], r.Version))
				}
			}
			if err == nil && !won {
				err = fmt.Errorf("refused for %s", brief(r))
			}
			if err == nil {
				err = s.Finish(e.ctx, ended(r, ledger.StateSucceeded))
			}
			errs[i] = err
		}
	})
	e.noErrors("claim and finish", errs)
	slices.SortFunc(ids, e.opts.Order)
	return ids
}

// filtered wants the listing by f to be what f selects of all.
func (e *env) filtered(s ledger.Store, all []ledger.Record, f ledger.Filter) {
	e.Helper()
	var want []ledger.ID
	rest := f
	rest.After = ledger.ID{} // by the store's order, below
	for _, r := range all {
		if rest.Match(&r) && (f.After == (ledger.ID{}) || e.opts.Order(r.ID, f.After) > 0) {
			want = append(want, r.ID)
		}
	}
	slices.SortFunc(want, e.opts.Order)
	if f.Limit > 0 && len(want) > f.Limit {
		want = want[:f.Limit]
	}
	e.listed(s, f, want)
}

// listed wants the listing by f to yield just these.
func (e *env) listed(s ledger.Store, f ledger.Filter, want []ledger.ID) {
	e.Helper()
	var got []ledger.ID
	for _, r := range e.list(s, f) {
		got = append(got, r.ID)
	}
	if !slices.Equal(got, want) {
		e.Fatalf("the list by %+v yields %d records; want other ones, or another order: %d%s", f, len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want []ledger.ID) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("; %q is missing", want[i])
		case i >= len(want):
			return fmt.Sprintf("; %q is too much", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("; number %d is %q, want %q", i, got[i], want[i])
		}
	}
	return ""
}
