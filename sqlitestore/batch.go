package sqlitestore

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// written is what a commit wrote, for those who wait in this process.
type written struct {
	base, version int64
	recs          []int64
	notices       bool // some of it makes stale what others remember
}

// write runs the batch in the transaction that begin began, commits it, and
// fills in the answers.
//
// An op is a few statements, each of which does all or nothing, and its first write is the last
// that can fail for a reason of its own. So there are no savepoints: should a statement fail all the same, the
// transaction is rolled back and run again without its op.
func (s *Store) write(batch []*op) *written {
	for {
		bad, err := s.apply(batch)
		if s.writer.guessed && (s.writer.stale || err != nil && !spoils(err)) {
			s.writer.others = guessAgain // others wrote since: begin anew, and read the counter
			err := s.undo()
			if err == nil {
				err = s.again()
			}
			if err != nil {
				refuse(batch, unavailable(s.place.real, err))
				return nil
			}
			continue
		}
		switch {
		case err == nil && !s.writer.dirty:
			s.undo()
			return nil
		case err == nil:
			return s.commit(batch)
		}
		// Nothing is committed yet: whatever happened is undone for certain.
		err = unavailable(s.place.real, errors.Join(err, s.undo()))
		if bad == nil || spoils(err) {
			refuse(batch, err)
			return nil
		}
		bad.err, bad.refused = notWritten(err), true
		if err := s.again(); err != nil {
			refuse(batch, err)
			return nil
		}
	}
}

// again begins another transaction in the same turn.
func (s *Store) again() error {
	err := s.ready()
	if err == nil {
		err = s.transact(context.Background())
	}
	if err != nil {
		return unavailable(s.place.real, err)
	}
	return nil
}

// refuse gives all who have no answer of their own yet err, after which nothing was written.
func refuse(batch []*op, err error) {
	for _, o := range batch {
		if !o.refused {
			o.won, o.wrote, o.err = false, false, notWritten(err)
		}
	}
}

// apply runs the batch's statements. It returns the op that failed.
func (s *Store) apply(batch []*op) (bad *op, err error) {
	w := s.writer
	w.top, w.dirty, w.stale, w.notes, w.recs = w.base, false, false, w.notes[:0], nil
	w.notices = false
	census := s.census()
	// Ops that may add rows go first: so the new rows have the numbers next to base, without a gap, and the
	// commit's own, behind them, is known to those that write over records.
	for _, adds := range []bool{true, false} {
		if !adds {
			w.over = w.version()
		}
		for _, o := range batch {
			if o.refused || o.adds() != adds {
				continue
			}
			o.won, o.wrote, o.err, o.row = false, false, nil, row{}
			err := s.inject("exec")
			if err == nil {
				err = w.apply(o, &census)
			}
			if err != nil {
				return o, err
			}
		}
	}
	if !w.dirty {
		return nil, nil
	}
	// Had another store written since base was read, its last commit would have a number after base: among the batch's
	// new rows, where it makes an insert fail, or behind them, where it is the greatest. So mark inserts nothing.
	w.nonce++
	n, err := w.mark.exec(w.version(), w.version(), w.top, w.nonce, w.notes)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		w.stale = true
		return nil, nil
	}
	return nil, w.keep(w.version())
}

// keep does what a commit of that version owes to the records and commits before it: those before base were seen to by then.
func (w *writer) keep(version int64) error {
	if from := w.base &^ (pruneEvery - 1); version >= from+pruneEvery {
		if _, err := w.prune.exec(from-keepCommits, version-keepCommits); err != nil {
			return err
		}
	}
	if from, to := freshFrom(w.base), freshFrom(version); from < to {
		if _, err := w.age.exec(from, to); err != nil {
			return err
		}
		if _, err := w.count.exec(to); err != nil {
			return err
		}
		if _, err := w.face.exec(to); err != nil {
			return err
		}
		if _, err := w.counted.exec(to); err != nil {
			return err
		}
	}
	return nil
}

// adds reports whether the op may add a row.
func (o *op) adds() bool { return o.kind == opClaim && o.seen == 0 || o.kind == opTally }

// version is the one of the commit, and of all records that it writes over. A new
// record's is its rec. It must not be asked for before all rows are added.
func (w *writer) version() int64 { return w.top + 1 }

