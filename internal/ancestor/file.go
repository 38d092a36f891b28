package ancestor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/ledger-once/ledger"
)

// A File is the ancestor's database, as it was when it was opened: calls that are made later are not in it.
type File struct {
	db *sql.DB
	tx *sql.Tx
	// caller is how the column is read: the ancestor's first version had none.
	caller string
}

// minBytes is SQLite's smallest page.
const minBytes = 512

// Open opens the file at path to look only. It returns an error matching
// [ledger.ErrNotFound] where there is none, [ledger.ErrInvalid] for a file that is not the ancestor's, and
// [ledger.ErrUnavailable] for one that can not be read. ctx bounds the life of the File, too.
func Open(ctx context.Context, path string) (*File, error) {
	f, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("ancestor: open %q: %w", path, err)
	}
	return f, nil
}

func open(ctx context.Context, path string) (*File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no such file", ledger.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: it is no regular file", ledger.ErrInvalid)
	case info.Size() < minBytes:
		return nil, fmt.Errorf("%w: the file is no SQLite database", ledger.ErrInvalid)
	}
	real, err := filepath.Abs(path)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
	}
	f, err := begin(ctx, real, url.Values{"mode": {"ro"}})
	if err == nil || errors.Is(err, ledger.ErrInvalid) {
		return f, err
	}
	// Where the directory can not be written, SQLite can not make the files with which it follows
	// writers. Without a log there is none, and the file can be read as it stands.
	if _, logErr := os.Stat(real + "-wal"); errors.Is(logErr, fs.ErrNotExist) {
		if f, again := begin(ctx, real, url.Values{"mode": {"ro"}, "immutable": {"1"}}); again == nil {
			return f, nil
		}
	}
	return nil, err
}

func begin(ctx context.Context, real string, params url.Values) (_ *File, err error) {
	params.Set("_pragma", "busy_timeout(5000)")
	name := filepath.ToSlash(real)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // C:/dir
	}
	u := url.URL{Scheme: "file", Path: name, RawQuery: params.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
	}
	f := &File{db: db}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if f.tx, err = db.BeginTx(ctx, nil); err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
	}
	columns, err := f.columns(ctx)
	if err != nil {
		return nil, err
	}
	return f, f.known(ctx, columns)
}

// columns returns those of the table ledger; none if there is no such table. Reading them begins the snapshot.
func (f *File) columns(ctx context.Context) (map[string]bool, error) {
	rows, err := f.tx.QueryContext(ctx, "SELECT name FROM pragma_table_info('ledger')")
	if err != nil {
		return nil, readError(err)
	}
	defer rows.Close()
	columns := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, readError(err)
		}
		columns[name] = true
	}
	return columns, readError(rows.Err())
}

// known returns an error unless the columns are the ancestor's.
func (f *File) known(ctx context.Context, columns map[string]bool) error {
	for _, name := range []string{"id", "tool", "args", "wf", "created", "touched", "since", "status", "attempts", "runs", "blocked", "result", "error"} {
		if columns[name] {
			continue
		}
		var app int64
		if err := f.tx.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err == nil && app == applicationID {
			return fmt.Errorf("%w: it is a ledger of this library already; import takes a file of the Python ledger-once", ledger.ErrInvalid)
		}
		if len(columns) == 0 {
			return fmt.Errorf("%w: it is no file of the Python ledger-once: it has no table ledger", ledger.ErrInvalid)
		}
		return fmt.Errorf("%w: it is no file of the Python ledger-once: its table ledger has no column %s", ledger.ErrInvalid, name)
	}
	f.caller = "NULL"
	if columns["caller"] {
		f.caller = "caller"
	}
	return nil
}

// applicationID is that of this library's own files, so that they can be told.
const applicationID = 0x4c646772

// readError says whether the file is none, or can not be read.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "not a database"):
		return fmt.Errorf("%w: the file is no SQLite database", ledger.ErrInvalid)
	}
	return fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
}

// Close ends the snapshot and closes the file.
func (f *File) Close() error {
	var err error
	if f.tx != nil {
		if err = f.tx.Rollback(); errors.Is(err, sql.ErrTxDone) { // its context ended
			err = nil
		}
	}
	return errors.Join(err, f.db.Close())
}

// Calls yields the calls of the file: first those that succeeded, so that of calls that become one here,
// the one that was done counts. An error is yielded once, as the last element.
func (f *File) Calls(ctx context.Context) iter.Seq2[Call, error] {
	return func(yield func(Call, error) bool) {
		for _, which := range []string{"status = 'success'", "status IS NOT 'success'"} {
			if !f.calls(ctx, which, yield) {
				return
			}
		}
	}
}

func (f *File) calls(ctx context.Context, which string, yield func(Call, error) bool) (more bool) {
	rows, err := f.tx.QueryContext(ctx, "SELECT CAST(id AS TEXT), CAST(tool AS TEXT), CAST(args AS TEXT), CAST(wf AS TEXT), CAST(created AS TEXT),"+
		" CAST(touched AS TEXT), CAST(status AS TEXT), CAST(attempts AS INTEGER), CAST(runs AS INTEGER), CAST(blocked AS INTEGER),"+
		" CAST(result AS TEXT), CAST(error AS TEXT), CAST("+f.caller+" AS TEXT) FROM ledger WHERE "+which)
	if err != nil {
		yield(Call{}, fmt.Errorf("ancestor: list: %w", readError(err)))
		return false
	}
	defer rows.Close()
	for rows.Next() {
		var c Call
		var id, tool, args, wf, created, touched, status, failure, caller sql.NullString
		var attempts, runs, blocked sql.NullInt64
		if err := rows.Scan(&id, &tool, &args, &wf, &created, &touched, &status, &attempts, &runs, &blocked, &c.result, &failure, &caller); err != nil {
			yield(Call{}, fmt.Errorf("ancestor: list: %w", readError(err)))
			return false
		}
		c.ID, c.Tool, c.Workflow, c.Status = id.String, tool.String, wf.String, status.String
		c.args, c.created, c.touched, c.failure, c.caller = args.String, created.String, touched.String, failure.String, caller.String
		c.attempts, c.runs, c.blocked = max(0, attempts.Int64), max(0, runs.Int64), max(0, blocked.Int64)
		if !yield(c, nil) {
			return false
		}
	}
	if err := rows.Err(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		yield(Call{}, fmt.Errorf("ancestor: list: %w", readError(err)))
		return false
	}
	return true
}
