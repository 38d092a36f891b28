package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

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
					err = notWritten(unavailable(s.place.real, err))
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
	open  bool // only states of openRecs are wanted
	few   bool // and few records are in them
	asked bool // few is known
	slow  bool // many records may be looked through for each that matches
	after ledger.ID
	done  bool
}

func newListing(f *ledger.Filter) (*listing, error) {
	l := &listing{after: f.After}
	l.slow = f.Tool != "" || f.Key != "" || !f.Since.IsZero() || !f.Until.IsZero() || len(f.States) > 0
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
		if code == codeRunning || code == codeInDoubt { // in doubt, or running and the owner is dead
			codes = append(codes, fmt.Sprint(codeRunning), fmt.Sprint(codeFresh))
		}
		l.open = l.open && code > codeSucceeded
	}
	l.and("r.state IN (" + strings.Join(codes, ", ") + ")")
	return l, nil
}

func (l *listing) and(condition string, args ...any) {
	l.where = append(l.where, condition)
	l.args = append(l.args, args...)
}

// openRecs selects what is running, in doubt or failed: from the index, and the fresh ones from the table's end.
var openRecs = fmt.Sprintf(`SELECT rec FROM records INDEXED BY records_open WHERE state > 1 UNION ALL
	SELECT rec FROM records WHERE rec >= (SELECT max(rec) FROM records) / %[1]d * %[1]d - 2 * %[1]d AND state = %[2]d`, freshAfter, codeFresh)

// fewOpen is how many records are sorted anew for each page rather than looked for among all.
const fewOpen = 5000

// page reads the next page, of rows that may match.
func (s *Store) page(ctx context.Context, l *listing) (page []listed, err error) {
	reading, end := context.WithCancel(ctx)
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-s.closing:
			end()
		case <-reading.Done():
		}
	})
	err = s.readers.useLong(ctx, s, func(r *reader) error {
		page = nil
		return r.snapshot(func() error {
			page, err = l.read(reading, r)
			return err
		})
	})
	end()
	closer.Wait()
	if err == nil || ctx.Err() == nil { // or it was interrupted
		if err != nil && s.usable(ctx) != nil {
			err = ledger.ErrClosed
		}
		return page, err
	}
	return nil, notWritten(ctx.Err())
}

// read reads the next page. Where many records may have to be looked through, the first statement does
// that in one step, which the end of ctx interrupts. It sorts no data.
func (l *listing) read(ctx context.Context, r *reader) ([]listed, error) {
	c := r.c
	if l.open && !l.asked {
		n, err := number(c, fmt.Sprintf("SELECT count(*) FROM (%s LIMIT %d)", openRecs, fewOpen+1))
		if err != nil {
			return nil, err
		}
		l.few, l.asked = n <= fewOpen, true
	}
	from := "records AS r INDEXED BY records_by_id"
	if l.few {
		from = "(" + openRecs + ") AS o CROSS JOIN records AS r ON r.rec = o.rec"
	}
	where := append([]string{"r.workflow IS NOT NULL", "(r.workflow, r.tool, r.fingerprint) > (?, ?, ?)"}, l.where...)
	args := append([]any{l.after.Workflow, l.after.Tool, l.after.Fingerprint}, l.args...)
	rest := ` FROM ` + from + ` %s WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY r.workflow, r.tool, r.fingerprint LIMIT ` + fmt.Sprint(pageRecords)
	var page []listed
	bytes, all := 0, true
	add := func(v []driver.Value) bool {
		var e listed
		e.row.scan(v)
		e.id = ledger.ID{Workflow: v[10].(string), Tool: v[11].(string), Fingerprint: v[12].(string)}
		page = append(page, e)
		bytes += len(e.row.data)
		all = bytes < pageBytes
		return all
	}
	found := 0
	if l.slow {
		recs, err := l.find(ctx, c, fmt.Sprintf(rest, ""), args)
		if err != nil {
			return nil, err
		}
		for _, rec := range recs {
			if !all {
				break
			}
			if _, err := r.byRec.row(func(v []driver.Value) { add(v) }, rec); err != nil {
				return nil, err
			}
		}
		found = len(recs)
	} else {
		stmt, err := c.prepare(`SELECT ` + rowColumns + `, r.workflow, r.tool, r.fingerprint` + fmt.Sprintf(rest, "LEFT JOIN tallies AS t ON t.rec = r.rec"))
		if err != nil {
			return nil, err
		}
		defer c.drop(stmt)
		if err := stmt.each(add, args...); err != nil {
			return nil, err
		}
		found = len(page)
	}
	if len(page) > 0 {
		l.after = page[len(page)-1].id
	}
	l.done = all && found < pageRecords
	return page, nil
}

// find returns the recs of the next page, in order.
func (l *listing) find(ctx context.Context, c *conn, rest string, args []any) (recs []int64, err error) {
	stmt, err := c.prepare(`SELECT group_concat(rec, ',' ORDER BY workflow, tool, fingerprint) FROM (SELECT r.rec, r.workflow, r.tool, r.fingerprint` + rest + `)`)
	if err != nil {
		return nil, err
	}
	defer c.drop(stmt)
	var bad error
	err = stmt.eachUntil(ctx, func(v []driver.Value) bool {
		list, _ := v[0].(string) // NULL for none
		for part := range strings.SplitSeq(list, ",") {
			if part == "" {
				continue
			}
			rec, err := strconv.ParseInt(part, 10, 64)
			recs, bad = append(recs, rec), errors.Join(bad, err)
		}
		return true
	}, args...)
	return recs, errors.Join(err, bad)
}
