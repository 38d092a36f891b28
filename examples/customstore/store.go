package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/ledger-once/ledger"
)

// Claim compares and writes in one step: nobody else is within do meanwhile. On Redis that is one script, in SQL one
// transaction.
func (s *Store) Claim(ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	if err := c.Validate(); err != nil {
		return ledger.Record{}, false, err
	}
	var standing ledger.Record
	won := false
	err := s.do(ctx, "claim", c.Next.ID, func() error {
		f, err := s.read(c.Next.ID)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
		standing = s.show(f) // zero, if there is none
		if standing.Alive && standing.Nonce == c.Next.Nonce {
			won = true // sent again, because the answer was lost
			return nil
		}
		if standing.Version != c.Seen || standing.Alive && !c.Steal {
			return nil
		}
		if f.Record, err = s.next(c.Next); err != nil {
			return err
		}
		f.Record.Fence = f.Record.Version
		f.Record.Owner.Session, f.Record.Owner.Host, f.Record.Owner.PID = s.session, s.host, os.Getpid()
		won, standing = true, s.show(f)
		return s.write(f)
	})
	if err != nil {
		return ledger.Record{}, false, err
	}
	return standing, won, nil
}

// Finish asks nobody who is alive: the fence alone tells whether the claim still stands.
func (s *Store) Finish(ctx context.Context, done ledger.Record) error {
	if err := done.Validate(); err != nil {
		return err
	}
	if done.State == ledger.StateRunning {
		return fmt.Errorf("%w: a finish can not write a running record: %w", ledger.ErrInvalid, ledger.ErrNotWritten)
	}
	return s.do(ctx, "finish", done.ID, func() error {
		f, err := s.read(done.ID)
		switch {
		case errors.Is(err, ledger.ErrNotFound) && done.State == ledger.StateNone:
			return nil // removed already
		case errors.Is(err, ledger.ErrNotFound):
			return ledger.ErrFenced
		case err != nil:
			return err
		case f.Record.Fence != done.Fence || f.Record.Nonce != done.Nonce:
			return ledger.ErrFenced
		case f.Record.State != ledger.StateRunning:
			if again, err := sameBut(f.Record, done); err != nil || again {
				return err
			}
			return ledger.ErrFenced
		case done.State == ledger.StateNone:
			return s.remove(done.ID)
		}
		if f.Record, err = s.next(done); err != nil {
			return err
		}
		return s.write(f)
	})
}

// sameBut reports whether the finish that stands is done, sent again: the same but for what the store sets.
func sameBut(standing, done ledger.Record) (bool, error) {
	done.Version = standing.Version
	a, err := json.Marshal(stored(standing))
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(stored(done))
	return bytes.Equal(a, b), err
}

// Tally keeps the counts beside the record: a claim that overwrites the record must not lose those of others.
func (s *Store) Tally(ctx context.Context, counts []ledger.Tally) error {
	for _, c := range counts {
		if err := c.ID.Validate(); err != nil {
			return err
		}
	}
	for _, c := range counts {
		err := s.do(ctx, "tally", c.ID, func() error {
			f, err := s.read(c.ID)
			switch {
			case errors.Is(err, ledger.ErrNotFound) && c.ID.IsCounter():
				f.Record.ID = c.ID // of a tool that is Unlimited
			case errors.Is(err, ledger.ErrNotFound):
				return nil // the record is gone, and its counts with it
			case err != nil:
				return err
			}
			f.Attempts += c.Attempts
			f.Executed += c.Executed
			f.Blocked += c.Blocked
			return s.write(f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Get returns the record as it stands, with what is known on reading only.
func (s *Store) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	var r ledger.Record
	err := s.do(ctx, "get", id, func() error {
		f, err := s.read(id)
		r = s.show(f)
		return err
	})
	return r, err
}

// List yields in the order of IDs, which the files do not have: it reads all of them. A database has an index.
func (s *Store) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		ids, err := s.ids(ctx, &f)
		if err != nil {
			yield(ledger.Record{}, err)
			return
		}
		slices.SortFunc(ids, ledger.ID.Compare)
		yielded := 0
		for _, id := range ids { // nobody waits for whoever takes the records from here
			r, err := s.Get(ctx, id)
			switch {
			case errors.Is(err, ledger.ErrNotFound) || err == nil && !f.Match(&r):
				continue // it was removed or changed meanwhile
			case err != nil:
				yield(ledger.Record{}, err)
				return
			}
			if yielded++; !yield(r, nil) || yielded == f.Limit {
				return
			}
		}
	}
}

// Delete removes a record only in the version that its caller has seen, and never one that runs.
func (s *Store) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if err := id.Validate(); err != nil {
		return err
	}
	return s.do(ctx, "delete", id, func() error {
		f, err := s.read(id)
		r := s.show(f)
		switch {
		case err != nil:
			return err
		case r.Alive:
			return ledger.ErrRunning
		case r.Version != seen:
			return ledger.ErrFenced
		}
		return s.remove(id)
	})
}

var _ ledger.Store = (*Store)(nil)