// commit commits, or finds out what became of it.
func (s *Store) commit(batch []*op) *written {
	w := s.writer
	done := &written{w.base, w.version(), w.recs, w.notices}
	if failpoint.On {
		w.committing(batch)
	}
	err := s.inject("commit")
	if err == nil {
		_, err = w.commit.exec()
		if err == nil {
			err = s.inject("committed")
		}
	}
	if failpoint.On && err == nil {
		committed(batch)
	}
	if err == nil {
		w.base = done.version
		w.remember(batch)
		return done
	}
	w.others = guessAgain
	switch happened, sure := s.settle(err); {
	case happened:
		s.log.Warn("sqlitestore: COMMIT reported an error, and its writes are there", "database", s.place.real, "error", err)
		return done
	case sure:
		refuse(batch, unavailable(s.place.real, err))
	default:
		err = unavailable(s.place.real, fmt.Errorf("COMMIT failed, and whether it wrote is unknown: %w", err))
		for _, o := range batch {
			if !o.refused {
				o.won, o.wrote, o.err = false, false, err // ambiguous: without ErrNotWritten
			}
		}
	}
	return nil
}

// remember keeps the batch's first claims for their finishes.
func (w *writer) remember(batch []*op) {
	if len(w.ours) > maxFirsts { // some are never finished here
		clear(w.ours)
	}
	for _, o := range batch {
		if o.kind == opClaim && o.wrote && o.seen == 0 && !(failpoint.On && o.row.found) {
			w.ours[o.version] = o.first()
		}
	}
}

// settle finds out whether a COMMIT that reported cause happened, while the turn is still held. sure is
// false where that stays unknown.
func (s *Store) settle(cause error) (happened, sure bool) {
	w := s.writer
	version, nonce := w.version(), w.nonce
	if s.undo(); w.c == nil { // the commit's fate is in the file; a fresh connection reads it
		if s.place.check() != nil || s.reopen() != nil {
			return false, false
		}
	}
	if s.inject("settle") != nil {
		return false, false
	}
	var stored int64
	found, err := w.marker.row(func(v []driver.Value) { stored = v[0].(int64) }, version)
	switch {
	case err != nil:
		return false, false
	case found:
		return stored == nonce, true
	case primary(cause) == sqlite3.SQLITE_FULL:
		// The commit's last frame did not get into the log whole: no recovery can find it.
		return false, true
	}
	// A commit frame may be in the log and not be counted: the recovery after a crash could bring it back.
	// Another commit in its place makes sure that it can not.
	if s.transact(context.Background()) != nil {
		return false, false
	}
	w.nonce++
	version = max(version, w.base) + 1
	n, err := w.mark.exec(version, version, w.base, w.nonce, []byte{})
	if err == nil && n == 0 {
		err = errors.New("the version counter moved within a transaction") // unreachable unless program bug
	}
	if err == nil {
		err = w.keep(version)
	}
	if err == nil {
		_, err = w.commit.exec()
	}
	if err != nil {
		s.undo()
		return false, false
	}
	return false, true
}

// apply runs one op. An error is none of the answers but a failure of a statement.
func (w *writer) apply(o *op, c *census) error {
	switch o.kind {
	case opClaim:
		return w.applyClaim(o, c)
	case opFinish:
		return w.applyFinish(o)
	case opRemove:
		return w.applyRemove(o)
	case opDelete:
		return w.applyDelete(o, c)
	default:
		return w.applyTally(o)
	}
}

func (w *writer) applyClaim(o *op, c *census) error {
	if o.seen == 0 { // the usual case: one statement
		v := w.top + 1
		b, rec := &o.bound, any(v)
		n, err := w.insert.exec(rec, rec, b.started, b.nonce, w.self, b.key, b.workflow, b.tool, b.fingerprint, b.data)
		if err != nil {
			return err
		}
		if n == 1 {
			w.top = v
			w.note(noteNew, v)
			o.version, o.won, o.wrote = v, true, true
			return nil
		}
	}
	if err := w.read(o); err != nil {
		return err
	}
	alive, err := c.aliveRow(&o.row)
	if err != nil {
		return err
	}
	o.row.alive = alive
	switch {
	case !o.row.found:
		return nil
	case alive && o.row.nonce == o.nonce:
		o.won = true // sent again
		return nil
	case (o.row.version != o.seen || alive && !o.steal) && !(failpoint.On && failpoint.Mutant(failpoint.MutantUnconditionalClaim)):
		return nil
	}
	if failpoint.On && o.row.state == codeRunning && !alive {
		failpoint.Hit(failpoint.SQLiteTakeover)
	}
	if _, err := w.claim.exec(w.version(), o.started, o.nonce, w.self, o.key, o.data, o.row.rec); err != nil {
		return err
	}
	if _, err := w.reface.exec(o.row.rec, o.row.rec); err != nil {
		return err
	}
	w.note(noteClaim, o.row.rec)
	o.version, o.won, o.wrote = w.version(), true, true
	return nil
}

