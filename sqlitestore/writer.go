package sqlitestore

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// A writer is the connection that writes. Only the leader uses it.
type writer struct {
	c     *conn // nil after a failure that left it unusable
	nonce int64

	begin, commit, rollback, last, marker, mark, prune, age   *stmt
	byID, insert, claim, end, finish, update, remove, untally *stmt
	counter, tally, more, noMore, count, counted, uncount     *stmt
	face, reface, deface                                      *stmt

	ours map[int64]first // that may still run, by rec
	self any             // the session
	over any             // version(), once all rows are added

	base    int64 // the greatest rec before the batch: the version counter
	guessed bool  // base is the last one that this store saw; mark finds out whether it still is
	others  int   // guess no more before so many batches: other stores write too
	top     int64 // the greatest rec, with the batch's new rows
	dirty   bool
	stale   bool // the guess was wrong
	notes   []byte
	recs    []int64 // that the batch wrote or removed
	notices bool    // the batch makes stale what others remember

	ack func() // for MutantAckBeforeCommit: answers the batch, before it is committed
}

// A first is a first claim that this store committed. No other record ever has its rec, and while the version is the rec nobody
// wrote over it: so its finish has nothing else to compare in the database.
type first struct {
	id                 ledger.ID
	nonce, key, caller string
	started            int64
}

// maxFirsts bounds what a writer remembers of its claims: many times what runs at once. A finish of another one costs a little more.
const maxFirsts = 1 << 12

func (o *op) first() first { return first{o.id, o.nonce, o.key, o.caller, o.started} }

// keepCommits is for how many versions the commits are kept: a watcher that lags by more gets a ChangeSync.
// They are pruned once in every pruneEvery versions.
const (
	keepCommits = 1 << 16
	pruneEvery  = 1 << 9
)

// guessAgain is after how many batches in a row without a write of others the version
// counter is guessed instead of read.
const guessAgain = 8

func (s *Store) newWriter() (*writer, error) {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	w := &writer{nonce: int64(binary.LittleEndian.Uint64(seed[:]) >> 1)}
	return w, w.open(s)
}

// open connects, and leaves w.c nil if it fails.
func (w *writer) open(s *Store) error {
	pragmas := []string{
		"busy_timeout = 1000", // the next one reads the schema: after a crash another process may be recovering the log just now
		"synchronous = FULL",
		"cache_size = -8000", // KiB
		"temp_store = MEMORY",
		"trusted_schema = OFF",
		fmt.Sprintf("wal_autocheckpoint = %d", s.opts.CheckpointPages),
	}
	if failpoint.On && failpoint.Mutant(failpoint.MutantSQLiteNormal) {
		pragmas = append(pragmas, "synchronous = NORMAL")
	}
	if runtime.GOOS == "darwin" { // where fsync alone does not reach the disk
		pragmas = append(pragmas, "fullfsync = ON", "checkpoint_fullfsync = ON")
	}
	pragmas = append(pragmas, "busy_timeout = 0") // from here on we wait ourselves, with a context
	c, err := s.place.connect(url.Values{"mode": {"rw"}}, pragmas...)
	if err != nil {
		return err
	}
	w.c, w.ours = c, make(map[int64]first)
	return nil
}

func (w *writer) prepare() (err error) {
	for _, p := range []struct {
		stmt **stmt
		sql  string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.rollback, `ROLLBACK`},
		{&w.last, `SELECT max(rec) FROM records`},
		{&w.marker, `SELECT mark FROM records WHERE rec = ? AND workflow IS NULL`},
		// Inserts nothing, for want of a state, unless the greatest rec is the one given. (A SELECT with that condition in the place
		// of VALUES would cost a temporary table.)
		{&w.mark, `INSERT OR IGNORE INTO records (rec, version, state, mark, notes) VALUES (?, ?, CASE (SELECT max(rec) FROM records) WHEN ? THEN -1 END, ?, ?)`},
		{&w.prune, `DELETE FROM records WHERE rec >= ? AND rec < ? AND workflow IS NULL`},
		{&w.age, `UPDATE records SET state = 2 WHERE rec >= ? AND rec < ? AND state = -2`},
		{&w.count, `INSERT INTO totals (tool, calls) SELECT tool, count(*) FROM records NOT INDEXED
			WHERE rec >= (SELECT calls FROM totals WHERE tool = '') AND rec < ? AND workflow IS NOT NULL AND fingerprint <> '' GROUP BY tool
			ON CONFLICT (tool) DO UPDATE SET calls = calls + excluded.calls`},
		{&w.counted, `UPDATE totals SET calls = max(calls, ?) WHERE tool = ''`},
		{&w.uncount, `UPDATE totals SET calls = calls - 1 WHERE tool = ? AND ? < (SELECT calls FROM totals WHERE tool = '')`},
		{&w.face, `INSERT INTO facets ` + selectFacets + ` NOT INDEXED
			WHERE rec >= (SELECT calls FROM totals WHERE tool = '') AND rec < ? AND workflow IS NOT NULL`},
		{&w.reface, `UPDATE facets SET (rec, started, key, tool, print, caller) = (` + selectFacets + ` WHERE rec = ?) WHERE rec = ?`},
		{&w.deface, `DELETE FROM facets WHERE rec = ?`},
		{&w.more, `INSERT INTO tallies (rec, attempts, executed, blocked, more_starts, more_executed) VALUES (?, 0, 0, 0, ?, ?)
			ON CONFLICT (rec) DO UPDATE SET more_starts = excluded.more_starts, more_executed = excluded.more_executed`},
		{&w.noMore, `UPDATE tallies SET more_starts = 0, more_executed = 0 WHERE rec = ? AND (more_starts <> 0 OR more_executed <> 0)`},
		{&w.byID, selectByID},
		{&w.insert, `INSERT INTO records (rec, version, state, started, nonce, owner, key, workflow, tool, fingerprint, data)
			VALUES (?, ?, -2, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow, tool, fingerprint) WHERE workflow IS NOT NULL DO NOTHING`},
		{&w.claim, `UPDATE records SET version = ?, state = 2, started = ?, nonce = ?, owner = ?, key = ?, data = ? WHERE rec = ?`},
		// The finish of a first claim, whose rec is its fence, if it is one of w.ours, and of any other's: the unary + keeps to the
		// primary key.
		{&w.end, `UPDATE records SET version = ?, state = ?, data = ? WHERE rec = ? AND version = rec`},
		{&w.finish, `UPDATE records SET version = ?, state = ?, started = ?, data = ?
			WHERE rec = ? AND version = rec AND state IN (2, -2) AND nonce = ? AND key = ? AND +workflow = ? AND +tool = ? AND +fingerprint = ?`},
		{&w.update, `UPDATE records SET version = ?, state = ?, started = ?, key = ?, data = ? WHERE rec = ?`},
		{&w.remove, `DELETE FROM records WHERE rec = ?`},
		{&w.untally, `DELETE FROM tallies WHERE rec = ?`},
		{&w.counter, `INSERT INTO records (rec, version, state, workflow, tool)
			VALUES (?, 0, 0, ?, ?) ON CONFLICT (workflow, tool, fingerprint) WHERE workflow IS NOT NULL DO NOTHING`},
		{&w.tally, `INSERT INTO tallies (rec, attempts, executed, blocked)
			SELECT rec, ?, ?, ? FROM records WHERE workflow = ? AND tool = ? AND fingerprint = ?
			ON CONFLICT (rec) DO UPDATE SET attempts = attempts + excluded.attempts, executed = executed + excluded.executed, blocked = blocked + excluded.blocked`},
	} {
		if *p.stmt, err = w.c.prepare(p.sql); err != nil {
			return err
		}
	}
	return nil
}

