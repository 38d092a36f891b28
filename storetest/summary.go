package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ledger-once/ledger"
)

func summaryCases() []testCase {
	return []testCase{
		{"of nothing", func(e *env) { e.summarized(e.owner(), ledger.Filter{}) }},
		{"counts what a listing yields", func(e *env) {
			s := e.owner()
			e.summarized(s, ledger.Filter{}) // skips a store that does not sum up, before the work
			e.mixture(s)
			none := ""
			for _, workflow := range []string{none, "a", "b", "c"} {
				for _, tool := range []string{none, "x", "y", "z"} {
					f := ledger.Filter{Workflow: workflow, Tool: tool}
					e.summarized(s, f)
					for _, state := range append([]ledger.State{ledger.StateRunning, ledger.StateNone}, finished...) {
						f.States = []ledger.State{state}
						e.summarized(s, f)
					}
				}
			}
			e.summarized(s, ledger.Filter{States: []ledger.State{ledger.StateInDoubt, ledger.StateFailed}})
			e.summarized(s, ledger.Filter{States: []ledger.State{ledger.StateSucceeded, ledger.StateRunning}, Tool: "x"})
			e.summarized(s, ledger.Filter{Caller: "storetest"})
			e.summarized(s, ledger.Filter{Caller: "nobody"})
			e.summarized(s, ledger.Filter{Key: "k"})
			e.summarized(s, ledger.Filter{Since: time.Now().Add(-time.Hour)})
			e.summarized(s, ledger.Filter{Until: time.Now().Add(-time.Hour)})
			e.summarized(s, ledger.Filter{Workflow: "a", Limit: 2})
			e.summarized(s, ledger.Filter{After: ledger.ID{Workflow: "a", Tool: "x"}})
		}},
		{"follows each write", func(e *env) {
			s := e.owner()
			same := func() { e.Helper(); e.summarized(s, ledger.Filter{}); e.summarized(s, ledger.Filter{Tool: "t"}) }
			r := e.claimNew(s, id("a"))
			same()
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 2, Blocked: 2})
			same()
			r.Starts = 5
			r = e.finish(s, ended(r, ledger.StateFailed))
			same()
			again := claimOf(r.ID, r.Version)
			again.Next.Starts = 6
			r = e.claim(s, again)
			same()
			r.Executed = 4
			r = e.finish(s, ended(r, ledger.StateSucceeded))
			same()
			again = claimOf(r.ID, r.Version)
			r = e.claim(s, again)
			r.Starts, r.Executed = 1, 1
			r = e.finish(s, ended(r, ledger.StateSucceeded))
			same()
			e.tally(s, ledger.Tally{ID: r.ID, Attempts: 1, Blocked: 1}, ledger.Tally{ID: counter, Attempts: 3, Executed: 3})
			same()
			e.remove(s, r)
			same()
			e.remove(s, e.get(s, counter))
			same()
		}},
		{"of 1,000, while they come and when they went", func(e *env) {
			s := e.owner()
			e.summarized(s, ledger.Filter{}) // skips a store that does not sum up, before the work
			ids := e.fill(s, many)
			e.summarized(s, ledger.Filter{})
			for _, id := range ids[:many/2] {
				e.remove(s, e.get(s, id))
			}
			e.summarized(s, ledger.Filter{})
			e.summarized(e.owner(), ledger.Filter{Tool: "t1"})
		}},
	}
}

// mixture stores records of all kinds, in two workflows of two tools.
func (e *env) mixture(s ledger.Store) {
	e.Helper()
	for i, workflow := range []string{"a", "b"} {
		for j, tool := range []string{"x", "y"} {
			name := func(n int) ledger.ID { return idIn(workflow, tool, fmt.Sprint(n)) }
			for n, state := range finished {
				e.finish(s, ended(e.claimNew(s, name(n)), state))
			}
			keyed := claimOf(name(9), 0)
			keyed.Next.Key, keyed.Next.InDoubt = "k", ledger.DoubtBlock
			e.finish(s, ended(e.claim(s, keyed), ledger.StateInDoubt))
			retried := e.claimNew(s, name(10))
			retried.Starts, retried.Executed = int64(2+i), int64(j)
			e.finish(s, ended(retried, ledger.StateSucceeded))
			e.dead(s, name(11))
			early := claimOf(name(12), 0)
			early.Next.Started = time.Now().Add(-time.Duration(2+i) * time.Hour)
			e.claim(s, early)
			e.tally(s, ledger.Tally{ID: name(10), Attempts: 3, Blocked: 3}, ledger.Tally{ID: name(11), Attempts: 1, Blocked: 1},
				ledger.Tally{ID: ledger.ID{Workflow: workflow, Tool: tool}, Attempts: 7, Executed: 6})
		}
	}
}

