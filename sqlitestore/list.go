package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

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
	return s.list(ctx, f, false)
}

// ListNewest implements [ledger.NewestLister], as of one moment for each page of at most 500.
func (s *Store) ListNewest(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return s.list(ctx, f, true)
}

func (s *Store) list(ctx context.Context, f ledger.Filter, newest bool) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		f := f
		l, err := newListing(&f)
		if l != nil {
			l.explained = s.explained
		}
		if l != nil && newest {
			err = s.fromNewest(ctx, l)
			f.After = ledger.ID{}
		}
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
	open  bool   // only states of records_open are wanted
	opens string // selects these, from the index
	only  bool   // and nothing else that SQL can say
	few   bool   // and few records are in them
	small bool   // few records are in the workflow
	asked bool   // few is known
	slow  bool   // many records may be looked through for each that matches
	after ledger.ID
	done  bool

	faced []string // what facets can say of it
	faces []any
	sweep bool    // what is wanted is in no index
	swept bool    // and few records are in it:
	found []int64 // those to come

	explained func(c *conn, sql string, args []any) // is told of each statement, in tests

	newest   bool
	before   int64  // only recs less than this
	workflow string // "": any
}

func newListing(f *ledger.Filter) (*listing, error) {
	l := &listing{after: f.After, workflow: f.Workflow}
	l.slow = f.Tool != "" || f.Caller != "" || f.Fingerprint != "" || f.Key != "" || !f.Since.IsZero() || !f.Until.IsZero() || len(f.States) > 0
	if f.Workflow != "" {
		l.and("r.workflow = ?", f.Workflow)
	}
	if f.Tool != "" {
		l.facet("r.tool = ?", f.Tool)
	}
	if f.Fingerprint != "" {
		l.and("r.fingerprint >= ?", f.Fingerprint)
		if end, ok := afterPrefix(f.Fingerprint); ok {
			l.and("r.fingerprint < ?", end)
		}
		start, _, _ := strings.Cut(f.Fingerprint[:min(len(f.Fingerprint), 8)], "\x00") // where substr ends
		if start != "" && ascii(start) {
			l.faced, l.faces = append(l.faced, "f.print >= ?"), append(l.faces, start)
			if end, ok := afterPrefix(start); ok {
				l.faced, l.faces = append(l.faced, "f.print < ?"), append(l.faces, end)
			}
		}
	}
	if f.Key != "" {
		l.facet("r.key = ?", f.Key)
	}
	if !f.Since.IsZero() {
		l.facet("r.started >= ?", f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		l.facet("r.started <= ?", f.Until.UnixMicro()) // Match knows the nanoseconds
	}
	l.sweep = f.Workflow == "" && f.After == (ledger.ID{}) && (f.Key != "" || f.Fingerprint != "" || f.Caller != "" || !f.Since.IsZero() || !f.Until.IsZero())
	if f.Caller != "" {
		l.faced, l.faces = append(l.faced, "(f.caller = ? OR f.caller IS NULL)"), append(l.faces, f.Caller)
	}
	if len(f.States) == 0 {
		return l, nil
	}
	l.only = len(l.where) == 0
	l.open = true
	var open []string
	codes := make([]string, 0, len(f.States)+1)
	for _, state := range f.States {
		code, err := codeOf(state)
		if err != nil {
			return nil, err
		}
		codes = append(codes, fmt.Sprint(code))
		open = append(open, fmt.Sprint(code))
		if code == codeRunning || code == codeInDoubt { // in doubt, or running and the owner is dead
			codes = append(codes, fmt.Sprint(codeRunning), fmt.Sprint(codeFresh))
			open = append(open, fmt.Sprint(codeRunning))
		}
		l.open = l.open && code > codeSucceeded
	}
	l.opens = fmt.Sprintf("SELECT rec FROM records INDEXED BY records_open WHERE state > 1 AND state IN (%s)", strings.Join(open, ", "))
	if slices.Contains(codes, fmt.Sprint(codeFresh)) {
		l.opens += " UNION ALL " + freshRecs
	}
	l.and("r.state IN (" + strings.Join(codes, ", ") + ")")
	return l, nil
}

func (l *listing) and(condition string, args ...any) {
	l.where = append(l.where, condition)
	l.args = append(l.args, args...)
}

// facet adds a condition on a column that facets has as well.
func (l *listing) facet(condition string, arg any) {
	l.and(condition, arg)
	l.faced, l.faces = append(l.faced, "f."+strings.TrimPrefix(condition, "r.")), append(l.faces, arg)
}

// unsettled selects what is running or in doubt: from the index, and the fresh ones from the table's end.
var (
	unsettled = fmt.Sprintf("SELECT rec FROM records INDEXED BY records_open WHERE state > 1 AND state IN (%d, %d) UNION ALL ", codeRunning, codeInDoubt) + freshRecs
	freshRecs = fmt.Sprintf("SELECT rec FROM records WHERE rec >= (SELECT max(rec) FROM records) / %[1]d * %[1]d - 2 * %[1]d AND state = %[2]d", freshAfter, codeFresh)
)

// fewOpen is how many records are sorted anew for each page rather than looked for among all, or counted one by one.
const fewOpen = 5000

// fewFound is how many records are found at once, by a look through the whole table in its order, rather than by looking each one up.
const fewFound = 20_000

// page reads the next page, of rows that may match.
func (s *Store) page(ctx context.Context, l *listing) (page []listed, err error) {
	var next listing
	err = s.long(ctx, func(ctx context.Context, r *reader) error {
		next = *l // a read-only store calls again if a writer came meanwhile
		page, err = next.read(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	*l = next
	return page, nil
}

// long calls fn in a snapshot. Its context ends with ctx, and when the store is closed.
func (s *Store) long(ctx context.Context, fn func(context.Context, *reader) error) error {
	reading, end := context.WithCancel(ctx)
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-s.closing:
			end()
		case <-reading.Done():
		}
	})
	err := s.readers.useLong(ctx, s, func(r *reader) error {
		return r.snapshot(func() error { return fn(reading, r) })
	})
	end()
	closer.Wait()
	if err == nil || ctx.Err() == nil { // or it was interrupted
		if err != nil && s.usable(ctx) != nil {
			err = ledger.ErrClosed
		}
		return err
	}
	return notWritten(ctx.Err())
}

// read reads the next page. Where many records may have to be looked through, the first statement does
// that in one step, which the end of ctx interrupts. It sorts no data.
func (l *listing) read(ctx context.Context, r *reader) ([]listed, error) {
	c := r.c
	if l.open && !l.asked {
		// Some of many records are found sooner by sorting them than by looking for them.
		n, err := number(c, fmt.Sprintf("SELECT count(*) FROM (%s LIMIT %d)", l.opens, 10*fewOpen))
		if err != nil {
			return nil, err
		}
		all, err := number(c, "SELECT coalesce(sum(calls), 0) FROM totals WHERE tool <> ''")
		if err != nil {
			return nil, err
		}
		l.few, l.asked = n <= fewOpen || n < 10*fewOpen && n <= all/16, true
	}
	q := l.query()
	var page []listed
	bytes, all := 0, true
	add := func(v []driver.Value) bool {
		var e listed
		e.row.scan(v)
		e.id = idOf(v)
		page = append(page, e)
		bytes += len(e.row.data)
		all = bytes < pageBytes
		return all
	}
	found := 0
	if l.slow {
		recs, err := l.recs(ctx, c, q)
		if err != nil {
			return nil, err
		}
		for i, rec := range recs[:min(len(recs), pageRecords)] {
			if !all {
				break
			}
			if _, err := r.byRec.row(func(v []driver.Value) { add(v) }, rec); err != nil {
				return nil, err
			}
			if l.swept {
				l.found = recs[i+1:]
			}
		}
		if found = len(recs); l.swept {
			l.done = len(l.found) == 0
			return page, nil
		}
	} else {
		stmt, err := c.prepare(`SELECT ` + rowColumns + `, r.workflow, r.tool, r.fingerprint` + q.rest("LEFT JOIN tallies AS t ON t.rec = r.rec"))
		if err != nil {
			return nil, err
		}
		defer c.drop(stmt)
		if err := stmt.each(add, q.args...); err != nil {
			return nil, err
		}
		found = len(page)
	}
	if len(page) > 0 {
		l.after, l.before = page[len(page)-1].id, page[len(page)-1].row.rec
	}
	l.done = all && found < pageRecords
	return page, nil
}

// fromNewest lets l go from the newest record, or from the one that it goes on after, back to the first one.
func (s *Store) fromNewest(ctx context.Context, l *listing) error {
	l.newest, l.before = true, math.MaxInt64
	if l.after != (ledger.ID{}) {
		last, err := s.read(ctx, l.after)
		if err != nil {
			return err
		}
		if !last.found {
			return ledger.ErrNotFound
		}
		l.before = last.rec
	}
	if l.workflow == "" {
		return nil
	}
	return s.long(ctx, func(_ context.Context, r *reader) error {
		stmt, err := r.c.prepare(fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY records_by_id WHERE workflow = ? LIMIT %d)`, fewOpen))
		if err != nil {
			return err
		}
		defer r.c.drop(stmt)
		_, err = stmt.row(func(v []driver.Value) { l.small = v[0].(int64) < fewOpen }, l.workflow)
		return err
	})
}

// idOf is the ID behind the columns of a row.
func idOf(v []driver.Value) ledger.ID {
	return ledger.ID{Workflow: v[10].(string), Tool: v[11].(string), Fingerprint: v[12].(string)}
}

// afterPrefix is the least string above all that begin with p, if there is one that is UTF-8 for sure: of an ASCII prefix.
func afterPrefix(p string) (string, bool) {
	last := len(p) - 1
	if p[last] >= 0x7e {
		return "", false // Match knows
	}
	return p[:last] + string(rune(p[last]+1)), true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
