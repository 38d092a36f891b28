package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// Finish implements [ledger.Store]. It costs one request, and asks for no
// lease: an outcome that comes after its owner's lease is gone is recorded as
// long as nobody has claimed the call in between.
func (s *Store) Finish(ctx context.Context, done ledger.Record) error {
	err := done.Validate()
	if done.State == ledger.StateRunning {
		err = fmt.Errorf("%w: a finish can not write a running record: %w", ledger.ErrInvalid, ledger.ErrNotWritten)
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if failpoint.On && err == nil && failpoint.Mutant(failpoint.MutantAckBeforeCommit) {
		s.finishLater(done)
		return nil
	}
	if err == nil {
		err = s.finish(ctx, &done)
	}
	if err == nil || errors.Is(err, ledger.ErrFenced) {
		s.held.over(done.ID, done.Fence)
	}
	return wrap(err, "finish", done.ID)
}

func (s *Store) finish(ctx context.Context, done *ledger.Record) error {
	var value []byte
	if done.State != ledger.StateNone {
		var err error
		if value, err = recordjson.Encode(done); err != nil {
			return fmt.Errorf("%w: %w: %w", ledger.ErrInvalid, err, ledger.ErrNotWritten)
		}
	}
	refused := func(ans answer) error {
		records := ans.kvs(elseRecord)
		switch {
		case len(records) == 0 && done.State == ledger.StateNone:
			return nil // removed already: what it asks for stands
		case len(records) == 1 && value != nil && bytes.Equal(records[0].Value, value) && ledger.Version(records[0].ModRevision) > done.Fence:
			return nil // an earlier copy was written
		case len(records) == 1 && s.logs(done, records[0]):
			return nil // and the call was claimed again since
		}
		return ledger.ErrFenced
	}
	nonce, granted := s.held.nonce(done.ID, done.Fence)
	if failpoint.On && failpoint.Mutant(failpoint.MutantFinishWithoutFence) {
		nonce, granted = done.Nonce, true
	}
	if !granted { // of another store's claim: what the transaction can not compare is read
		ans, err := s.look(ctx, done.ID, []*pb.RequestOp{get(s.keys.record(done.ID), "")})
		if err != nil {
			return err
		}
		records := ans.kvs(elseRecord)
		if len(records) == 0 || ledger.Version(records[0].ModRevision) != done.Fence {
			return refused(ans)
		}
		r, err := s.decode(done.ID, records[0], false)
		if err != nil {
			return s.failure(err, true)
		}
		if nonce = r.Nonce; r.State != ledger.StateRunning {
			return ledger.ErrFenced
		}
	}
	if nonce != done.Nonce {
		return ledger.ErrFenced
	}
	keep := s.retaining(done)
	if err := s.settle(ctx, func(error) *op { return s.finishOp(ctx, done, value, keep) }, refused); err != nil {
		return err
	}
	keep.recorded()
	return nil
}

// logs reports whether the record that stands tells that done was written.
func (s *Store) logs(done *ledger.Record, kv *mvccpb.KeyValue) bool {
	r, err := s.decode(done.ID, kv, false)
	if err != nil || r.Nonce == done.Nonce { // of the same claim: another finish of it
		return false
	}
	wrote := map[ledger.State]ledger.Outcome{
		ledger.StateSucceeded: ledger.OutcomeSucceeded, ledger.StateFailed: ledger.OutcomeFailed, ledger.StateInDoubt: ledger.OutcomeInDoubt,
	}[done.State]
	return slices.ContainsFunc(r.Log, func(a ledger.Attempt) bool { return a.Fence == done.Fence && a.Outcome == wrote })
}

func (s *Store) finishOp(ctx context.Context, done *ledger.Record, value []byte, keep *retaining) *op {
	if failpoint.On {
		failpoint.Hit(failpoint.EtcdFinishSending)
	}
	recordKey, runningKey := s.keys.both(done.ID)
	record, running := []byte(recordKey), []byte(runningKey)
	o := &op{
		id:   done.ID,
		cmps: []*pb.Compare{versionIs(record, done.Fence)},
		els: func() []*pb.RequestOp {
			return []*pb.RequestOp{
				get(record, ""),
				// Where somebody deleted the record by hand, the call must not stay blocked for as long as we live.
				nested([]*pb.Compare{versionIs(running, done.Fence)}, []*pb.RequestOp{del(running, "")}, nil),
			}
		},
	}
	if failpoint.On && failpoint.Mutant(failpoint.MutantFinishWithoutFence) {
		o.cmps = nil
	}
	if value == nil {
		tallies := s.keys.tallies(done.ID)
		o.then = []*pb.RequestOp{del(record, ""), del(running, ""), del(tallies, after(tallies))}
		return o
	}
	o.then = []*pb.RequestOp{put(record, value, keep.lease(ctx)), del(running, "")}
	if failpoint.On {
		o.breakFinish(s, done.State, value)
	}
	return keep.send(o)
}

// expires reports whether a retention applies to the record: only to one that
// is over for good. One in doubt, or to be retried, is never leased.
func expires(r *ledger.Record) bool {
	return r.State == ledger.StateSucceeded || r.State == ledger.StateFailed && r.Error != nil && r.Error.Class == ledger.ClassPermanent
}

// Delete implements [ledger.Store].
func (s *Store) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	err := id.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	if err == nil {
		err = s.remove(ctx, id, seen)
	}
	return wrap(err, "delete", id)
}