// summarized wants the summary by f to be that of the listing by f.
func (e *env) summarized(s ledger.Store, f ledger.Filter) {
	e.Helper()
	sum, ok := s.(ledger.Summarizer)
	if !ok {
		e.Skip("the store is no ledger.Summarizer")
	}
	if diff := e.summed(sum, f); diff != "" {
		e.Fatal(diff)
	}
}

// summed compares the summary by f with the listing by f. Nothing may be written meanwhile.
func (e *env) summed(s ledger.Summarizer, f ledger.Filter) string {
	e.Helper()
	want, err := ledger.SummarizeList(e.ctx, s.(ledger.Store), f)
	if err != nil {
		return fmt.Sprintf("list %+v: %v", f, err)
	}
	got, err := s.Summarize(e.ctx, f)
	if err != nil {
		return fmt.Sprintf("summarize %+v: %v", f, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Sprintf("summarize %+v counts otherwise than the listing (-want +got):\n%s", f, diff)
	}
	return ""
}

func newestCases() []testCase {
	return []testCase{
		{"newest first", func(e *env) {
			s := e.owner()
			var all []ledger.Record
			for i := range 40 {
				r := e.claimNew(s, idIn("w", []string{"a", "b"}[i%2], fmt.Sprint(i)))
				if i%3 > 0 {
					r = e.finish(s, ended(r, finished[i%len(finished)]))
				}
				all = append(all, r)
			}
			first := claimOf(all[0].ID, all[0].Version)
			first.Steal = true
			all[0] = e.claim(s, first) // which moves it nowhere
			e.newest(s, all, ledger.Filter{})
			for _, f := range []ledger.Filter{{Tool: "a"}, {Workflow: "w", Tool: "b"}, {Workflow: "v"}, {Limit: 7}, {Limit: 7, Tool: "b"}, {Caller: "storetest", Limit: 1},
				{Since: all[30].Started}, {States: []ledger.State{ledger.StateFailed}}, {States: []ledger.State{ledger.StateRunning, ledger.StateSucceeded}, Limit: 3}} {
				e.newest(s, all, f)
				f.After = all[21].ID
				e.newest(s, all, f)
			}
			e.remove(s, e.finish(s, ended(all[3], ledger.StateFailed)))
			e.newest(s, slices.Delete(slices.Clone(all), 3, 4), ledger.Filter{})
			for _, err := range s.(ledger.NewestLister).ListNewest(e.ctx, ledger.Filter{After: all[3].ID}) {
				if !errors.Is(err, ledger.ErrNotFound) {
					e.Errorf("after a record that was removed, the list yields the error %v; want ErrNotFound", err)
				}
			}
		}},
		{"newest first, 1,000 in pages", func(e *env) {
			s := e.owner()
			if _, ok := s.(ledger.NewestLister); !ok {
				e.Skip("the store is no ledger.NewestLister")
			}
			ids := e.fill(s, many)
			e.tally(s, ledger.Tally{ID: counter, Attempts: 1})
			ids = append(ids, counter)
			for _, limit := range []int{0, 83} {
				var got []ledger.ID
				for f := (ledger.Filter{Limit: limit}); ; f.After = got[len(got)-1] {
					before := len(got)
					for r, err := range s.(ledger.NewestLister).ListNewest(e.ctx, f) {
						if err != nil {
							e.Fatalf("list: %v", err)
						}
						got = append(got, r.ID)
					}
					if limit == 0 || len(got)-before < limit {
						break
					}
				}
				slices.SortFunc(got, ledger.ID.Compare)
				slices.SortFunc(ids, ledger.ID.Compare)
				if !slices.Equal(got, ids) {
					e.Errorf("in pages of %d there are %d records, not the %d that are stored%s", limit, len(got), len(ids), firstDifference(got, ids))
				}
			}
		}},
	}
}

// newest wants the listing by f to be what f selects of all, which came in this order, backwards.
func (e *env) newest(s ledger.Store, all []ledger.Record, f ledger.Filter) {
	e.Helper()
	lister, ok := s.(ledger.NewestLister)
	if !ok {
		e.Skip("the store is no ledger.NewestLister")
	}
	rest := f
	rest.After = ledger.ID{}
	var want, got []ledger.ID
	skip := f.After != (ledger.ID{})
	for _, r := range slices.Backward(all) {
		if !skip && rest.Match(&r) && (f.Limit == 0 || len(want) < f.Limit) {
			want = append(want, r.ID)
		}
		skip = skip && r.ID != f.After
	}
	for r, err := range lister.ListNewest(e.ctx, f) {
		if err != nil {
			e.Fatalf("list %+v, newest first: %v", f, err)
		}
		e.same("the list yields", r, e.get(s, r.ID))
		got = append(got, r.ID)
	}
	if !slices.Equal(got, want) {
		e.Fatalf("the list by %+v, newest first, yields %d records; want other ones, or another order: %d%s", f, len(got), len(want), firstDifference(got, want))
	}
}
