package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/ledger-once/ledger"
)

// A reader is a connection that reads, outside of the writers' turns.
type reader struct {
	c                  *conn
	get                *stmt
	last, since, byRec *stmt
	inside             bool        // a snapshot
	frozen             os.FileInfo // of the file that it reads as it stands; nil if writers may be at work; see readOnly
}

// readers is a pool: a slot is a connection, or nil for one that is not open. One slot
// is for short reads only: they must not wait until listings end.
type readers struct {
	slots chan *reader
	spare chan *reader
	size  int
}

func newReaders(n int) readers {
	r := readers{make(chan *reader, n), make(chan *reader, 1), n}
	for range n {
		r.slots <- nil
	}
	r.spare <- nil
	return r
}

// use calls fn with a connection for a short read. What fn returns comes back as an ErrUnavailable.
func (p *readers) use(ctx context.Context, s *Store, fn func(*reader) error) error {
	return p.useOf(ctx, s, p.spare, fn)
}

// useLong is use for a read that may look through many records.
func (p *readers) useLong(ctx context.Context, s *Store, fn func(*reader) error) error {
	return p.useOf(ctx, s, nil, fn)
}

// useOf takes a connection of the pool, or of spare.
func (p *readers) useOf(ctx context.Context, s *Store, spare chan *reader, fn func(*reader) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var c *reader
	from := p.slots
	select {
	case c = <-p.slots:
	default:
		select {
		case c = <-p.slots:
		case c = <-spare:
			from = spare
		case <-ctx.Done():
			return notWritten(ctx.Err())
		case <-s.closing:
			return ledger.ErrClosed
		}
	}
	c, err := s.readWith(c, fn)
	from <- c
	if err != nil {
		return notWritten(unavailable(s.place.real, err))
	}
	return nil
}

// readWith returns the connection to keep.
func (s *Store) readWith(c *reader, fn func(*reader) error) (*reader, error) {
	if err := s.place.check(); err != nil {
		return c, err
	}
	if s.owner == nil {
		return s.readOnly(c, fn)
	}
	if c == nil {
		err := s.place.checkLog() // SQLite would make what is missing
		if err == nil {
			c, err = s.newReader(url.Values{"mode": {"rw"}})
		}
		if err != nil {
			return nil, err
		}
	}
	if err := fn(c); err != nil {
		return nil, errors.Join(err, c.c.close()) // it may be in a transaction
	}
	return c, nil
}

// newReader opens a connection; query_only keeps it from writing.
func (s *Store) newReader(mode url.Values) (*reader, error) {
	c, err := s.place.connect(mode, fmt.Sprintf("busy_timeout = %d", s.opts.BusyTimeout.Milliseconds()),
		"query_only = ON", "cache_size = -4000", "temp_store = MEMORY", "trusted_schema = OFF")
	if err != nil {
		return nil, err
	}
	r := &reader{c: c}
	version, err := schemaOf(c)
	switch {
	case err != nil:
	case version != schema:
		err = fmt.Errorf("%w: the ledger has schema version %d, and this program reads version %d; open it for writing once, which migrates it", ledger.ErrInvalid, version, schema)
	default:
		err = r.prepare()
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return r, nil
}

func (r *reader) prepare() (err error) {
	for _, p := range []struct {
		stmt **stmt
		sql  string
	}{
		{&r.get, selectByID},
		{&r.last, `SELECT max(rec) FROM records`},
		{&r.since, `SELECT rec, notes FROM records WHERE rec > ? AND workflow IS NULL ORDER BY rec LIMIT ?`},
		{&r.byRec, `SELECT ` + rowColumns + `, r.workflow, r.tool, r.fingerprint FROM ` + rowTables + ` WHERE r.rec = ?`},
	} {
		if *p.stmt, err = r.c.prepare(p.sql); err != nil {
			return err
		}
	}
	return nil
}

// close waits for those who read, and closes the connections.
func (p *readers) close() (err error) {
	for range p.size {
		if c := <-p.slots; c != nil {
			err = errors.Join(err, c.c.close())
		}
	}
	if c := <-p.spare; c != nil {
		err = errors.Join(err, c.c.close())
	}
	return err
}
