package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/flock"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// fileStore is the simplest store that many processes can share: a JSON file,
// read and replaced whole under a file lock; an owner lives as long as it holds
// a lock of its own. The cases with several processes are tested on it.
type fileStore struct {
	dir     string
	session string
	alive   *flock.Flock
	broken  string // which promise it breaks, for the mutants

	mu     sync.Mutex // beside the file lock, which is the process's
	closed bool
}

// fileData is the file. Its records are those of recordjson, by ID.String.
type fileData struct {
	Version ledger.Version
	Records map[string]fileRecord
}

type fileRecord struct {
	Version ledger.Version
	Record  json.RawMessage
	Tally   ledger.Tally
}

func openFile(t testing.TB, dir string, broken string) *fileStore {
	f, err := os.CreateTemp(dir, "session-*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &fileStore{dir: dir, session: filepath.Base(f.Name()), alive: flock.New(f.Name()), broken: broken}
	if _, err := fmt.Fprint(f, os.Getpid()); err != nil { // for stopped
		t.Fatal(err)
	}
	if held, err := s.alive.TryLock(); err != nil || !held {
		t.Fatalf("lock of the session: held %t, error %v", held, err)
	}
	return s
}

func (s *fileStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.alive.Close()
}

// do runs f on the data, and writes them if f says so.
func (s *fileStore) do(ctx context.Context, f func(d *fileData) (write bool, err error)) error {
	if err := ctx.Err(); err != nil {
		return errors.Join(err, ledger.ErrNotWritten)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ledger.ErrClosed
	}
	lock := flock.New(filepath.Join(s.dir, "lock"))
	if s.broken != "no lock between processes" {
		if err := lock.Lock(); err != nil {
			return err
		}
	}
	defer lock.Close()
	path := filepath.Join(s.dir, "ledger.json")
	d := fileData{Records: map[string]fileRecord{}}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	write, err := f(&d)
	if err != nil || !write {
		return err
	}
	if text, err = json.Marshal(d); err != nil {
		return err
	}
	temp := filepath.Join(s.dir, s.session+".new")
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

func (s *fileStore) owns(session string) bool {
	switch {
	case session == "", s.broken == "paused is dead" && session != s.session && s.stopped(session):
		return false
	case session == s.session, s.broken == "the killed live on":
		return true
	}
	probe := flock.New(filepath.Join(s.dir, session))
	defer probe.Close()
	free, err := probe.TryLock()
	return err == nil && !free
}

// stopped is for the mutant that takes a pause for a death.
func (s *fileStore) stopped(session string) bool {
	pid, _ := os.ReadFile(filepath.Join(s.dir, session))
	stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(state, "T")
}

func (s *fileStore) read(d *fileData, id ledger.ID) (ledger.Record, error) {
	f, ok := d.Records[id.String()]
	if !ok {
		return ledger.Record{}, ledger.ErrNotFound
	}
	r, err := recordjson.Decode(id, f.Version, f.Record)
	r.Alive = r.State == ledger.StateRunning && s.owns(r.Owner.Session)
	r.AddTally(f.Tally)
	return r, err
}

func (d *fileData) put(r *ledger.Record) error {
	text, err := recordjson.Encode(r)
	d.Records[r.ID.String()] = fileRecord{r.Version, text, d.Records[r.ID.String()].Tally}
	return err
}

func (s *fileStore) Claim(ctx context.Context, c ledger.Claim) (r ledger.Record, won bool, err error) {
	if err := c.Validate(); err != nil {
		return r, false, err
	}
	err = s.do(ctx, func(d *fileData) (bool, error) {
		r, err = s.read(d, c.Next.ID)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return false, err
		}
		if won = r.Alive && r.Nonce == c.Next.Nonce; won || r.Version != c.Seen || r.Alive && !c.Steal {
			return false, nil
		}
		won = true
		d.Version++
		r = c.Next
		host, _ := os.Hostname()
		r.Version, r.Fence = d.Version, d.Version
		r.Owner.Session, r.Owner.Host, r.Owner.PID = s.session, host, os.Getpid()
		if err := d.put(&r); err != nil {
			return false, err
		}
		r, err = s.read(d, r.ID)
		return true, err
	})
	return r, won, err
}

func (s *fileStore) Finish(ctx context.Context, done ledger.Record) error {
	if err := done.Validate(); err != nil {
		return err
	}
	if done.State == ledger.StateRunning {
		return ledger.ErrInvalid
	}
	return s.do(ctx, func(d *fileData) (bool, error) {
		r, err := s.read(d, done.ID)
		stored := d.Records[done.ID.String()]
		switch {
		case errors.Is(err, ledger.ErrNotFound) && done.State == ledger.StateNone:
			return false, nil
		case errors.Is(err, ledger.ErrNotFound) || r.Fence != done.Fence || r.Nonce != done.Nonce:
			return false, ledger.ErrFenced
		case err != nil:
			return false, err
		case r.State != ledger.StateRunning:
			if text, err := recordjson.Encode(&done); err != nil || !bytes.Equal(text, stored.Record) {
				return false, errors.Join(err, ledger.ErrFenced)
			}
			return false, nil
		case done.State == ledger.StateNone:
			delete(d.Records, done.ID.String())
			return true, nil
		}
		d.Version++
		done.Version = d.Version
		return true, d.put(&done)
	})
}

func (s *fileStore) Tally(ctx context.Context, counts []ledger.Tally) error {
	for _, c := range counts {
		if err := c.ID.Validate(); err != nil {
			return err
		}
	}
	return s.do(ctx, func(d *fileData) (bool, error) {
		for _, c := range counts {
			f, ok := d.Records[c.ID.String()]
			if !ok && !c.ID.IsCounter() {
				continue
			}
			if !ok {
				if err := d.put(&ledger.Record{ID: c.ID}); err != nil {
					return false, err
				}
				f = d.Records[c.ID.String()]
			}
			f.Tally.Attempts += c.Attempts
			f.Tally.Executed += c.Executed
			f.Tally.Blocked += c.Blocked
			d.Records[c.ID.String()] = f
		}
		return true, nil
	})
}

func (s *fileStore) Get(ctx context.Context, id ledger.ID) (r ledger.Record, err error) {
	err = s.do(ctx, func(d *fileData) (bool, error) {
		r, err = s.read(d, id)
		return false, err
	})
	return r, err
}

func (s *fileStore) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		var all []ledger.Record // all in memory: it is for tests
		err := s.do(ctx, func(d *fileData) (bool, error) {
			for name := range d.Records {
				id, err := ledger.ParseID(name)
				if err != nil {
					return false, err
				}
				r, err := s.read(d, id)
				if err != nil {
					return false, err
				}
				if f.Match(&r) {
					all = append(all, r)
				}
			}
			return false, nil
		})
		slices.SortFunc(all, func(a, b ledger.Record) int { return a.ID.Compare(b.ID) })
		for i, r := range all {
			if f.Limit > 0 && i == f.Limit || !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(ledger.Record{}, err)
		}
	}
}

func (s *fileStore) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if err := id.Validate(); err != nil {
		return err
	}
	return s.do(ctx, func(d *fileData) (bool, error) {
		r, err := s.read(d, id)
		switch {
		case err != nil:
			return false, err
		case r.Alive:
			return false, ledger.ErrRunning
		case r.Version != seen:
			return false, ledger.ErrFenced
		}
		delete(d.Records, id.String())
		return true, nil
	})
}