// close discards the connection, and with it what it has not committed.
func (w *writer) close() error {
	if w.c == nil {
		return nil
	}
	err := w.c.close()
	w.c = nil
	return err
}

// begin takes the turn and begins the transaction of a batch. After an error neither is held.
func (s *Store) begin(ctx context.Context) error {
	if err := s.turn.take(ctx, s.abort); err != nil {
		if ctx.Err() != nil || errors.Is(err, errStopped) {
			return err
		}
		return unavailable(s.place.real, err)
	}
	err := s.ready()
	if err == nil {
		err = s.transact(ctx)
	}
	if err != nil {
		s.turn.give()
		if errors.Is(err, errStopped) {
			return err
		}
		return unavailable(s.place.real, err)
	}
	return nil
}

// ready checks that the files are the ones that were opened, and the owner's.
func (s *Store) ready() error {
	if err := s.place.check(); err != nil {
		return err
	}
	if s.writer.c == nil {
		if err := s.reopen(); err != nil {
			return err
		}
	}
	if err := s.place.checkLog(); err != nil {
		return err
	}
	lost, err := s.owner.keep()
	if lost {
		s.log.Warn("sqlitestore: the owner file was deleted; for a moment others could take this process for dead, and its running calls over",
			"database", s.place.real, "owner", s.owner.session, "error", err)
	}
	return err
}

// reopen makes a new writer of the one that failed.
func (s *Store) reopen() error {
	err := s.place.checkLog() // before, because SQLite would make what is missing
	if err == nil {
		err = s.writer.open(s)
	}
	if err == nil {
		err = s.writer.prepare()
	}
	if err == nil {
		err = errors.Join(s.place.check(), s.place.checkLog())
	}
	if err != nil {
		return errors.Join(err, s.writer.close())
	}
	return nil
}

// transact begins the transaction, waiting for programs that know no turns.
func (s *Store) transact(ctx context.Context) error {
	w := s.writer
	for pause, waited := time.Millisecond, time.Duration(0); ; pause = min(2*pause, 50*time.Millisecond) {
		err := s.inject("begin")
		if err == nil {
			_, err = w.begin.exec()
		}
		if err == nil {
			break
		}
		if !isBusy(err) || waited >= s.opts.BusyTimeout {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			waited += pause
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.abort:
			timer.Stop()
			return errStopped
		}
	}
	if w.others == 0 && w.base > 0 {
		w.guessed = true
		return nil
	}
	return s.readBase()
}

// readBase reads the version counter, in the transaction.
func (s *Store) readBase() error {
	w := s.writer
	before := w.base
	w.guessed = false
	found, err := w.last.row(func(v []driver.Value) { w.base, _ = v[0].(int64) })
	if err == nil && !found {
		err = errors.New("the version counter is missing: the database is no ledger any more")
	}
	if err != nil {
		return errors.Join(err, s.undo())
	}
	if w.base != before {
		w.others = guessAgain
	} else if w.others > 0 {
		w.others--
	}
	return nil
}

// undo ends the transaction. A connection that can not is closed, which undoes it too.
func (s *Store) undo() error {
	if _, err := s.writer.rollback.exec(); err != nil {
		// SQLite may have rolled back by itself; then there is nothing to close for, but no harm either.
		return s.writer.close()
	}
	return nil
}

// inject is where tests let things fail.
func (s *Store) inject(point string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(point)
}
