package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ledger-once/ledger"
)

// A place is where a database lives: the real path of its file, symbolic links
// resolved, so that all of its names share one set of locks.
type place struct {
	real  string
	stamp stamp // of the open file
	wal   stamp // of its write-ahead log
	shm   stamp

	largest atomic.Int64 // size of the database that was seen, in bytes

	// keeper is a connection that does nothing. SQLite removes the log with the last connection; so it stays the
	// same while the store is open, whatever becomes of the others. The stamps are written before it is, and never again.
	keeper *conn

	// sign is the log, opened beside SQLite and locked shared: it tells that a store lives by the log itself, under
	// whatever name. SQLite locks the log never, so closing it drops no lock. Nil on Windows, which renames no open file.
	sign *os.File
}

const (
	lockSuffix   = ".lock"   // whose turn it is to write
	ownersSuffix = ".owners" // a directory; each live owner holds a lock on its file in it
)

// resolve finds the real path, also of a file that is still to be created, by
// way of a dangling link too. It follows names as the kernel does: the directory first, with all its
// links, then the name in it. So nothing may clean the path before: in "link/.." the link counts.
func resolve(path string) (string, error) {
	switch {
	case path == "":
		path = "ledger.db"
	case path == ":memory:" || strings.HasPrefix(path, "file:"):
		return "", fmt.Errorf("%w: %q names no file; give the path of one (for a store in memory use ledger.NewMemory)", ledger.ErrInvalid, path)
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("%w: the path %q holds a zero byte", ledger.ErrInvalid, path)
	}
	at, err := absolute(path)
	if err != nil {
		return "", err
	}
	link := ""
	for range 40 { // as many links as Linux follows
		dir, name := filepath.Split(at)
		if name == "" || name == "." || name == ".." {
			return "", fmt.Errorf("%w: %s names a directory; name a file in it, such as %s", ledger.ErrInvalid, at, filepath.Join(at, "ledger.db"))
		}
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			if link != "" {
				return "", fmt.Errorf("%w: the symbolic link %s leads to %s, whose directory can not be found; create it, or correct the link: %w", ledger.ErrUnavailable, link, at, err)
			}
			return "", err
		}
		real := filepath.Join(dir, name)
		target, err := os.Readlink(real)
		if err != nil { // no link, or nothing there yet
			return real, nil
		}
		if link = real; !filepath.IsAbs(target) {
			target = dir + string(filepath.Separator) + target
		}
		at = target
	}
	return "", fmt.Errorf("%w: %s: too many symbolic links", ledger.ErrInvalid, path)
}

// absolute is filepath.Abs without its Clean, save on Windows, whose kernel cleans too.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	if runtime.GOOS == "windows" {
		return filepath.Abs(path)
	}
	dir, err := os.Getwd()
	return dir + string(filepath.Separator) + path, err
}

// inspect refuses what can be told to be no place for a database. It reports
// whether the file exists, and whether it is empty.
func inspect(real string) (exists, empty bool, err error) {
	if name := networkFSOf(filepath.Dir(real)); name != "" {
		return false, false, fmt.Errorf("%w: the file is on %s, a network file system, where locks do not tell reliably who is alive; move it to a local disk", ledger.ErrInvalid, name)
	}
	info, err := os.Lstat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	case info.IsDir():
		return false, false, fmt.Errorf("%w: it is a directory; name a file in it, such as %s", ledger.ErrInvalid, filepath.Join(real, "ledger.db"))
	case !info.Mode().IsRegular():
		return false, false, fmt.Errorf("%w: it is no regular file (%s); name another file", ledger.ErrInvalid, info.Mode())
	}
	for _, suffix := range []string{"-wal", "-shm", lockSuffix} {
		if beside, err := os.Lstat(real + suffix); err == nil && !beside.Mode().IsRegular() {
			return false, false, fmt.Errorf("%w: %s must be a regular file, and is none (%s); remove it, or name another database", ledger.ErrInvalid, real+suffix, beside.Mode())
		}
	}
	if beside, err := os.Stat(real + ownersSuffix); err == nil && !beside.IsDir() {
		return false, false, fmt.Errorf("%w: %s must be a directory, and is none (%s); remove it, or name another database", ledger.ErrInvalid, real+ownersSuffix, beside.Mode())
	}
	if info.Size() > 0 && info.Size() < minBytes {
		return false, false, fmt.Errorf("%w: the file is no SQLite database; name another file", ledger.ErrInvalid)
	}
	st, err := stampOf(real)
	switch {
	case err != nil:
	case st.links > 1:
		err = errHardLinked
	case st.mount || mountPoint(real):
		err = errMounted
	}
	return true, info.Size() == 0, err
}

// minBytes is SQLite's smallest page; a database has one at least.
const minBytes = 512

var errHardLinked = fmt.Errorf("%w: the file has several hard links, and its other names would not share its locks; remove them, or use a symbolic link", ledger.ErrInvalid)

var errMounted = fmt.Errorf("%w: the file itself is a mount point (docker -v FILE:FILE), and its other names would not share its log and locks; mount its directory instead", ledger.ErrInvalid)

