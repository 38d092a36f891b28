package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// Store is a [ledger.Store] in one file. It also is a [ledger.Watcher], a
// [ledger.SessionLister], a [ledger.Summarizer], a [ledger.NewestLister] and an io.Closer. One value is one owner. It is safe for
// concurrent use, by many processes too.
type Store struct {
	opts  Options
	log   *slog.Logger
	place place
	owner *owner // nil if read-only
	info  ownerInfo

	queue  queue
	ops    sync.Pool // of *op
	turn   *turn
	writer *writer // used by the leader only

	readers readers
	hub     hub

	fault     func(point string) error              // of tests
	explained func(c *conn, sql string, args []any) // is told of statements, in tests

	closing   chan struct{} // closed by Close: no new calls
	abort     chan struct{} // closed when Close has waited long enough for the turn
	closeOnce sync.Once
	closeErr  error
}

// errStopped is why a wait ended that Close ended.
var errStopped = ledger.ErrClosed

// Path returns the real path of the database, symbolic links resolved.
func (s *Store) Path() string { return s.place.real }

// usable returns an error if ctx or the store has ended.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return notWritten(err)
	}
	select {
	case <-s.closing:
		return ledger.ErrClosed
	default:
		return nil
	}
}

func (s *Store) writable(ctx context.Context) error {
	if s.owner == nil {
		return notWritten(fmt.Errorf("%w: %s is open read-only; use Open to write", ledger.ErrUnavailable, s.place.real))
	}
	return s.usable(ctx)
}

// Claim implements [ledger.Store].
func (s *Store) Claim(ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	r, won, err := s.claim(ctx, &c)
	if err != nil {
		return ledger.Record{}, false, fmt.Errorf("sqlitestore: claim %s: %w", c.Next.ID, err)
	}
	return r, won, nil
}

func (s *Store) claim(ctx context.Context, c *ledger.Claim) (ledger.Record, bool, error) {
	if err := c.Validate(); err != nil {
		return ledger.Record{}, false, err
	}
	if !utf8.ValidString(c.Next.Key) { // JSON would change it
		return ledger.Record{}, false, notWritten(fmt.Errorf("%w: the key %q is not UTF-8", ledger.ErrInvalid, c.Next.Key))
	}
	if err := s.writable(ctx); err != nil {
		return ledger.Record{}, false, err
	}
	next := c.Next
	next.Owner.Session, next.Owner.Host, next.Owner.PID = s.owner.session, s.info.Host, s.info.PID
	recordjson.Cut(&next)
	if failpoint.On && c.Seen != 0 && failpoint.Mutant(failpoint.MutantGetDeleteClaim) {
		if err := s.getDelete(ctx, c); err != nil {
			return ledger.Record{}, false, err
		}
	}
	o := s.newOp(opClaim, next.ID)
	defer s.done(o)
	if err := o.encode(&next); err != nil {
		return ledger.Record{}, false, err
	}
	o.seen, o.steal, o.nonce, o.started = int64(c.Seen), c.Steal, next.Nonce, micros(next.Started)
	o.key, o.caller = next.Key, next.Owner.Caller
	if err := s.submit(ctx, o); err != nil {
		return ledger.Record{}, false, err
	}
	if !o.wrote {
		if !o.row.found {
			return ledger.Record{}, false, nil
		}
		r, err := o.row.record(next.ID)
		if err != nil {
			err = unavailable(s.place.real, err)
			if !o.won {
				err = notWritten(err)
			}
		}
		return r, o.won && err == nil, err
	}
	next.Version, next.Fence = ledger.Version(o.version), ledger.Version(o.version)
	next.Alive = true
	next.AddTally(ledger.Tally{})
	return next, true, nil
}

// Finish implements [ledger.Store].
func (s *Store) Finish(ctx context.Context, done ledger.Record) error {
	if err := s.finish(ctx, &done); err != nil {
		return fmt.Errorf("sqlitestore: finish %s: %w", done.ID, err)
	}
	return nil
}

