package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A query is what selects a page of a listing from records AS r.
type query struct {
	from  string
	where []string
	args  []any
	order string // columns of r
}

// rest is the statement after its columns.
func (q *query) rest(join string) string {
	return " FROM " + q.from + " " + join + " WHERE " + strings.Join(q.where, " AND ") +
		" ORDER BY r." + strings.ReplaceAll(q.order, ", ", ", r.") + " LIMIT " + strconv.Itoa(pageRecords)
}

// query goes on where the page before ended.
func (l *listing) query() query {
	q := query{
		from:  "records AS r INDEXED BY records_by_id",
		where: append([]string{"r.workflow IS NOT NULL", "(r.workflow, r.tool, r.fingerprint) > (?, ?, ?)"}, l.where...),
		args:  append([]any{l.after.Workflow, l.after.Tool, l.after.Fingerprint}, l.args...),
		order: "workflow, tool, fingerprint",
	}
	if l.newest {
		if q.order = "rec DESC"; !l.small {
			q.from = "records AS r NOT INDEXED"
		}
		q.where, q.args = append([]string{"r.workflow IS NOT NULL", "r.rec < ?"}, l.where...), append([]any{l.before}, l.args...)
	}
	if l.few {
		opens := l.opens
		if l.newest && l.only { // the rest need not be looked up
			opens = fmt.Sprintf("SELECT rec FROM (%s) WHERE rec < %d ORDER BY rec DESC LIMIT %d", opens, l.before, pageRecords)
		}
		q.from = "(" + opens + ") AS o CROSS JOIN records AS r ON r.rec = o.rec"
	}
	return q
}

// recs returns the recs of the next page, in order, or of all pages to come: then l.swept.
func (l *listing) recs(ctx context.Context, c *conn, q query) ([]int64, error) {
	if l.swept {
		return l.found, nil
	}
	if l.few || len(l.faced) == 0 || l.newest && l.small || !l.newest && !l.sweep {
		return l.find(ctx, c, q.order, q.rest(""), q.args)
	}
	// Of the records that grew old, facets tells which are wanted.
	old, err := number(c, "SELECT calls FROM totals WHERE tool = ''")
	if err != nil {
		return nil, err
	}
	faced := "f.rec < " + strconv.Itoa(old) + " AND " + strings.Join(l.faced, " AND ")
	if l.newest {
		fresh := q
		fresh.where = append([]string{"r.rec >= " + strconv.Itoa(old)}, q.where...)
		recs, err := l.find(ctx, c, q.order, fresh.rest(""), q.args)
		if err != nil || len(recs) >= pageRecords {
			return recs, err
		}
		q.from = "facets AS f CROSS JOIN records AS r ON r.rec = f.rec"
		q.where, q.args = append([]string{faced, "f.rec < ?"}, q.where...), append(append(append([]any{}, l.faces...), l.before), q.args...)
		more, err := l.find(ctx, c, q.order, strings.ReplaceAll(q.rest(""), "ORDER BY r.rec", "ORDER BY f.rec"), q.args)
		recs = append(recs, more...)
		return recs[:min(len(recs), pageRecords)], err
	}
	// Few that are found at once can be sorted.
	l.sweep = false
	from := fmt.Sprintf("(SELECT rec FROM records NOT INDEXED WHERE rec >= %d UNION ALL SELECT rec FROM facets AS f WHERE %s) AS o CROSS JOIN records AS r ON r.rec = o.rec", old, faced)
	all := " FROM " + from + " WHERE " + strings.Join(q.where, " AND ") + " LIMIT " + strconv.Itoa(fewFound+1)
	found, err := l.find(ctx, c, q.order, all, append(append([]any{}, l.faces...), q.args...))
	if err != nil {
		return nil, err
	}
	if len(found) <= fewFound {
		l.found, l.swept = found, true
		return found, nil
	}
	return l.find(ctx, c, q.order, q.rest(""), q.args)
}

// find returns the recs of the next page, in order.
func (l *listing) find(ctx context.Context, c *conn, order, rest string, args []any) (recs []int64, err error) {
	sql := `SELECT group_concat(rec, ',' ORDER BY ` + order + `) FROM (SELECT r.rec, r.workflow, r.tool, r.fingerprint` + rest + `)`
	if l.explained != nil {
		l.explained(c, sql, args)
	}
	stmt, err := c.prepare(sql)
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