func (w *writer) applyFinish(o *op) error {
	var n int64
	var err error
	if f, ok := w.ours[o.seen]; ok && f == o.first() {
		delete(w.ours, o.seen)
		n, err = w.end.exec(w.over, o.state, o.bound.data, o.bound.seen)
	} else {
		n, err = w.finish.exec(w.version(), o.state, o.started, o.data, o.seen, o.nonce, o.key, o.id.Workflow, o.id.Tool, o.id.Fingerprint)
		if err == nil && n == 1 {
			_, err = w.reface.exec(o.seen, o.seen)
		}
	}
	if err != nil {
		return err
	}
	if n == 1 {
		w.note(noteFinish, o.seen)
		if o.moreStarts != 0 || o.moreExecuted != 0 {
			_, err = w.more.exec(o.seen, o.moreStarts, o.moreExecuted)
		}
		return err
	}
	if err := w.read(o); err != nil {
		return err
	}
	switch {
	case o.holds() || failpoint.On && o.row.found && failpoint.Mutant(failpoint.MutantFinishWithoutFence):
		if _, err := w.update.exec(w.version(), o.state, o.started, o.key, o.data, o.row.rec); err != nil {
			return err
		}
		if _, err := w.reface.exec(o.row.rec, o.row.rec); err != nil {
			return err
		}
		w.note(noteFinish, o.row.rec)
		if o.moreStarts != 0 || o.moreExecuted != 0 {
			_, err = w.more.exec(o.row.rec, o.moreStarts, o.moreExecuted)
		} else {
			_, err = w.noMore.exec(o.row.rec) // of an earlier finish
		}
		return err
	case o.row.found && o.row.state != codeRunning && o.row.nonce == o.nonce && o.row.data == o.data:
		// sent again
	default:
		o.err = ledger.ErrFenced
	}
	return nil
}

func (w *writer) applyRemove(o *op) error {
	if err := w.read(o); err != nil {
		return err
	}
	switch {
	case !o.row.found: // what it asks for stands
		return nil
	case o.holds() || failpoint.On && failpoint.Mutant(failpoint.MutantFinishWithoutFence):
		return w.erase(o, noteRemove)
	}
	o.err = ledger.ErrFenced
	return nil
}

func (w *writer) applyDelete(o *op, c *census) error {
	if err := w.read(o); err != nil {
		return err
	}
	alive, err := c.aliveRow(&o.row)
	switch {
	case err != nil:
		return err
	case !o.row.found:
		o.err = ledger.ErrNotFound
	case failpoint.On && o.steal: // for MutantGetDeleteClaim
		return w.erase(o, noteDelete)
	case alive:
		o.err = ledger.ErrRunning
	case o.row.version != o.seen:
		o.err = ledger.ErrFenced
	default:
		return w.erase(o, noteDelete)
	}
	return nil
}

func (w *writer) applyTally(o *op) error {
	for _, t := range o.counts {
		if t.ID.IsCounter() {
			n, err := w.counter.exec(w.top+1, t.ID.Workflow, t.ID.Tool)
			if err != nil {
				return err
			}
			w.top += n
		}
		n, err := w.tally.exec(t.Attempts, t.Executed, t.Blocked, t.ID.Workflow, t.ID.Tool, t.ID.Fingerprint)
		if err != nil {
			return err
		}
		w.dirty = w.dirty || n > 0
	}
	return nil
}

// holds reports whether the op's claim stands running.
func (o *op) holds() bool {
	return o.row.found && o.row.state == codeRunning && o.row.version == o.seen && o.row.nonce == o.nonce
}

func (w *writer) read(o *op) error {
	o.row = row{}
	_, err := w.byID.row(o.row.scan, o.id.Workflow, o.id.Tool, o.id.Fingerprint)
	return err
}

func (w *writer) erase(o *op, kind byte) error {
	if _, err := w.untally.exec(o.row.rec); err != nil {
		return err
	}
	if _, err := w.deface.exec(o.row.rec); err != nil {
		return err
	}
	if _, err := w.remove.exec(o.row.rec); err != nil {
		return err
	}
	if !o.id.IsCounter() {
		if _, err := w.uncount.exec(o.id.Tool, o.row.rec); err != nil {
			return err
		}
	}
	w.note(kind, o.row.rec)
	for _, part := range []string{o.id.Workflow, o.id.Tool, o.id.Fingerprint} {
		w.notes = binary.AppendUvarint(w.notes, uint64(len(part)))
		w.notes = append(w.notes, part...)
	}
	return nil
}

// note notes a write for watchers.
func (w *writer) note(kind byte, rec int64) {
	w.dirty = true
	w.notes = append(w.notes, kind)
	w.notes = binary.AppendUvarint(w.notes, uint64(rec))
	w.recs = append(w.recs, rec)
	n := note{kind: kind}
	w.notices = w.notices || n.notice()
}