func (s *Store) remove(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	if id.IsCounter() {
		return s.tallies.removeCounter(ctx, id, seen)
	}
	record, running := s.keys.both(id)
	tallies := s.keys.tallies(id)
	sent := false
	return s.settle(ctx, func(error) *op {
		if failpoint.On {
			failpoint.Hit(failpoint.EtcdDeleteSending)
		}
		return &op{ // deletions alone: a cluster without space takes nothing else, and needs them
			id:   id,
			cmps: []*pb.Compare{versionIs(record, seen), created(record, pb.Compare_GREATER, 0), created(running, equal, 0)},
			then: []*pb.RequestOp{del(record, ""), del(tallies, after(tallies))},
			els:  func() []*pb.RequestOp { return s.readOps(id)[:elseTallies] },
		}
	}, func(ans answer) error {
		records, running := ans.kvs(elseRecord), ans.kvs(elseRunning)
		switch {
		case sent && (len(records) == 0 || records[0].CreateRevision > int64(seen)):
			return nil // by an earlier copy, or by another: what was to be deleted is gone
		case len(records) == 0:
			return ledger.ErrNotFound
		case len(running) > 0:
			return ledger.ErrRunning
		}
		return ledger.ErrFenced
	}, &sent)
}

// settle sends a write until its answer is definite or ctx ends. next makes
// the op anew for each copy, and is told the error of the last; refused says what a refusal means. sent, if given,
// tells refused whether an earlier copy may have been written.
//
// Each write compares with the version that it replaces, so that after any
// definite answer no earlier copy can land.
func (s *Store) settle(ctx context.Context, next func(last error) *op, refused func(answer) error, sent ...*bool) error {
	settled := true
	retry := newRetry()
	var last error
	for {
		o := next(last)
		o.unsure = o.unsure || !settled // it may have been written: then it is refused
		o.single = isNoSpace(last)      // a deletion passes, unless it shares its request with a put
		ans, err := s.writes.do(ctx, o)
		if err == nil {
			if ans.ok {
				return nil
			}
			return refused(ans)
		}
		last = err
		switch v := s.verdict(err); {
		case errors.Is(err, errNotSent):
			return s.failure(err, settled)
		case v == ambiguous:
			settled = false
			for _, p := range sent {
				*p = true
			}
		case v == noLease:
			s.leaseGone(nil)
		case v == again:
		default:
			return s.failure(err, settled)
		}
		if ctx.Err() == nil {
			pause(ctx, retry)
		}
		if ctx.Err() != nil {
			return s.failure(err, settled)
		}
	}
}

// leaseGone is called when a request names a lease that the cluster does not know any
// more: the session's (if there is one), or that of a notice or a retention.
func (s *Store) leaseGone(sess *session) {
	s.notices.renew()
	if s.retention != nil {
		s.retention.renew()
	}
	if sess != nil {
		sess.doubt()
	}
}

// Get implements [ledger.Store]. Lookups that wait at the same time share a request.
func (s *Store) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	err := id.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	var st standing
	if err == nil {
		st, err = s.get(ctx, id)
	}
	if err == nil && !st.found {
		err = ledger.ErrNotFound
	}
	return st.record, wrap(err, "get", id)
}

func (s *Store) get(ctx context.Context, id ledger.ID) (standing, error) {
	ans, err := s.look(ctx, id, s.readOps(id))
	if err != nil {
		return standing{}, err
	}
	st, err := s.standing(id, ans.responses)
	if err != nil {
		return st, s.failure(err, true)
	}
	return st, nil
}

// look reads, and reads again until it succeeds or ctx ends.
func (s *Store) look(ctx context.Context, id ledger.ID, ops []*pb.RequestOp) (answer, error) {
	retry := newRetry()
	for {
		ans, err := s.lookups.do(ctx, &op{id: id, then: ops})
		if err == nil {
			return ans, nil
		}
		if v := s.verdict(err); v != ambiguous && v != again || errors.Is(err, errNotSent) {
			return ans, s.failure(err, true)
		}
		if ctx.Err() == nil {
			pause(ctx, retry)
		}
		if ctx.Err() != nil {
			return ans, s.failure(err, true)
		}
	}
}
