package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// A conn is one connection of the driver, used without database/sql: a store
// has one writer and a few readers, whose statements live as long as they do. It is
// not safe for concurrent use.
//
// No file of the database is ever opened and closed by this package while a
// connection is open: POSIX drops a process's locks on a file with any close
// of it (https://sqlite.org/howtocorrupt.html, 2.2), SQLite's among them.
type conn struct {
	raw   driver.Conn
	stmts []*stmt
	place *place // of a writing store
}

// dsn names a file to the driver. params are SQLite's URI parameters.
func dsn(path string, params url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/dir
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	return u.String()
}

func openConn(path string, mode url.Values, pragmas ...string) (*conn, error) {
	raw, err := new(sqlite.Driver).Open(dsn(path, mode))
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw}
	for _, p := range pragmas {
		if _, err := c.text("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("PRAGMA %s: %w", p, err), c.close())
		}
	}
	return c, nil
}

// close leaks the connection where closing it would do harm; see place.foul.
func (c *conn) close() error {
	if c.place != nil && c.place.foul() {
		return nil
	}
	for _, s := range c.stmts {
		_ = s.raw.Close() // reports the last execution's error once more
	}
	c.stmts = nil
	return c.raw.Close()
}

// run executes one or more statements that return nothing.
func (c *conn) run(sql string, args ...any) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), sql, named(nil, args))
	return err
}

// text returns the first column of the first row as text, "" if there is none.
func (c *conn) text(sql string) (string, error) {
	rows, err := c.raw.(driver.QueryerContext).QueryContext(context.Background(), sql, nil)
	if err != nil {
		return "", err
	}
	dest := make([]driver.Value, max(1, len(rows.Columns())))
	if len(rows.Columns()) == 0 {
		return "", rows.Close()
	}
	err = rows.Next(dest)
	if err = errors.Join(err, rows.Close()); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return "", err
	}
	return fmt.Sprint(dest[0]), nil
}

// A stmt is a prepared statement with its arguments' memory.
type stmt struct {
	raw  driver.Stmt
	args []driver.NamedValue
	dest []driver.Value
}

// prepare keeps the statement until the connection is closed.
func (c *conn) prepare(sql string) (*stmt, error) {
	raw, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, fmt.Errorf("%w in %q", err, sql)
	}
	s := &stmt{raw: raw}
	c.stmts = append(c.stmts, s)
	return s, nil
}

// exec returns how many rows were changed.
func (s *stmt) exec(args ...any) (int64, error) {
	s.args = named(s.args, args)
	result, err := s.raw.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row calls scan with the first row and reports whether there is one.
func (s *stmt) row(scan func([]driver.Value), args ...any) (found bool, err error) {
	err = s.each(func(row []driver.Value) bool {
		found = true
		scan(row)
		return false
	}, args...)
	return found, err
}

// each calls fn with each row until it returns false. The slice is used again for the next row.
func (s *stmt) each(fn func([]driver.Value) bool, args ...any) error {
	return s.eachUntil(context.Background(), fn, args...)
}

// eachUntil is each, but the end of ctx interrupts the way to the first row.
func (s *stmt) eachUntil(ctx context.Context, fn func([]driver.Value) bool, args ...any) error {
	s.args = named(s.args, args)
	rows, err := s.raw.(driver.StmtQueryContext).QueryContext(ctx, s.args)
	if err != nil {
		return err
	}
	if s.dest == nil {
		s.dest = make([]driver.Value, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(s.dest); {
		case err == io.EOF:
			return rows.Close()
		case err != nil:
			_ = rows.Close() // says the same again
			return err
		case !fn(s.dest):
			return rows.Close()
		}
	}
}

func named(buf []driver.NamedValue, args []any) []driver.NamedValue {
	buf = buf[:0]
	for i, a := range args {
		buf = append(buf, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return buf
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// drop ends a statement that was prepared last.
func (c *conn) drop(s *stmt) {
	_ = s.raw.Close() // reports the last execution's error once more
	c.stmts = c.stmts[:len(c.stmts)-1]
}
