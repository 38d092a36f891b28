package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

// same checks that a listing by f, in either order, whole and in pages, is what one without a filter and Match make of it.
func same(t *testing.T, s *Store, f ledger.Filter) (found int) {
	t.Helper()
	ids := func(all iter.Seq2[ledger.Record, error], keep func(*ledger.Record) bool) (ids []ledger.ID) {
		for r, err := range all {
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			if keep == nil || keep(&r) {
				ids = append(ids, r.ID)
			}
		}
		return ids
	}
	for name, list := range map[string]func(context.Context, ledger.Filter) iter.Seq2[ledger.Record, error]{"List": s.List, "ListNewest": s.ListNewest} {
		want := ids(list(t.Context(), ledger.Filter{}), f.Match)
		if diff := cmp.Diff(want, ids(list(t.Context(), f), nil)); diff != "" {
			t.Errorf("%s by %+v (-want +got):\n%s", name, f, diff)
		}
		page := f
		page.Limit = len(want)/3 + 1
		var paged []ledger.ID
		for {
			got := ids(list(t.Context(), page), nil)
			if paged = append(paged, got...); len(got) < page.Limit {
				break
			}
			page.After = got[len(got)-1]
		}
		if diff := cmp.Diff(want, paged); diff != "" {
			t.Errorf("pages of %s by %+v (-want +got):\n%s", name, f, diff)
		}
		found = len(want)
	}
	return found
}

// TestFacets: whatever becomes of records that grew old, and of young ones, filters find them.
func TestFacets(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, most of it in SQLite: the plain run has it")
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	a := openTest(t, path)
	const n = 6 * freshAfter
	fill(t, a, n)
	// One whose fingerprint has a zero byte, and one that is long.
	if err := a.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(a.writer.c.run(`UPDATE records SET fingerprint = 'ab' || char(0) || 'cd' WHERE rec = 5;
		UPDATE records SET data = json_set(data, '$.args', '"' || printf('%.20000c', 'x') || '"') WHERE rec = 6`), a.writer.c.run("COMMIT"))
	a.turn.give()
	if err != nil {
		t.Fatal(err)
	}
	stores := []*Store{a, openTest(t, path)}
	rnd := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	odd := "a\x00b \"ü\u2028\x1b😀"
	claim := func(s *Store, c ledger.Claim, k int) {
		t.Helper()
		c.Next.Owner.Caller, c.Next.Key = fmt.Sprintf("caller-%d", rnd.IntN(5)), fmt.Sprintf("key-%d", k)
		if k == 11 {
			c.Next.Owner.Caller, c.Next.Key = odd, odd
		}
		c.Next.Started = began.Add(time.Duration(rnd.IntN(1000)) * time.Second)
		r, won, err := s.Claim(t.Context(), c)
		if err != nil || !won {
			t.Fatalf("claim: %v, %v", won, err)
		}
		r.State = []ledger.State{ledger.StateSucceeded, ledger.StateFailed, ledger.StateInDoubt, ledger.StateRunning}[rnd.IntN(4)]
		if r.State == ledger.StateRunning {
			return
		}
		if k == 11 {
			r.Owner.Caller = odd
		} else if rnd.IntN(4) == 0 { // the last word on it is another's
			r.Owner.Caller = "settler"
		}
		r.Finished = r.Started
		if err := s.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var first []ledger.Record
	for r, err := range a.ListNewest(t.Context(), ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, r)
	}
	for k := range 120 { // old and young ones
		r, s := first[rnd.IntN(len(first))], stores[k%2]
		switch got, err := s.Get(t.Context(), r.ID); {
		case errors.Is(err, ledger.ErrNotFound):
		case err != nil:
			t.Fatal(err)
		case k%6 == 0 && got.Status() != ledger.StateRunning:
			if err := s.Delete(t.Context(), r.ID, got.Version); err != nil {
				t.Fatal(err)
			}
		default:
			c := sampleClaim(r.ID)
			c.Seen, c.Steal = got.Version, got.Status() == ledger.StateRunning
			claim(s, c, k)
		}
	}
	for k := range freshAfter/3 + 10 { // young ones, some of which grow old by the end of it
		c := sampleClaim(randomID())
		c.Next.ID.Tool = fmt.Sprintf("tool-%d", k%3)
		claim(stores[k%2], c, k)
	}
	late := began.Add(900 * time.Second)
	for _, f := range []ledger.Filter{
		{Caller: "caller-1"}, {Caller: "settler"}, {Caller: "agent-A"}, {Caller: odd}, {Key: odd}, {Caller: "nobody"}, {Key: "key-7"}, {Key: "key-2000"}, {Key: "none"},
		{Fingerprint: first[0].ID.Fingerprint}, {Fingerprint: first[len(first)-9].ID.Fingerprint[:6]}, {Fingerprint: "7"}, {Fingerprint: "ab\x00c"}, {Fingerprint: "a", Tool: "charge_card"},
		{Tool: "tool-1"}, {Tool: "charge_card"}, {Since: began}, {Since: late}, {Until: began}, {Since: began.Add(500 * time.Second), Until: late},
		{Caller: "caller-2", Since: late}, {Caller: "caller-2", Tool: "tool-2"}, {Workflow: "order-42", Caller: "caller-3"},
		{States: []ledger.State{ledger.StateFailed}}, {States: []ledger.State{ledger.StateInDoubt}}, {States: []ledger.State{ledger.StateRunning}},
		{States: []ledger.State{ledger.StateFailed}, Caller: "caller-4"}, {States: []ledger.State{ledger.StateSucceeded}, Since: began},
		{States: []ledger.State{ledger.StateFailed, ledger.StateRunning}, Tool: "tool-0"},
	} {
		found := same(t, a, f)
		if found == 0 && f.Caller != "nobody" && f.Key != "none" {
			t.Errorf("nothing is found by %+v, which tests nothing", f)
		}
	}
	wrong := 0
	err = a.readers.use(t.Context(), a, func(r *reader) (err error) {
		wrong, err = number(r.c, `WITH old AS (`+selectFacets+` WHERE workflow IS NOT NULL AND rec < (SELECT calls FROM totals WHERE tool = ''))
			SELECT count(*) FROM (SELECT * FROM (SELECT * FROM old EXCEPT SELECT * FROM facets) UNION ALL SELECT * FROM (SELECT * FROM facets EXCEPT SELECT * FROM old))`)
		return err
	})
	if err != nil || wrong != 0 {
		t.Errorf("%d rows of facets differ from their records, %v", wrong, err)
	}
}

