package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/ledger-once/ledger"
)

// Await implements [ledger.Watcher]. A write by this store wakes it at once, one by
// another process or store within Options.PollMax, and the death of the owner within 150 ms or so.
func (s *Store) Await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if err := s.await(ctx, id, int64(seen)); err != nil {
		return fmt.Errorf("sqlitestore: await %s: %w", id, err)
	}
	return nil
}

func (s *Store) await(ctx context.Context, id ledger.ID, seen int64) error {
	r, err := s.read(ctx, id)
	if err != nil || !r.found || r.version != seen || !r.alive {
		return err
	}
	if err := s.join(ctx, false); err != nil {
		return err
	}
	defer s.hub.leave(false)
	for {
		w := &waiter{rec: r.rec, owner: r.owner, woken: make(chan struct{})}
		s.hub.add(w)
		// Again: from here on nothing is missed.
		r, err = s.read(ctx, id)
		if err != nil || !r.found || r.version != seen || !r.alive {
			s.hub.drop(w)
			return err
		}
		select {
		case <-w.woken:
		case <-ctx.Done():
			err = notWritten(ctx.Err())
		case <-s.closing:
			err = ledger.ErrClosed
		}
		s.hub.drop(w)
		if err != nil {
			return err
		}
	}
}

// Watch implements [ledger.Watcher]. What other processes write is told within Options.PollMax, to a watch of
// notices within ten times that. Writes of one record are gathered while the caller is busy; one that lags by
// more than 65,536 versions gets a ChangeSync.
func (s *Store) Watch(ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	return func(yield func(ledger.Change, error) bool) {
		err := s.watch(ctx, &o, func(c ledger.Change) bool { return yield(c, nil) })
		if err != nil {
			yield(ledger.Change{}, fmt.Errorf("sqlitestore: watch: %w", err))
		}
	}
}

// watch returns nil when yield wants no more.
func (s *Store) watch(ctx context.Context, o *ledger.WatchOptions, yield func(ledger.Change) bool) error {
	if err := s.join(ctx, o.Notices); err != nil {
		return err
	}
	defer s.hub.leave(o.Notices)
	last, err := s.lastVersion(ctx)
	if err != nil {
		return err
	}
	cursor := position{last, 0}
	if !yield(ledger.Change{Kind: ledger.ChangeSync}) {
		return nil
	}
	for {
		changed, bell := s.hub.changes(), s.hub.bell()
		if o.Notices {
			changed = bell.rung
		}
		changes, upto, err := s.changesSince(ctx, cursor, o)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if !yield(c) {
				return nil
			}
		}
		if upto != cursor {
			cursor = upto
			continue
		}
		select {
		case <-changed:
			if o.Notices {
				cursor.version = max(cursor.version, bell.before)
			}
		case <-ctx.Done():
			return notWritten(ctx.Err())
		case <-s.closing:
			return ledger.ErrClosed
		}
	}
}

// At most so many commits are read at once.
const notesPage = 256

// notesSince returns the notes of the commits after the version known, and the last of those. gap says
// that some are no longer there: upto is the last version then.
func (s *Store) notesSince(ctx context.Context, known int64) (notes []note, upto int64, gap bool, err error) {
	err = s.readers.use(ctx, s, func(r *reader) (err error) {
		notes, upto, gap, err = r.notesSince(known)
		return err
	})
	return notes, upto, gap, err
}

func (r *reader) notesSince(known int64) (notes []note, upto int64, gap bool, err error) {
	upto = known
	err = r.snapshot(func() error {
		var last int64
		if _, err := r.last.row(func(v []driver.Value) { last, _ = v[0].(int64) }); err != nil {
			return err
		}
		if last-known > keepCommits || last < known {
			gap, upto = true, last
			return nil
		}
		var bad error
		err = r.since.each(func(v []driver.Value) bool {
			blob, _ := v[1].([]byte)
			var more []note
			more, bad = parseNotes(v[0].(int64), blob)
			notes, upto = append(notes, more...), v[0].(int64)
			return bad == nil
		}, known, int64(notesPage))
		return errors.Join(err, bad)
	})
	return notes, upto, gap, err
}

// snapshot runs fn in one read transaction; within another one, in that.
func (r *reader) snapshot(fn func() error) error {
	if r.inside {
		return fn()
	}
	if err := r.c.run("BEGIN"); err != nil {
		return err
	}
	r.inside = true
	err := fn()
	r.inside = false
	return errors.Join(err, r.c.run("COMMIT"))
}

// A position is up to where a watcher has read: all commits up to version, and so many
// notes of the next one.
type position struct {
	version int64
	notes   int
}

// changesSince returns what o selects of the changes after known, up to pageBytes of records.
func (s *Store) changesSince(ctx context.Context, known position, o *ledger.WatchOptions) (changes []ledger.Change, upto position, err error) {
	census := s.census()
	err = s.readers.use(ctx, s, func(r *reader) error {
		changes = nil
		return r.snapshot(func() error {
			notes, last, gap, err := r.notesSince(known.version)
			upto = position{last, 0}
			if err != nil {
				return err
			}
			if gap {
				changes = append(changes, ledger.Change{Kind: ledger.ChangeSync})
				return nil
			}
			before, bytes := known.version, 0 // the last commit that was read to its end
			for i := known.notes; i < len(notes); i++ {
				if i > 0 && notes[i-1].commit != notes[i].commit {
					before = notes[i-1].commit
				}
				if bytes >= pageBytes {
					upto = position{before, i - slices.IndexFunc(notes, func(n note) bool { return n.commit == notes[i].commit })}
					return nil
				}
				if o.Notices && !notes[i].notice() {
					continue
				}
				c, ok, err := r.change(&notes[i], &census, o)
				if err != nil {
					return err
				}
				if ok {
					changes = append(changes, c)
				}
				if c.Record != nil {
					bytes += len(c.Record.Args) + len(c.Record.Result)
				}
			}
			return nil
		})
	})
	return changes, upto, err
}

// change is what a note tells a watcher; ok is false if it is none of theirs.
func (r *reader) change(n *note, census *census, o *ledger.WatchOptions) (c ledger.Change, ok bool, err error) {
	// Of a record that is gone, or left out, only the ID can be compared.
	byName := ledger.Filter{Workflow: o.Filter.Workflow, Tool: o.Filter.Tool, Fingerprint: o.Filter.Fingerprint}
	if n.removed() {
		subject := ledger.Record{ID: n.id}
		return ledger.Change{Kind: ledger.ChangeDelete, ID: n.id, Version: ledger.Version(n.version)}, byName.Match(&subject), nil
	}
	var stored row
	var id ledger.ID
	found, err := r.byRec.row(func(v []driver.Value) {
		stored.scan(v)
		id = ledger.ID{Workflow: v[10].(string), Tool: v[11].(string), Fingerprint: v[12].(string)}
	}, n.rec)
	if err != nil || !found {
		return c, false, err // removed since: that note follows
	}
	c = ledger.Change{Kind: ledger.ChangePut, ID: id, Version: ledger.Version(n.version)}
	if o.Notices {
		subject := ledger.Record{ID: id}
		return c, byName.Match(&subject), nil
	}
	if stored.version != n.version {
		return c, false, nil // written again since: that note follows
	}
	if stored.alive, err = census.aliveRow(&stored); err != nil {
		return c, false, err
	}
	record, err := stored.record(id)
	if err != nil {
		return c, false, err
	}
	f := o.Filter
	f.After = ledger.ID{}
	c.Record = &record
	return c, f.Match(&record), nil
}
