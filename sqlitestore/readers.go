package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ledger-once/ledger"
)

// A reader is a connection that reads, outside of the writers' turns.
type reader struct {
	c                        *conn
	get                      *stmt
	last, since, have, byRec *stmt
	inside                   bool // a snapshot
}

// readers is a pool: a slot is a connection, or nil for one that is not open.
type readers struct {
	slots chan *reader
	size  int
}

func newReaders(n int) readers {
	r := readers{make(chan *reader, n), n}
	for range n {
		r.slots <- nil
	}
	return r
}

// use calls fn with a connection. What fn returns comes back as an ErrUnavailable.
func (p *readers) use(ctx context.Context, s *Store, fn func(*reader) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var c *reader
	select {
	case c = <-p.slots:
	default:
		select {
		case c = <-p.slots:
		case <-ctx.Done():
			return notWritten(ctx.Err())
		case <-s.closing:
			return ledger.ErrClosed
		}
	}
	c, err := s.readWith(c, fn)
	p.slots <- c
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
		{&r.last, `SELECT max(version) FROM commits`},
		{&r.have, `SELECT 1 FROM commits WHERE version = ?1`},
		{&r.since, `SELECT version, notes FROM commits WHERE version > ?1 ORDER BY version LIMIT ?2`},
		{&r.byRec, `SELECT ` + rowColumns + `, r.workflow, r.tool, r.fingerprint FROM ` + rowTables + ` WHERE r.rec = ?1`},
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
	return err
}
