package benchkit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
	"github.com/ledger-once/ledger/sqlitestore"
)

// FirstRound is how many calls one after the other fill the log of a new file until it begins again at its start.
// While the log grows, each fsync writes the file's new length as well, which costs up to as much as the rest:
// a state that a file leaves in its first seconds.
const FirstRound = 2500

// SQLite returns the ways on SQLite, each on a file of its own below dir, all with WAL and
// synchronous=FULL, after so many calls each; FirstRound takes them past the first round of their logs. The first is the base: two bare transactions.
func SQLite(ctx context.Context, dir string, warm int) ([]rounds.Way, error) {
	ways, err := openSQLite(ctx, dir)
	for _, w := range ways {
		for range warm {
			if err == nil {
				err = w.Call(ctx, rounds.RandomID())
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, Close(ways))
	}
	return ways, nil
}

func openSQLite(ctx context.Context, dir string) ([]rounds.Way, error) {
	return open(
		func() (rounds.Way, error) { return bareSQLite(filepath.Join(dir, "bare.db")) },
		func() (rounds.Way, error) { return fsyncs(filepath.Join(dir, "fsync")) },
		func() (rounds.Way, error) { return byHand(ctx, filepath.Join(dir, "byhand.db")) },
		func() (rounds.Way, error) { return checkThenAct(ctx, filepath.Join(dir, "unsafe.db")) },
		func() (rounds.Way, error) {
			s, err := sqlitestore.Open(ctx, filepath.Join(dir, "store.db"), nil)
			if err != nil {
				return rounds.Way{}, err
			}
			return alone(s, s.Close), nil
		},
		func() (rounds.Way, error) { return GuardedSQLite(ctx, filepath.Join(dir, "ledger.db")) },
	)
}

// GuardedSQLite is a guarded call on a store of this file.
func GuardedSQLite(ctx context.Context, path string) (rounds.Way, error) {
	s, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		return rounds.Way{}, err
	}
	return Guarded(s, s.Close)
}

// open opens all, or none.
func open(openers ...func() (rounds.Way, error)) ([]rounds.Way, error) {
	var ways []rounds.Way
	for _, f := range openers {
		w, err := f()
		if err != nil {
			return nil, errors.Join(err, Close(ways))
		}
		ways = append(ways, w)
	}
	return ways, nil
}

// Close closes the ways.
func Close(ways []rounds.Way) error {
	var errs []error
	for _, w := range ways {
		if w.Close != nil {
			errs = append(errs, w.Close())
		}
	}
	return errors.Join(errs...)
}

