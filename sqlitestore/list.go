package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"strings"

	"github.com/ledger-once/ledger"
)

// A page of a listing ends at so many records, or bytes of them: it is read in one
// transaction and held in memory, so that nothing is open while the caller works.
const (
	pageRecords = 500
	pageBytes   = 4 << 20
)

// List implements [ledger.Store]. It yields in the order of IDs, as of one
// moment for each page of at most 500.
func (s *Store) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		l, err := newListing(&f)
		census := s.census()
		for yielded := 0; err == nil && !l.done; {
			var page []listed
			if page, err = s.page(ctx, l); err != nil {
				break
			}
			for i := range page {
				var r ledger.Record
				if page[i].row.alive, err = census.aliveRow(&page[i].row); err != nil {
					err = notWritten(unavailable(s.place.real, err))
					break
				}
				if r, err = page[i].row.record(page[i].id); err != nil {
					break
				}
				if !f.Match(&r) {
					continue
				}
				if !yield(r, nil) {
					return
				}
				if yielded++; yielded == f.Limit {
					return
				}
			}
		}
		if err != nil {
			yield(ledger.Record{}, fmt.Errorf("sqlitestore: list: %w", err))
		}
	}
}

type listed struct {
	id  ledger.ID
	row row
}

// A listing is where a List stands. What its SQL can not say, Filter.Match does.
type listing struct {
	where []string
	args  []any
	open  bool // only states of the index records_open are wanted
	few   bool // and few records are in them
	after ledger.ID
	done  bool
}

func newListing(f *ledger.Filter) (*listing, error) {
	l := &listing{after: f.After}
	if f.Workflow != "" {
		l.and("r.workflow = ?", f.Workflow)
	}
	if f.Tool != "" {
		l.and("r.tool = ?", f.Tool)
	}
	if f.Key != "" {
		l.and("r.key = ?", f.Key)
	}
	if !f.Since.IsZero() {
		l.and("r.started >= ?", f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		l.and("r.started <= ?", f.Until.UnixMicro()) // Match knows the nanoseconds
	}
	if len(f.States) == 0 {
		return l, nil
	}
	l.open = true
	codes := make([]string, 0, len(f.States)+1)
	for _, state := range f.States {
		code, err := codeOf(state)
		if err != nil {
			return nil, err
		}
		codes = append(codes, fmt.Sprint(code))
		if code == codeInDoubt { // or running, and the owner is dead
			codes = append(codes, fmt.Sprint(codeRunning))
		}
		l.open = l.open && code > codeSucceeded
	}
	l.and("r.state IN (" + strings.Join(codes, ", ") + ")")
	if l.open {
		l.and("r.state > 1") // the index's own condition
	}
	return l, nil
}

func (l *listing) and(condition string, args ...any) {
	l.where = append(l.where, condition)
	l.args = append(l.args, args...)
}

// fewOpen is how many records are sorted anew for each page rather than looked for among all.
const fewOpen = 5000

// page reads the next page, of rows that may match.
func (s *Store) page(ctx context.Context, l *listing) (page []listed, err error) {
	err = s.readers.use(ctx, s, func(r *reader) error {
		page = nil
		return r.snapshot(func() error {
			page, err = l.read(r.c)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return page, ctx.Err()
}

func (l *listing) read(c *conn) ([]listed, error) {
	if l.open && l.after == (ledger.ID{}) {
		n, err := number(c, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM records WHERE state > 1 LIMIT %d)", fewOpen+1))
		if err != nil {
			return nil, err
		}
		l.few = n <= fewOpen
	}
	index := "records_by_id"
	if l.few {
		index = "records_open"
	}
	where := append([]string{"r.workflow IS NOT NULL", "(r.workflow, r.tool, r.fingerprint) > (?, ?, ?)"}, l.where...)
	args := append([]any{l.after.Workflow, l.after.Tool, l.after.Fingerprint}, l.args...)
	stmt, err := c.prepare(`SELECT ` + rowColumns + `, r.workflow, r.tool, r.fingerprint FROM records AS r INDEXED BY ` + index + `
		LEFT JOIN tallies AS t ON t.rec = r.rec WHERE ` + strings.Join(where, " AND ") + `
		ORDER BY r.workflow, r.tool, r.fingerprint LIMIT ` + fmt.Sprint(pageRecords))
	if err != nil {
		return nil, err
	}
	defer c.drop(stmt)
	var page []listed
	bytes, all := 0, true
	err = stmt.each(func(v []driver.Value) bool {
		var e listed
		e.row.scan(v)
		e.id = ledger.ID{Workflow: v[10].(string), Tool: v[11].(string), Fingerprint: v[12].(string)}
		page = append(page, e)
		bytes += len(e.row.data)
		all = bytes < pageBytes
		return all
	}, args...)
	if err != nil {
		return nil, err
	}
	if len(page) > 0 {
		l.after = page[len(page)-1].id
	}
	l.done = all && len(page) < pageRecords
	return page, nil
}
