package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/ledger-once/ledger"
)

// Summarize implements [ledger.Summarizer], as of one moment. By tool, or of all, it takes about as long as what is running or in
// doubt takes to read, however many records there are. By workflow it looks through an index. By other
// filters it reads the records that they select.
func (s *Store) Summarize(ctx context.Context, f ledger.Filter) (ledger.Summary, error) {
	if len(f.States) > 0 || f.Caller != "" || f.Key != "" || f.Fingerprint != "" || !f.Since.IsZero() || !f.Until.IsZero() || f.Limit > 0 || f.After != (ledger.ID{}) {
		return ledger.SummarizeList(ctx, s, f)
	}
	var sum *summing
	census := s.census()
	err := s.long(ctx, func(ctx context.Context, r *reader) error {
		sum = &summing{c: r.c, f: f, census: &census, tools: map[string]*ledger.ToolSummary{}}
		return sum.read(ctx)
	})
	if err != nil {
		return ledger.Summary{}, fmt.Errorf("sqlitestore: summarize: %w", err)
	}
	if sum.small {
		return ledger.SummarizeList(ctx, s, f)
	}
	for _, t := range sum.tools {
		if *t != (ledger.ToolSummary{Tool: t.Tool}) {
			sum.all.AddTool(*t)
		}
	}
	out := sum.all.Summary()
	out.Oldest = sum.oldest
	return out, nil
}

// A summing is a Summarize at work.
type summing struct {
	c      *conn
	f      ledger.Filter
	census *census
	tools  map[string]*ledger.ToolSummary
	all    ledger.Summing
	oldest *ledger.Record
	small  bool // the workflow has few records: listing them is as good
}

// read first takes each call for one that started once and succeeded at once, and then mends that by what is known of those that did not.
func (s *summing) read(ctx context.Context) error {
	calls, tallies, args := s.ofAll()
	if s.f.Workflow != "" {
		n := 0
		err := s.each(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY records_by_id WHERE workflow = ? LIMIT %d)`, fewOpen), []any{s.f.Workflow},
			func(v []driver.Value) error { n = int(v[0].(int64)); return nil })
		if s.small = n < fewOpen; err != nil || s.small {
			return err
		}
		calls, tallies, args = s.ofWorkflow()
	}
	err := s.each(ctx, calls, args, func(v []driver.Value) error {
		t, n := s.tool(v[0].(string)), v[1].(int64)
		t.Actions += n
		t.Attempts += n
		t.Executed += n
		return nil
	})
	if err != nil {
		return err
	}
	err = s.each(ctx, tallies, args, func(v []driver.Value) error {
		t := s.tool(v[0].(string))
		t.Attempts += v[1].(int64)
		t.Executed += v[2].(int64)
		t.Blocked += v[3].(int64)
		return nil
	})
	if err != nil {
		return err
	}
	within, args := s.within("")
	err = s.each(ctx, fmt.Sprintf(`SELECT tool, count(*) FROM records INDEXED BY records_open WHERE state > 1 AND state = %d%s GROUP BY tool`, codeFailed, within), args, func(v []driver.Value) error {
		t, n := s.tool(v[0].(string)), v[1].(int64)
		t.Failed += n
		t.Executed -= n
		return nil
	})
	if err != nil {
		return err
	}
	return s.open(ctx)
}

func (s *summing) ofAll() (calls, tallies string, args []any) {
	within, args := s.within("")
	calls = `SELECT tool, sum(calls) FROM (
		SELECT tool, calls FROM totals WHERE tool <> ''
		UNION ALL SELECT tool, 1 FROM records NOT INDEXED WHERE rec >= (SELECT calls FROM totals WHERE tool = '') AND workflow IS NOT NULL AND fingerprint <> ''
	) WHERE true` + within + ` GROUP BY tool`
	return calls, `SELECT tool, attempts, executed, blocked FROM totals WHERE tool <> ''` + within, args
}

func (s *summing) ofWorkflow() (calls, tallies string, args []any) {
	within, args := s.within("r.")
	calls = `SELECT r.tool, count(*) FROM records AS r INDEXED BY records_by_id WHERE r.fingerprint <> ''` + within + ` GROUP BY r.tool`
	tallies = `SELECT r.tool, sum(t.attempts + t.more_starts), sum(t.executed + t.more_executed), sum(t.blocked)
		FROM records AS r INDEXED BY records_by_id CROSS JOIN tallies AS t ON t.rec = r.rec WHERE true` + within + ` GROUP BY r.tool`
	return calls, tallies, args
}

// within is the condition of the filter. The unary + keeps a workflow out of the choice of an index where that is not for records_by_id.
func (s *summing) within(table string) (condition string, args []any) {
	if s.f.Workflow != "" {
		plus := "+"
		if table != "" {
			plus = ""
		}
		condition, args = condition+" AND "+plus+table+"workflow = ?", append(args, s.f.Workflow)
	}
	if s.f.Tool != "" {
		condition, args = condition+" AND "+table+"tool = ?", append(args, s.f.Tool)
	}
	return condition, args
}

// open counts what is running or in doubt, one by one: who lives, and what is to be done, is not in an index.
func (s *summing) open(ctx context.Context) error {
	within, args := s.within("r.")
	return s.each(ctx, `SELECT `+rowColumns+`, r.workflow, r.tool, r.fingerprint, t.more_starts, t.more_executed FROM (`+unsettled+`) AS o
		CROSS JOIN records AS r ON r.rec = o.rec LEFT JOIN tallies AS t ON t.rec = r.rec WHERE true`+within, args,
		func(v []driver.Value) error {
			var row row
			row.scan(v)
			var err error
			if row.alive, err = s.census.aliveRow(&row); err != nil {
				return err
			}
			r, err := row.record(idOf(v))
			if err != nil {
				return err
			}
			t := s.tool(r.ID.Tool)
			t.Executed-- // that did not succeed
			if row.state == codeRunning {
				moreStarts, _ := v[13].(int64) // NULL for none
				moreExecuted, _ := v[14].(int64)
				t.Attempts += r.Starts - 1 - moreStarts
				t.Executed += r.Executed - row.tally.Executed - moreExecuted
			}
			var one ledger.ToolSummary
			one.Add(&r)
			t.Running += one.Running
			t.InDoubt += one.InDoubt
			t.NeedsDecision += one.NeedsDecision
			if one.Running > 0 && (s.oldest == nil || r.Started.Before(s.oldest.Started) || r.Started.Equal(s.oldest.Started) && r.ID.Compare(s.oldest.ID) < 0) {
				r.Args, r.Result = nil, nil
				s.oldest = &r
			}
			return nil
		})
}

func (s *summing) tool(name string) *ledger.ToolSummary {
	t := s.tools[name]
	if t == nil {
		t = &ledger.ToolSummary{Tool: name}
		s.tools[name] = t
	}
	return t
}

func (s *summing) each(ctx context.Context, sql string, args []any, fn func([]driver.Value) error) error {
	stmt, err := s.c.prepare(sql)
	if err != nil {
		return err
	}
	defer s.c.drop(stmt)
	var bad error
	err = stmt.eachUntil(ctx, func(v []driver.Value) bool {
		if bad = ctx.Err(); bad == nil {
			bad = fn(v)
		}
		return bad == nil
	}, args...)
	if bad != nil {
		return bad
	}
	return err
}