// create makes the file, empty and for this user only. The caller holds the turn: no
// store of this process has it open.
func create(real string) error {
	f, err := os.OpenFile(real, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(f.Chmod(0o600), f.Close()); err != nil { // whatever the umask took away
		return err
	}
	return syncDir(filepath.Dir(real))
}

// connect opens a connection to the database.
func (p *place) connect(mode url.Values, pragmas ...string) (*conn, error) {
	c, err := openConn(p.real, mode, pragmas...)
	if err == nil && p.keeper != nil {
		c.place = p
	}
	return c, err
}

// hold keeps the files that the first connection opened, and remembers which they are.
func (p *place) hold() error {
	c, err := p.connect(url.Values{"mode": {"rw"}}, "busy_timeout = 1000", "query_only = ON")
	if err != nil {
		return err
	}
	if _, err = schemaOf(c); err == nil { // the first read takes SQLite's lock
		err = p.mark()
	}
	if err != nil {
		return errors.Join(err, c.close())
	}
	c.place = p
	p.keeper = c
	opened.Store(p, nil)
	return nil
}

// opened holds the places that this process has open, and those whose connections were leaked: SQLite has one index of
// the log for each database and process, found by the inode of the database. So it can not open a database rightly whose log
// was replaced, as long as there are connections to it from before.
var opened sync.Map // of *place

// usable returns an error if the file can not be opened in this process any more.
func (p *place) usable() (err error) {
	st, err := stampOf(p.real)
	if err != nil {
		return err
	}
	opened.Range(func(key, _ any) bool {
		if other := key.(*place); other.stamp.same(st) && other.foul() {
			err = p.gone("its files were replaced while this process had it open; end the process, then start it again")
		}
		return err == nil
	})
	return err
}

// show locks the sign. It reports whether others have locked it too.
func (p *place) show() (others bool, err error) {
	if p.sign == nil {
		if p.sign, err = os.Open(p.real + "-wal"); err != nil {
			return false, err
		}
	}
	alone, err := tryLock(p.sign, true)
	if err != nil {
		return false, err
	}
	// From exclusive to shared it may be free for a moment, in the turn of this store.
	ok, err := tryLock(p.sign, false)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s is locked by another program; end it", ledger.ErrUnavailable, p.sign.Name())
	}
	return !alone, err
}

// release closes the last connection.
func (p *place) release() error {
	if p.sign != nil {
		_ = p.sign.Close()
	}
	if p.keeper == nil {
		return nil
	}
	if !p.foul() {
		opened.Delete(p)
	}
	return p.keeper.close()
}

// foul reports whether closing a connection could do harm: the last one writes the log into the
// database and removes it, by name. If others have put a database or a log there meanwhile, theirs would be lost.
// Where the log is only missing, nobody has opened the database since (it would be there again, and stay, because
// we have the database open): then closing saves what we wrote.
func (p *place) foul() bool {
	if p.keeper == nil {
		return false // a store that only looks, or one that is just opened
	}
	if p.check() != nil {
		return true
	}
	for _, file := range p.log() {
		if st, err := stampOf(file.path); !errors.Is(err, fs.ErrNotExist) && (err != nil || !st.same(file.want)) {
			return true
		}
	}
	return false
}

type logFile struct {
	path string
	want stamp
}

func (p *place) log() [2]logFile {
	return [2]logFile{{p.real + "-wal", p.wal}, {p.real + "-shm", p.shm}}
}

func (p *place) mark() (err error) {
	if p.stamp, err = stampOf(p.real); err != nil {
		return err
	}
	if p.wal, err = stampOf(p.real + "-wal"); err != nil {
		return err
	}
	p.shm, err = stampOf(p.real + "-shm")
	return err
}

// check returns an error unless the path still names the open database.
func (p *place) check() error {
	largest := p.largest.Load() // before the look: others see it grow meanwhile
	st, err := stampOf(p.real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.gone("the database was deleted while it was open; put it back, or open the store again to begin a new one, which knows nothing of the calls before")
	case err != nil:
		return unavailable(p.real, err)
	case !st.same(p.stamp):
		return p.gone("another file was put in the place of the open database; open the store again")
	case st.size < minBytes:
		return p.gone("the database was truncated while it was open; restore a backup")
	case st.size < largest: // SQLite makes it smaller in a VACUUM only
		return p.gone("the database shrank while it was open: an older copy was written over it, or VACUUM ran; end all programs that use it, remove its -wal and -shm files if it is a copy, then start them again")
	case st.links > 1:
		return unavailable(p.real, errHardLinked)
	case st.mount:
		return unavailable(p.real, errMounted)
	}
	p.grew(st.size)
	return nil
}

// grew remembers the greatest size that was seen.
func (p *place) grew(size int64) {
	for largest := p.largest.Load(); size > largest; largest = p.largest.Load() {
		if p.largest.CompareAndSwap(largest, size) {
			return
		}
	}
}

// checkLog is check for the files that every write needs too. SQLite keeps
// them while a connection is open; without them other processes begin new ones and both lose writes.
func (p *place) checkLog() error {
	for _, file := range p.log() {
		switch st, err := stampOf(file.path); {
		case errors.Is(err, fs.ErrNotExist):
			return p.gone(filepath.Base(file.path) + " was deleted while the database was open; close all stores of this database, which saves what they wrote, then open them again")
		case err != nil:
			return unavailable(file.path, err)
		case !st.same(file.want):
			return p.gone(filepath.Base(file.path) + " was replaced while the database was open; end all programs that use this database, then start them again")
		}
	}
	return nil
}

func (p *place) gone(what string) error {
	return fmt.Errorf("%w: %s: %s", ledger.ErrUnavailable, p.real, what)
}

// openPrivate opens a lock file, made for this user only whatever the umask.
func openPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	if err == nil {
		err = f.Chmod(0o600)
	}
	return f, err
}
