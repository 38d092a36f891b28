package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ledger-once/ledger"
)

// Open opens the database at path, "ledger.db" if that is empty, and creates it
// if there is none or the file is empty. Each open store is an owner of its own: Close it in the end.
//
// It returns an error that matches [ledger.ErrInvalid] if the file is something
// else, belongs to another program or to a newer version of this one, has hard
// links, or is on a network file system; and one that matches
// [ledger.ErrUnavailable] if it can not be used as it is. The messages say what to do.
func Open(ctx context.Context, path string, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err == nil {
		var s *Store
		if s, err = open(ctx, path, opts); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("sqlitestore: open %q: %w", path, err)
}

func newStore(real string, opts Options) *Store {
	return &Store{
		opts: opts, log: opts.Logger, place: place{real: real}, readers: newReaders(opts.Readers),
		closing: make(chan struct{}), abort: make(chan struct{}),
	}
}

func open(ctx context.Context, path string, opts Options) (*Store, error) {
	real, err := locate(path)
	if err != nil {
		return nil, err
	}
	if err := foreign(real); err != nil {
		return nil, notWritten(fmt.Errorf("%s: %w", real, err))
	}
	s := newStore(real, opts)
	if s.turn, err = openTurn(real + lockSuffix); err != nil {
		return nil, notWritten(unavailable(real, err))
	}
	// The turn is held to the end: nobody else creates, migrates or writes meanwhile.
	if err := s.turn.take(ctx, nil); err != nil {
		s.turn.close()
		return nil, notWritten(err)
	}
	if err := s.start(ctx); err != nil {
		if s.owner != nil {
			err = errors.Join(err, s.owner.end())
		}
		if s.writer != nil {
			err = errors.Join(err, s.writer.close())
		}
		err = errors.Join(err, s.place.release())
		s.turn.give()
		s.turn.close()
		if errors.Is(err, ledger.ErrInvalid) {
			return nil, notWritten(fmt.Errorf("%s: %w", real, err))
		}
		return nil, notWritten(unavailable(real, err))
	}
	s.turn.give()
	return s, nil
}

// locate finds the real path and refuses what can not hold a database.
func locate(path string) (string, error) {
	real, err := resolve(path)
	if err == nil {
		_, _, err = inspect(real)
	}
	switch {
	case err == nil:
		return real, nil
	case errors.Is(err, ledger.ErrInvalid), errors.Is(err, ledger.ErrUnavailable):
		return "", notWritten(err)
	case errors.Is(err, fs.ErrNotExist):
		dir, _ := filepath.Split(path) // never cleaned: see resolve
		return "", notWritten(fmt.Errorf("%w: the directory %s does not exist; create it first", ledger.ErrUnavailable, dir))
	}
	return "", notWritten(unavailable(path, err))
}

// foreign returns an error if the file, which never was opened as a ledger, is certainly none: so that nothing is left beside
// what belongs to others. It looks through SQLite, because closing a file drops locks on it (see conn); immutable, so that
// it takes none and makes no files.
func foreign(real string) error {
	if exists, empty, err := inspect(real); err != nil || !exists || empty {
		return err
	}
	if _, err := stampOf(real + lockSuffix); err == nil {
		return nil
	}
	c, err := openConn(real, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return nil // said better later on
	}
	_, err = schemaOf(c)
	if cerr := c.close(); cerr != nil {
		return cerr
	}
	if primary(err) == sqlite3.SQLITE_NOTADB {
		return fmt.Errorf("%w: %s: %w", ledger.ErrUnavailable, advice(err), err)
	}
	if _, werr := stampOf(real + "-wal"); errors.Is(err, ledger.ErrInvalid) && errors.Is(werr, fs.ErrNotExist) { // else the log says what is in it
		return err
	}
	return nil
}

// start opens the database, under the turn.
func (s *Store) start(ctx context.Context) error {
	real := s.place.real
	exists, empty, err := inspect(real)
	if err == nil && !exists {
		if empty, err = true, create(real); err == nil {
			exists = true
		}
	} else if err == nil && empty {
		err = os.Chmod(real, 0o600)
	}
	if err != nil {
		return err
	}
	if err := s.place.usable(); err != nil {
		return err
	}
	if !empty {
		if err := s.logged(ctx); err != nil {
			return err
		}
	}
	if s.writer, err = s.newWriter(); err != nil {
		return err
	}
	if err := s.patiently(ctx, s.prepare); err != nil {
		return err
	}
	if err := s.writer.prepare(); err != nil {
		return err
	}
	if err := s.place.hold(); err != nil {
		return err
	}
	if err := s.acquainted(ctx); err != nil {
		return err
	}
	sweep(real + ownersSuffix)
	s.owner, s.info, err = newOwner(real + ownersSuffix)
	if err != nil {
		s.owner = nil
		return err
	}
	s.owner.look(s.log)
	s.writer.self = s.owner.session
	return nil
}

// logged returns an error if somebody has the database open, and its log or the log's index is missing: they were deleted
// meanwhile. New ones would make a second history, and one of the two would be lost.
//
// SQLite itself knows whether somebody has it open: only then it is refused the exclusive lock. That happens for
// a moment also while others open and close it.
func (s *Store) logged(ctx context.Context) error {
	missing := false
	for _, suffix := range []string{"-wal", "-shm"} {
		_, err := stampOf(s.place.real + suffix)
		missing = missing || errors.Is(err, fs.ErrNotExist)
	}
	if !missing {
		return nil
	}
	err := s.patiently(ctx, func() error {
		c, err := openConn(s.place.real, url.Values{"mode": {"rw"}}, "busy_timeout = 0", "locking_mode = EXCLUSIVE")
		if err != nil {
			return err
		}
		_, err = number(c, "SELECT count(*) FROM sqlite_schema")
		return errors.Join(err, c.close())
	})
	if isBusy(err) {
		return fmt.Errorf("%w: somebody has the database open, and its -wal or -shm file is missing: either it is locked for a long time, or the files were deleted while it was open; end all programs that use it, then open it again: %w", ledger.ErrUnavailable, err)
	}
	return err
}

// acquainted returns an error if another store lives with this database and none of its owners can be seen: the database was
// renamed while it was open, and its owners are looked for by the new name. So living ones would be taken for dead.
func (s *Store) acquainted(ctx context.Context) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	// An owner that ends lets go of its own file last, and one that lost it makes it anew; see owner.look.
	for start := time.Now(); ; {
		others, err := s.place.show()
		if err != nil || !others {
			return err
		}
		if seen, err := s.anyAlive(); err != nil || seen {
			return err
		}
		if time.Since(start) >= 3*lookAfter {
			return fmt.Errorf("%w: another process has the database open under another name: it was renamed meanwhile; rename it back, or end all programs that use it, then open it again", ledger.ErrUnavailable)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// prepare makes the file a ledger of the current schema, in WAL mode.
func (s *Store) prepare() error {
	c := s.writer.c
	version, err := schemaOf(c)
	if err != nil {
		return err
	}
	if 0 < version && version < schema {
		if err := s.alone(); err != nil {
			return err
		}
	}
	mode, err := c.text("PRAGMA journal_mode")
	if err == nil && mode != "wal" {
		mode, err = c.text("PRAGMA journal_mode = WAL")
	}
	if err == nil && mode != "wal" {
		err = fmt.Errorf("%w: the file can not be switched to WAL mode (it stays in %q); move it to a local file system", ledger.ErrInvalid, mode)
	}
	if err != nil {
		return err
	}
	if err := migrate(c, version); err != nil {
		return err
	}
	// Reads the log, so that its files are there to be remembered, and a damaged file is found now.
	_, err = number(c, "SELECT max(rec) FROM records")
	return err
}

// alone returns an error if another owner lives: it could not use what a migration makes of the database.
func (s *Store) alone() error {
	alive, err := s.anyAlive()
	if err == nil && alive {
		err = fmt.Errorf("%w: the ledger has to be migrated to schema version %d, and programs of an older version use it; end them first", ledger.ErrUnavailable, schema)
	}
	return err
}

// anyAlive reports whether any owner lives. Errors count only if none is found.
func (s *Store) anyAlive() (bool, error) {
	dir := s.place.real + ownersSuffix
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if !isSession(e.Name()) {
			continue
		}
		alive, perr := probe(filepath.Join(dir, e.Name()))
		if alive && perr == nil {
			return true, nil
		}
		err = errors.Join(err, perr)
	}
	return false, err
}

// patiently calls fn again while another program holds the database.
func (s *Store) patiently(ctx context.Context, fn func() error) error {
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := fn()
		if err == nil || !isBusy(err) || time.Since(start) >= s.opts.BusyTimeout {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