// TestListReadOnlyAgain: a page of a ledger that is only looked at, and that a writer opens meanwhile, is not lost.
func TestListReadOnlyAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	w, err := Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, w, 40)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []ledger.Filter{{Key: "key-7"}, {Tool: "charge_card"}} {
		s, err := OpenReadOnly(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for range s.List(t.Context(), f) {
			want++
		}
		came := false
		s.explained = func(*conn, string, []any) {
			if !came {
				came = true
				w, err = Open(t.Context(), path, nil)
			}
		}
		got := 0
		for _, lerr := range s.List(t.Context(), f) {
			if lerr != nil {
				t.Error(lerr)
			}
			got++
		}
		if !came || err != nil || got != want || want == 0 {
			t.Errorf("by %+v: a writer came: %v, %v; %d records, want %d", f, came, err, got, want)
		}
		if err := errors.Join(s.Close(), w.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestFindPlans: a filter that no index knows never looks through all records, newest first.
func TestFindPlans(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, s, 4*freshAfter)
	for _, f := range []ledger.Filter{{Key: "k"}, {Fingerprint: "abcdef"}, {Caller: "c"}, {Tool: "t"}, {Since: time.Now()}, {Until: time.Unix(1, 0)}} {
		var plans []string
		s.explained = func(c *conn, sql string, args []any) {
			stmt, err := c.prepare("EXPLAIN QUERY PLAN " + sql)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.drop(stmt)
			if err := stmt.each(func(v []driver.Value) bool { plans = append(plans, fmt.Sprint(v[3])); return true }, args...); err != nil {
				t.Error(err)
			}
		}
		for _, err := range s.ListNewest(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
		}
		s.explained = nil
		for _, step := range plans {
			if strings.HasPrefix(step, "SCAN r") || strings.HasPrefix(step, "SCAN records") {
				t.Errorf("by %+v all records are read:\n%s", f, strings.Join(plans, "\n"))
			}
		}
		if len(plans) == 0 {
			t.Errorf("no plan was seen by %+v", f)
		}
	}
}