// fsyncs is the floor of the machine: two appends to a file, each of 4 KiB, the page of a database, and each with its fsync.
func fsyncs(path string) (rounds.Way, error) {
	f, err := os.Create(path)
	if err != nil {
		return rounds.Way{}, err
	}
	var mu sync.Mutex
	page := make([]byte, 4096)
	return rounds.Way{Name: "two fsyncs", Close: f.Close, Call: func(context.Context, ledger.ID) error {
		for range 2 {
			mu.Lock()
			_, err := f.Write(page)
			if err == nil {
				err = f.Sync()
			}
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func dsn(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/dir
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"}
	return u.String()
}

// bare is the raw engine: a transaction for the claim and one for the finish, of the same shape as the
// store's, with prepared statements on one connection of the driver; a mutex is all that is between callers.
type bare struct {
	mu                            sync.Mutex
	conn                          driver.Conn
	begin, commit, insert, finish driver.Stmt
	version                       int64
}

func bareSQLite(path string) (rounds.Way, error) {
	conn, err := new(sqlite.Driver).Open(dsn(path))
	if err != nil {
		return rounds.Way{}, err
	}
	b := &bare{conn: conn}
	for _, table := range []string{
		`CREATE TABLE records (rec INTEGER PRIMARY KEY, version INTEGER NOT NULL, state INTEGER NOT NULL, started INTEGER NOT NULL, nonce TEXT NOT NULL,
			owner TEXT NOT NULL, key TEXT NOT NULL, workflow TEXT, tool TEXT NOT NULL, fingerprint TEXT NOT NULL, data TEXT NOT NULL) STRICT`,
		`CREATE UNIQUE INDEX records_by_id ON records (workflow, tool, fingerprint) WHERE workflow IS NOT NULL`,
	} {
		if _, err := conn.(driver.ExecerContext).ExecContext(context.Background(), table, nil); err != nil {
			return rounds.Way{}, errors.Join(err, conn.Close())
		}
	}
	for _, p := range []struct {
		stmt *driver.Stmt
		sql  string
	}{
		{&b.begin, `BEGIN IMMEDIATE`},
		{&b.commit, `COMMIT`},
		{&b.insert, `INSERT INTO records (rec, version, state, started, nonce, owner, key, workflow, tool, fingerprint, data)
			VALUES (?, ?, -2, ?, ?, ?, '', ?, ?, ?, ?) ON CONFLICT (workflow, tool, fingerprint) WHERE workflow IS NOT NULL DO NOTHING`},
		{&b.finish, `UPDATE records SET version = ?, state = 1, started = ?, data = ?
			WHERE rec = ? AND version = rec AND nonce = ? AND +workflow = ? AND +tool = ? AND +fingerprint = ?`},
	} {
		if *p.stmt, err = conn.Prepare(p.sql); err != nil {
			return rounds.Way{}, errors.Join(err, b.close())
		}
	}
	return rounds.Way{Name: "bare transactions", Call: b.call, Close: b.close}, nil
}

func (b *bare) close() error {
	for _, s := range []driver.Stmt{b.begin, b.commit, b.insert, b.finish} {
		if s != nil {
			_ = s.Close() // says the last execution's error once more
		}
	}
	return b.conn.Close()
}

// tx makes a transaction of one statement, which must change one row. b.mu is held.
func (b *bare) tx(stmt driver.Stmt, args ...driver.Value) error {
	if _, err := exec(b.begin); err != nil {
		return err
	}
	n, err := exec(stmt, args...)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows were changed", n)
	}
	if _, commitErr := exec(b.commit); err == nil {
		err = commitErr
	}
	return err
}

func exec(s driver.Stmt, args ...driver.Value) (int64, error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	r, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (b *bare) call(_ context.Context, id ledger.ID) error {
	r := rounds.Claimed(id)
	data, err := encode(r)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.version++
	rec := b.version
	err = b.tx(b.insert, rec, rec, r.Started.UnixMicro(), r.Nonce, r.Owner.Session, id.Workflow, id.Tool, id.Fingerprint, data)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if data, err = encode(rounds.Done(r)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.version++
	return b.tx(b.finish, b.version, r.Started.UnixMicro(), data, rec, r.Nonce, id.Workflow, id.Tool, id.Fingerprint)
}

// hand opens a file for what people write with database/sql, on one connection, as SQLite has one writer.
func hand(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE calls (id TEXT PRIMARY KEY, state TEXT, args TEXT, result TEXT)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// byHand is INSERT OR IGNORE before the tool, UPDATE after it. It knows nothing of owners: who dies in between leaves the call blocked for ever.
func byHand(ctx context.Context, path string) (rounds.Way, error) {
	db, err := hand(ctx, path)
	if err != nil {
		return rounds.Way{}, err
	}
	return rounds.Way{Name: "INSERT OR IGNORE + UPDATE", Close: db.Close, Call: func(ctx context.Context, id ledger.ID) error {
		return inTwo(ctx, db, `INSERT OR IGNORE INTO calls (id, state, args) VALUES (?, 'running', ?)`, id)
	}}, nil
}

// checkThenAct is the unsafe one: SELECT, and if nothing is there, the tool and then INSERT. Two callers can both see nothing.
func checkThenAct(ctx context.Context, path string) (rounds.Way, error) {
	db, err := hand(ctx, path)
	if err != nil {
		return rounds.Way{}, err
	}
	return rounds.Way{Name: "check-then-act (unsafe)", Close: db.Close, Call: func(ctx context.Context, id ledger.ID) error {
		var state string
		err := db.QueryRowContext(ctx, "SELECT state FROM calls WHERE id = ?", id.String()).Scan(&state)
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("a call that nobody made is there: %w", err)
		}
		_, err = db.ExecContext(ctx, "INSERT INTO calls (id, state, args, result) VALUES (?, 'succeeded', ?, ?)", id.String(), rounds.SampleArgs, rounds.SampleResult)
		return err
	}}, nil
}

func inTwo(ctx context.Context, db *sql.DB, insert string, id ledger.ID) error {
	if _, err := db.ExecContext(ctx, insert, id.String(), rounds.SampleArgs); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `UPDATE calls SET state = 'succeeded', result = ? WHERE id = ?`, rounds.SampleResult, id.String())
	return err
}
