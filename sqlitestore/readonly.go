package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ledger-once/ledger"
)

// OpenReadOnly opens the database at path to look only: writes are refused with
// an error that matches [ledger.ErrUnavailable] and [ledger.ErrNotWritten]. It is no owner, takes no
// turns, and never creates the database. It tells who is alive like any other store.
//
// It works in a directory that can not be written to, as long as no writer crashed there: then the log
// has to be read in first, which needs the -shm file. It returns errors like [Open], and one that matches
// [ledger.ErrNotFound] if there is no file.
func OpenReadOnly(ctx context.Context, path string, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err == nil {
		var s *Store
		if s, err = openReadOnly(ctx, path, opts); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("sqlitestore: open %q read-only: %w", path, err)
}

func openReadOnly(ctx context.Context, path string, opts Options) (*Store, error) {
	real, err := locate(path)
	if err != nil {
		return nil, err
	}
	switch exists, empty, err := inspect(real); {
	case err != nil:
		return nil, notWritten(unavailable(real, err))
	case !exists:
		return nil, fmt.Errorf("%s: %w: no ledger is there; a program that uses it creates it", real, ledger.ErrNotFound)
	case empty:
		return nil, notWritten(fmt.Errorf("%s: %w: the file is empty; a program that uses it makes it a ledger", real, ledger.ErrInvalid))
	}
	s := newStore(real, opts)
	if s.place.stamp, err = stampOf(real); err != nil {
		return nil, notWritten(unavailable(real, err))
	}
	err = s.readers.use(ctx, s, func(*reader) error { return nil }) // looks at the schema
	if err != nil {
		if primary(err) == sqlite3.SQLITE_CANTOPEN || primary(err) == sqlite3.SQLITE_READONLY {
			_, werr := stampOf(real + "-wal")
			if _, serr := stampOf(real + "-shm"); werr == nil && errors.Is(serr, fs.ErrNotExist) {
				err = notWritten(fmt.Errorf("%w: %s: its log %s-wal has to be read in first, for which %s-shm is made, and that can not be made here; open the ledger once where its directory can be written, or copy it and its log to such a directory: %w",
					ledger.ErrUnavailable, real, real, real, err))
			}
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// readOnly is readWith for a store that only looks. A log means that writers are, or were,
// at work: then the files are shared with them. Without one the file is read as it stands, which leaves
// nothing behind in the directory, and read again if a writer came meanwhile.
func (s *Store) readOnly(c *reader, fn func(*reader) error) (*reader, error) {
	if c != nil { // open, and so the log stays
		if err := fn(c); err != nil {
			return nil, errors.Join(err, c.c.close())
		}
		return c, nil
	}
	for try := 0; ; try++ {
		_, err := stampOf(s.place.real + "-wal")
		frozen := errors.Is(err, fs.ErrNotExist)
		before, err := os.Stat(s.place.real)
		if err != nil {
			return nil, err
		}
		mode := url.Values{"mode": {"ro"}}
		if frozen {
			mode.Set("immutable", "1")
		}
		r, err := s.newReader(mode)
		if err == nil {
			err = fn(r)
		}
		if !frozen {
			if err != nil && r != nil {
				return nil, errors.Join(err, r.c.close())
			}
			return r, err
		}
		if r != nil {
			err = errors.Join(err, r.c.close())
		}
		_, logErr := stampOf(s.place.real + "-wal")
		after, statErr := os.Stat(s.place.real)
		if errors.Is(logErr, fs.ErrNotExist) && statErr == nil && unchanged(before, after) || try == 10 {
			return nil, err
		}
	}
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
