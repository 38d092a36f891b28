package sqlitestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// An owner is one open store, alive as long as the kernel keeps its lock on its
// file. The file is locked before it gets its name, and never again: so a named file that can be
// locked shows a dead owner, for good, and a shared lock proves it. Probes take shared locks, which do
// not exclude each other: no probe can take another one for a living owner.
type owner struct {
	dir     string
	session string
	info    []byte

	mu  sync.Mutex
	f   *os.File
	id  stamp      // of f
	old []*os.File // files that lost their name to f, still locked: somebody may move one back

	born time.Time    // with the monotonic clock's reading
	lost atomic.Int64 // when the file was last found missing, in nanoseconds since born; 0: never

	ended chan struct{}
	watch sync.WaitGroup
}

const (
	// lookAfter is how often an owner that writes nothing looks after its file.
	lookAfter = 500 * time.Millisecond
	// benefit is for how long after an owner missed its own file it calls nobody dead for want of one: whoever removed
	// it may have removed the others', and their owners make them anew within lookAfter.
	benefit = 4 * lookAfter
	// maxOld bounds owner.old.
	maxOld = 16
)

// ownerInfo is the content of an owner's file.
type ownerInfo struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// unnamed begins the name of a file that is not locked yet.
const unnamed = ".new-"

func newOwner(dir string) (*owner, ownerInfo, error) {
	host, _ := os.Hostname() // a label only; "" will do
	info := ownerInfo{host, os.Getpid(), time.Now().UTC().Truncate(time.Microsecond)}
	text, err := json.Marshal(info)
	if err != nil {
		return nil, info, err // unreachable: the struct has a JSON form
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		err = os.Chmod(dir, 0o700)
		if err != nil {
			return nil, info, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, info, err
	}
	o := &owner{dir: dir, session: uuid.NewString(), info: append(text, '\n'), born: time.Now(), ended: make(chan struct{})}
	if o.f, err = o.make(); err != nil {
		return nil, info, err
	}
	if o.id, err = stampOf(o.path()); err != nil {
		return nil, info, errors.Join(err, os.Remove(o.path()), o.f.Close())
	}
	return o, info, nil
}

// look keeps the file of an owner that does not write for long, until it ends.
func (o *owner) look(log *slog.Logger) {
	o.watch.Go(func() {
		tick := time.NewTicker(lookAfter)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if lost, err := o.keep(); lost {
					log.Warn("sqlitestore: the owner file was deleted or moved; for a moment others could take this process for dead, and its running calls over",
						"file", o.path(), "error", err)
				}
			case <-o.ended:
				return
			}
		}
	})
}

// make creates the owner's file, locked.
func (o *owner) make() (*os.File, error) {
	temp := filepath.Join(o.dir, unnamed+uuid.NewString())
	if runtime.GOOS == "windows" { // which renames no open file; nobody asks for a session before its first claim
		temp = o.path()
	}
	f, err := openPrivate(temp)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f, true)
	if err == nil && !ok {
		err = fmt.Errorf("%s is locked already", temp)
	}
	if err == nil {
		_, err = f.Write(o.info)
	}
	if failpoint.On {
		failpoint.Hit(failpoint.SQLiteOwnerLocked)
	}
	if err == nil && temp != o.path() {
		err = os.Rename(temp, o.path())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(temp))
	}
	return f, nil
}

func (o *owner) path() string { return filepath.Join(o.dir, o.session) }

// keep makes the file anew if somebody deleted or moved it: without it the owner would
// look dead. It reports whether that was so.
func (o *owner) keep() (lost bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if runtime.GOOS == "windows" { // which lets nobody delete or move an open file
		return false, nil
	}
	st, err := stampOf(o.path())
	if err == nil && st.same(o.id) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if failpoint.On {
		failpoint.Hit(failpoint.SQLiteOwnerHealing)
	}
	o.lost.Store(int64(time.Since(o.born)))
	if err := os.Mkdir(o.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return true, err
	}
	f, err := o.make()
	if err != nil {
		return true, err
	}
	if hasName(o.f) && len(o.old) < maxOld {
		o.old = append(o.old, o.f)
	} else {
		_ = o.f.Close()
	}
	o.f = f
	o.id, err = stampOf(o.path())
	return true, err
}

