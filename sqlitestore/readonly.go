package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

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
		if _, derr := os.Stat(filepath.Dir(path)); errors.Is(derr, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w: no ledger is there, nor the directory; name another file", path, ledger.ErrNotFound)
		}
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
// nothing behind in the directory, and read again if a writer came meanwhile. The connection is kept, for the
// next page of a listing, as long as none came.
func (s *Store) readOnly(r *reader, fn func(*reader) error) (*reader, error) {
	for try := 0; ; try++ {
		if r != nil && r.frozen != nil && !s.stands(r.frozen) {
			if err := r.c.close(); err != nil {
				return nil, err
			}
			r = nil
		}
		var err error
		if r == nil {
			var frozen os.FileInfo
			if r, frozen, err = s.newLooker(); r == nil {
				if frozen != nil && try < 10 && !s.stands(frozen) {
					continue
				}
				return nil, err
			}
		}
		if err = fn(r); r.frozen == nil { // shared with writers: it is open, and so the log stays
			if err != nil {
				return nil, errors.Join(err, r.c.close())
			}
			return r, nil
		}
		switch {
		case try < 10 && !s.stands(r.frozen):
			continue
		case err != nil:
			return nil, errors.Join(err, r.c.close())
		}
		return r, err
	}
}

// newLooker opens a connection. frozen is the file as it was before, if there was no log.
func (s *Store) newLooker() (r *reader, frozen os.FileInfo, err error) {
	mode := url.Values{"mode": {"ro"}}
	if _, err := stampOf(s.place.real + "-wal"); errors.Is(err, fs.ErrNotExist) {
		mode.Set("immutable", "1")
		if frozen, err = os.Stat(s.place.real); err != nil {
			return nil, nil, err
		}
	}
	if r, err = s.newReader(mode); r != nil {
		r.frozen = frozen
	}
	return r, frozen, err
}

// stands reports whether the file still is as before, and nobody writes.
func (s *Store) stands(before os.FileInfo) bool {
	_, err := stampOf(s.place.real + "-wal")
	after, serr := os.Stat(s.place.real)
	return errors.Is(err, fs.ErrNotExist) && serr == nil && unchanged(before, after)
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