func (s *Store) finish(ctx context.Context, done *ledger.Record) error {
	if err := done.Validate(); err != nil {
		return err
	}
	if done.State == ledger.StateRunning {
		return fmt.Errorf("%w: a finish can not write a running record: %w", ledger.ErrInvalid, ledger.ErrNotWritten)
	}
	if err := s.writable(ctx); err != nil {
		return err
	}
	code, err := codeOf(done.State)
	if err != nil {
		return err
	}
	o := s.newOp(opFinish, done.ID)
	defer s.done(o)
	o.state = code
	if code == codeNone {
		o.kind = opRemove
	} else if err := o.encode(done); err != nil {
		return err
	}
	o.seen, o.nonce, o.started = int64(done.Fence), done.Nonce, micros(done.Started)
	o.key, o.caller = done.Key, done.Owner.Caller
	o.moreStarts, o.moreExecuted = clamp(done.Starts)-1, clamp(done.Executed)
	if code == codeSucceeded {
		o.moreExecuted--
	}
	return s.submit(ctx, o)
}

// clamp keeps sums from overflowing; see totals in the schema.
func clamp(n int64) int64 { return max(-1<<40, min(n, 1<<40)) }

func (o *op) encode(r *ledger.Record) (err error) {
	if o.buf, err = recordjson.Append(o.buf[:0], r); err != nil {
		return notWritten(fmt.Errorf("%w: %w", ledger.ErrInvalid, err))
	}
	o.data = text(o.buf)
	return nil
}

// Delete implements [ledger.Store].
func (s *Store) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	err := id.Validate()
	if err == nil {
		err = s.writable(ctx)
	}
	if err == nil {
		o := s.newOp(opDelete, id)
		defer s.done(o)
		o.seen = int64(seen)
		err = s.submit(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("sqlitestore: delete %s: %w", id, err)
	}
	return nil
}

// Tally implements [ledger.Store]. All counts of one call are added, or none.
func (s *Store) Tally(ctx context.Context, counts []ledger.Tally) error {
	for _, t := range counts {
		if err := t.ID.Validate(); err != nil {
			return fmt.Errorf("sqlitestore: tally: %w", err)
		}
	}
	err := s.writable(ctx)
	if err == nil && len(counts) > 0 {
		o := s.newOp(opTally, ledger.ID{})
		defer s.done(o)
		o.counts = counts
		err = s.submit(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("sqlitestore: tally: %w", err)
	}
	return nil
}

// Get implements [ledger.Store].
func (s *Store) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	r, err := s.get(ctx, id)
	if err != nil {
		return ledger.Record{}, fmt.Errorf("sqlitestore: get %s: %w", id, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	row, err := s.read(ctx, id)
	if err != nil {
		return ledger.Record{}, err
	}
	if !row.found {
		return ledger.Record{}, ledger.ErrNotFound
	}
	r, err := row.record(id)
	if err != nil {
		return r, notWritten(unavailable(s.place.real, err))
	}
	return r, nil
}

// read returns the row of id, with the liveness of its owner.
func (s *Store) read(ctx context.Context, id ledger.ID) (row, error) {
	var r row
	err := s.readers.use(ctx, s, func(c *reader) error {
		_, err := c.get.row(r.scan, id.Workflow, id.Tool, id.Fingerprint)
		return err
	})
	if err != nil {
		return r, err
	}
	census := s.census()
	if r.alive, err = census.aliveRow(&r); err != nil {
		return r, notWritten(unavailable(s.place.real, err))
	}
	return r, nil
}

// Close refuses new calls, waits for the running ones, ends the owner, and
// leaves the file to the other stores. The claims that still run can be taken over from then on.
// Called again it returns the same.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	close(s.closing)
	patience := time.AfterFunc(s.opts.BusyTimeout, func() { close(s.abort) })
	<-s.queue.drained()
	s.hub.stop()
	err := s.readers.close()
	if s.writer != nil {
		err = errors.Join(err, s.writer.close())
	}
	if s.owner != nil {
		if s.place.foul() {
			s.log.Warn("sqlitestore: the database's files were replaced while it was open: its handles stay open until the process ends, because closing them would damage the files that are there now",
				"database", s.place.real)
		}
		err = errors.Join(err, s.place.release())
	}
	if s.turn != nil {
		s.turn.close()
	}
	patience.Stop()
	if s.owner != nil {
		err = errors.Join(err, s.owner.end()) // last: until here its claims are held
	}
	if err != nil {
		return fmt.Errorf("sqlitestore: close %s: %w", s.place.real, err)
	}
	return nil
}

var (
	_ ledger.Store         = (*Store)(nil)
	_ ledger.Watcher       = (*Store)(nil)
	_ ledger.SessionLister = (*Store)(nil)
	_ ledger.Summarizer    = (*Store)(nil)
	_ ledger.NewestLister  = (*Store)(nil)
)
