package sqlitestore

import (
	"context"
	"errors"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// This file holds what the failpoints of this package need more than a line for. Without
// their build tag nothing here is called, and none of it is in a program.

// committing hits the points of the batch's kinds before its COMMIT.
func (w *writer) committing(batch []*op) {
	if w.ack != nil {
		w.ack()
		w.ack = nil
	}
	hitKinds(batch, failpoint.SQLiteClaimCommitting, failpoint.SQLiteFinishCommitting, failpoint.SQLiteDeleteCommitting)
}

// committed hits them after it.
func committed(batch []*op) {
	hitKinds(batch, failpoint.SQLiteClaimCommitted, failpoint.SQLiteFinishCommitted, failpoint.SQLiteDeleteCommitted)
}

// hitKinds hits the point of each kind of write of which the batch holds one that wrote.
func hitKinds(batch []*op, claim, finish, remove string) {
	var claims, finishes, removes bool
	for _, o := range batch {
		ok := !o.refused && o.err == nil
		claims = claims || o.kind == opClaim && ok && o.wrote
		finishes = finishes || (o.kind == opFinish || o.kind == opRemove) && ok
		removes = removes || o.kind == opDelete && ok
	}
	if claims {
		failpoint.Hit(claim)
	}
	if finishes {
		failpoint.Hit(finish)
	}
	if removes {
		failpoint.Hit(remove)
	}
}

// fresh reports whether the owner lives in the eyes of MutantWallClock.
func (r *row) fresh() (bool, error) {
	stored, err := recordjson.Decode(ledger.ID{}, ledger.Version(r.version), bytesOf(r.data))
	return err == nil && !failpoint.Stale(stored.Started), err
}

// getDelete is the first half of MutantGetDeleteClaim: it deletes what stands, and makes c a claim of nothing.
func (s *Store) getDelete(ctx context.Context, c *ledger.Claim) error {
	failpoint.Hit(failpoint.MutantGot)
	o := s.newOp(opDelete, c.Next.ID)
	defer s.done(o)
	o.steal = true
	if err := s.submit(ctx, o); err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	failpoint.Hit(failpoint.MutantDeleted)
	c.Seen = 0
	return nil
}

// ackThenCommit is the rest of lead under MutantAckBeforeCommit: it answers the batch when its statements have
// run. The commit goes on behind the callers' backs, with ops of its own; Close waits for it as for any that leads.
func (s *Store) ackThenCommit(batch []*op, own *op) error {
	ops := make([]*op, len(batch))
	for i, o := range batch {
		ops[i] = new(op)
		*ops[i] = *o
	}
	acked := make(chan struct{})
	s.writer.ack = func() {
		for i, o := range ops {
			batch[i].won, batch[i].wrote, batch[i].version, batch[i].row, batch[i].err = o.won, o.wrote, o.version, o.row, o.err
		}
		close(acked)
	}
	go func() {
		written := s.write(ops)
		if ack := s.writer.ack; ack != nil { // nothing was to be committed
			s.writer.ack = nil
			ack()
		}
		s.turn.give()
		if written != nil {
			s.hub.committed(written)
		}
		s.queue.pass()
	}()
	<-acked
	answer(batch, own)
	own.over = true
	return own.err
}