// end removes the file, then releases the lock; on Windows in the other order: what is unlocked is dead as well.
func (o *owner) end() error {
	close(o.ended)
	o.watch.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.old {
		_ = f.Close()
	}
	var err error
	if runtime.GOOS == "windows" { // which removes no open file
		err = o.f.Close()
	}
	if rerr := os.Remove(o.path()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if runtime.GOOS != "windows" {
		err = errors.Join(err, o.f.Close())
	}
	return err
}

// probe reports whether the owner of the file lives. A file that is not there is a dead
// owner's; an error is not: nobody is called dead for want of a descriptor.
func probe(path string) (alive bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	free, err := tryLock(f, false)
	return !free, errors.Join(err, f.Close())
}

// sweep removes the files of dead owners, and nothing else.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir) // what stays is swept another time
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		fresh := strings.HasPrefix(e.Name(), unnamed)
		if !fresh && !isSession(e.Name()) || !e.Type().IsRegular() {
			continue // somebody else's
		}
		if fresh {
			// It may be between its creation and its lock: that took ten seconds for none.
			if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < 10*time.Second {
				continue
			}
		}
		if alive, err := probe(path); err == nil && !alive {
			_ = os.Remove(path)
		}
	}
}

// A census remembers who lives, for as long as one listing or batch takes.
type census struct {
	dir  string
	self string
	seen map[string]bool
	mild bool // an owner without a file may live
}

func (s *Store) census() census {
	c := census{dir: s.place.real + ownersSuffix}
	if s.owner != nil {
		c.self = s.owner.session
		lost := time.Duration(s.owner.lost.Load())
		c.mild = lost > 0 && time.Since(s.owner.born)-lost < benefit
	}
	return c
}

// alive reports whether session lives.
func (c *census) alive(session string) (bool, error) {
	if session == c.self && session != "" {
		return true, nil
	}
	if !isSession(session) {
		return false, nil // not one of this store's: never a path
	}
	if alive, ok := c.seen[session]; ok {
		return alive, nil
	}
	path := filepath.Join(c.dir, session)
	alive, err := probe(path)
	if err == nil && !alive && c.mild {
		_, err := stampOf(path)
		alive = errors.Is(err, fs.ErrNotExist)
	}
	if err != nil {
		return false, fmt.Errorf("is the owner %s alive? %w", session, err)
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	c.seen[session] = alive
	return alive, nil
}

func isSession(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// Sessions returns the living owners, oldest first, and those dead ones whose
// files nobody has removed yet.
func (s *Store) Sessions(ctx context.Context) ([]ledger.Session, error) {
	if err := s.usable(ctx); err != nil {
		return nil, fmt.Errorf("sqlitestore: sessions: %w", err)
	}
	c := s.census()
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sqlitestore: sessions: %w", unavailable(s.place.real, err))
	}
	var all []ledger.Session
	for _, e := range entries {
		if !isSession(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(c.dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended since
		}
		var info ownerInfo
		if err == nil {
			err = json.Unmarshal(text, &info)
		}
		alive, perr := c.alive(e.Name())
		if err = errors.Join(err, perr); err != nil {
			return nil, fmt.Errorf("sqlitestore: sessions: %w", unavailable(s.place.real, err))
		}
		all = append(all, ledger.Session{ID: e.Name(), Host: info.Host, PID: info.PID, Started: info.Started, Alive: alive})
	}
	slices.SortFunc(all, func(a, b ledger.Session) int { return a.Started.Compare(b.Started) })
	return all, nil
}

// OwnerFile returns the open file whose lock keeps this store's claims alive, nil if
// it was opened read-only. A child process that inherits it (exec.Cmd.ExtraFiles) keeps them alive until it
// ends, even if this process dies before. Do not close it.
func (s *Store) OwnerFile() *os.File {
	if s.owner == nil {
		return nil
	}
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	return s.owner.f
}
