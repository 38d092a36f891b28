package sqlitestore

import (
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

// TestPlans looks at how SQLite reads for a summary and for each kind of listing: never through all records where few are wanted.
func TestPlans(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	plan := func(sql string, args []any) string {
		t.Helper()
		var steps []string
		err := s.readers.use(t.Context(), s, func(r *reader) error {
			stmt, err := r.c.prepare("EXPLAIN QUERY PLAN " + sql)
			if err != nil {
				return err
			}
			defer r.c.drop(stmt)
			return stmt.each(func(v []driver.Value) bool { steps = append(steps, fmt.Sprint(v[3])); return true }, args...)
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(steps, "\n")
	}
	for _, f := range []ledger.Filter{{}, {Tool: "t"}} {
		sum := &summing{f: f}
		calls, tallies, args := sum.ofAll()
		for _, sql := range []string{calls, tallies} {
			for step := range strings.SplitSeq(plan(sql, args), "\n") {
				if strings.HasPrefix(step, "SCAN records") {
					t.Errorf("the summary by %+v reads all records:\n%s", f, plan(sql, args))
				}
			}
		}
	}
	if got := plan(unsettled, nil); strings.Contains(got, "SCAN") && !strings.Contains(got, "SCAN CONSTANT") || !strings.Contains(got, "INDEX records_open") {
		t.Errorf("what is running or in doubt is not found by index:\n%s", got)
	}
	sum := &summing{f: ledger.Filter{Workflow: "w"}}
	calls, tallies, args := sum.ofWorkflow()
	for _, sql := range []string{calls, tallies} {
		if got := plan(sql, args); !strings.Contains(got, "records_by_id (workflow=?") {
			t.Errorf("the records of a workflow are not found by index:\n%s", got)
		}
	}
}

// TestTotals: what a commit counted once is counted once more by nobody, and forgotten when it goes.
func TestTotals(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
	n := 2 * freshAfter
	fill(t, s, n)
	same := func() {
		t.Helper()
		want, err := ledger.SummarizeList(t.Context(), s, ledger.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Summarize(t.Context(), ledger.Filter{})
		if err != nil || got.Stats != want.Stats {
			t.Fatalf("got %+v, %v; want %+v", got.Stats, err, want.Stats)
		}
	}
	same()
	for range freshAfter {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	same()
	i := 0
	for r, err := range s.List(t.Context(), ledger.Filter{States: []ledger.State{ledger.StateSucceeded}}) {
		if err != nil {
			t.Fatal(err)
		}
		if i++; i%3 > 0 {
			continue
		}
		if err := s.Delete(t.Context(), r.ID, r.Version); err != nil {
			t.Fatal(err)
		}
	}
	same()
}
