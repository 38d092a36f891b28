package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ledger-once/ledger"
)

// primary returns SQLite's primary result code of err, or 0.
func primary(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// spoils reports whether an error of one statement makes the whole transaction
// suspect, so that no neighbour may be tried again with it.
func spoils(err error) bool {
	switch primary(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}

func isBusy(err error) bool {
	code := primary(err)
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

// advice says what a person can do about err.
func advice(err error) string {
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		return "the disk is full; free some space, nothing else needs repair"
	case sqlite3.SQLITE_IOERR:
		return "the disk or file system failed; check its log (dmesg), and free space if it is full"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return "the file can not be written; make it and its directory writable for this user, or open it read-only"
	case sqlite3.SQLITE_CANTOPEN:
		return "the file can not be opened; check the permissions of the file, of its directory and of its -wal and -shm files"
	case sqlite3.SQLITE_CORRUPT:
		return "the database is corrupt; stop its users, run `PRAGMA integrity_check`, restore a backup together with its -wal file"
	case sqlite3.SQLITE_NOTADB:
		return "the file is no SQLite database; name another file"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return "the database is locked by another program; end its transaction or close it"
	case sqlite3.SQLITE_NOMEM:
		return "out of memory"
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "make the file and its directory writable for this user, or open it read-only"
	case errors.Is(err, syscall.EROFS):
		return "the file system is mounted read-only; remount it, or open the ledger read-only"
	case errors.Is(err, syscall.ENOTDIR):
		return "a part of the path is a file, not a directory; correct the path"
	case errors.Is(err, syscall.EISDIR):
		return "a directory is where a file must be; remove it, or name another database"
	case errors.Is(err, fs.ErrNotExist):
		return "create the directory first, or name another file"
	}
	return ""
}

// unavailable says that the store at path can not be used. An error made by it alone is
// ambiguous; see notWritten.
func unavailable(path string, err error) error {
	if errors.Is(err, ledger.ErrUnavailable) {
		return err
	}
	if hint := advice(err); hint != "" {
		return fmt.Errorf("%w: %s: %s: %w", ledger.ErrUnavailable, path, hint, err)
	}
	return fmt.Errorf("%w: %s: %w", ledger.ErrUnavailable, path, err)
}

// notWritten marks an error after which nothing was written and nothing will be.
func notWritten(err error) error {
	if errors.Is(err, ledger.ErrNotWritten) || errors.Is(err, ledger.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, ledger.ErrNotWritten)
}
