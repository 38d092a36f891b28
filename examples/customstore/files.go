package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
)

// schema is what the files are written in; those of another are refused, and not guessed.
const schema = 1

// A Store is one owner on a directory:
//
//	lock           locked by whoever reads or writes
//	head.json      the schema, and the version that was given last
//	records/HASH   a record with its counts
//	owners/ID      locked for as long as that owner lives: the kernel frees it when its process dies, however it dies
type Store struct {
	dir, session, host string

	turn   chan struct{} // beside the lock, which is one for all of this store
	lock   *flock.Flock
	alive  *flock.Flock
	closed bool

	volatile bool // leaves out the syncs, for tests that kill processes and not the machine
}

// A head outlives all records: so a version does not return where the last record is removed.
type head struct {
	Schema  int
	Version ledger.Version
}

// A file is a record as it is stored, and its counts.
type file struct {
	Record                      ledger.Record
	Attempts, Executed, Blocked int64
}

// Open opens one more owner on the directory, which is made if there is none.
func Open(ctx context.Context, dir string) (*Store, error) {
	for _, d := range []string{"records", "owners"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, session: uuid.NewString(), host: host, turn: make(chan struct{}, 1)}
	s.lock = flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	s.alive = flock.New(s.owner(s.session), flock.SetPermissions(0o600))
	err = s.do(ctx, "open", ledger.ID{}, func() error {
		if _, err := s.head(); err != nil {
			return err
		}
		if err := s.sweep(); err != nil {
			return err
		}
		_, err := s.alive.TryLock() // nobody else knows the name
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the owner: what it has claimed can be taken over.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.alive.Close()
	if gone := os.Remove(s.owner(s.session)); !errors.Is(gone, os.ErrNotExist) { // another may have swept it already
		err = errors.Join(err, gone)
	}
	return err
}

// do runs f while nobody else is in it, in this process or in another. Where it does not get that far, nothing was
// written; where f fails, nobody knows, and the error is left open to that.
func (s *Store) do(ctx context.Context, what string, id ledger.ID, f func() error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("files: %s %s: %w", what, id, err)
		}
	}()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), ledger.ErrNotWritten)
	}
	if s.closed {
		return ledger.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", err, ledger.ErrNotWritten)
	}
	if _, err := s.lock.TryLockContext(ctx, time.Millisecond); err != nil {
		return fmt.Errorf("%w: %w: %w", ledger.ErrUnavailable, err, ledger.ErrNotWritten)
	}
	defer func() { err = errors.Join(err, s.lock.Unlock()) }()
	return f()
}

func (s *Store) owner(session string) string { return filepath.Join(s.dir, "owners", session) }

// lives reports whether the owner's file is locked. It asks for a shared lock, so that two that ask do not take each
// other for the owner.
func (s *Store) lives(session string) bool {
	if session == s.session {
		return true
	}
	probe := flock.New(s.owner(session), flock.SetFlag(os.O_RDONLY))
	defer probe.Close()
	free, err := probe.TryRLock()
	if errors.Is(err, os.ErrNotExist) {
		return false // closed, or swept
	}
	return err != nil || !free // what is not known may live
}

// sweep removes what killed owners have left.
func (s *Store) sweep() error {
	owners, err := os.ReadDir(filepath.Join(s.dir, "owners"))
	for _, o := range owners {
		if !s.lives(o.Name()) {
			err = errors.Join(err, os.Remove(s.owner(o.Name())))
		}
	}
	return err
}

func (s *Store) head() (head, error) {
	h := head{Schema: schema}
	text, err := os.ReadFile(filepath.Join(s.dir, "head.json"))
	if errors.Is(err, os.ErrNotExist) {
		return h, nil // new
	}
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err == nil && h.Schema != schema {
		err = fmt.Errorf("%w: %s has schema %d, and this program knows %d; upgrade it", ledger.ErrInvalid, s.dir, h.Schema, schema)
	}
	return h, err
}

// next returns what is stored of r, under a version that is greater than all before, whatever becomes of it.
func (s *Store) next(r ledger.Record) (ledger.Record, error) {
	h, err := s.head()
	if err != nil {
		return r, err
	}
	h.Version++
	r = stored(r)
	r.Version = h.Version
	return r, s.replace(filepath.Join(s.dir, "head.json"), h)
}

// path is of a hash: workflow and tool may be longer than a file's name, hold slashes, and differ in case only.
func (s *Store) path(id ledger.ID) string {
	return filepath.Join(s.dir, "records", fmt.Sprintf("%x", sha256.Sum256([]byte(id.String()))))
}

func (s *Store) read(id ledger.ID) (file, error) { return readFile(s.path(id)) }

func readFile(path string) (f file, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, ledger.ErrNotFound
	}
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

func (s *Store) write(f file) error { return s.replace(s.path(f.Record.ID), f) }

func (s *Store) remove(id ledger.ID) error {
	return errors.Join(os.Remove(s.path(id)), syncDir(filepath.Dir(s.path(id))))
}

// stored leaves out what is filled in on reading, and cuts times to what a record promises. It changes nothing that r shares.
func stored(r ledger.Record) ledger.Record {
	r.Alive, r.Attempts, r.Blocked = false, 0, 0
	cut := func(t *time.Time) { *t = t.UTC().Truncate(time.Microsecond) }
	for _, t := range []*time.Time{&r.Created, &r.Started, &r.Finished, &r.Succeeded} {
		cut(t)
	}
	if r.Settled != nil {
		settled := *r.Settled
		cut(&settled.At)
		r.Settled = &settled
	}
	r.Log = slices.Clone(r.Log)
	for i := range r.Log {
		cut(&r.Log[i].Started)
		cut(&r.Log[i].Ended)
	}
	return r
}

// show fills it in.
func (s *Store) show(f file) ledger.Record {
	r := f.Record
	r.Alive = r.State == ledger.StateRunning && s.lives(r.Owner.Session)
	r.AddTally(ledger.Tally{Attempts: f.Attempts, Executed: f.Executed, Blocked: f.Blocked})
	return r
}

// ids are those of all records that f may select.
func (s *Store) ids(ctx context.Context, f *ledger.Filter) (ids []ledger.ID, err error) {
	err = s.do(ctx, "list", ledger.ID{}, func() error {
		names, err := os.ReadDir(filepath.Join(s.dir, "records"))
		for _, name := range names {
			stored, err := readFile(filepath.Join(s.dir, "records", name.Name()))
			if err != nil {
				return err
			}
			if r := s.show(stored); f.Match(&r) {
				ids = append(ids, r.ID)
			}
		}
		return err
	})
	return ids, err
}

// replace writes v to the file, all or nothing, and for good: a claim that a power cut forgets is an effect that happens twice.
func (s *Store) replace(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temp, err := os.OpenFile(filepath.Join(s.dir, "new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	if err == nil && !s.volatile {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return s.sync(filepath.Dir(path))
}

// sync makes the names in the directory last.
func (s *Store) sync(dir string) error {
	if s.volatile {
		return nil
	}
	return syncDir(dir)
}
