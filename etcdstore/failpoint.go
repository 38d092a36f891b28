package etcdstore

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// This file holds what the failpoints of this package need more than a line for. Without
// their build tag nothing here is called, and none of it is in a program.

// isWrite reports whether a transaction writes: lookups compare nothing, and nest none.
func isWrite(cmps []*pb.Compare, then []*pb.RequestOp) bool {
	return len(cmps) > 0 || len(then) > 0 && then[0].GetRequestRange() == nil
}

// takingOver is told of the claim of a record that stands. Under MutantGetDeleteClaim it deletes
// what stands by now, and makes c a claim of nothing.
func (s *Store) takingOver(ctx context.Context, c *ledger.Claim) error {
	if !c.Steal {
		failpoint.Hit(failpoint.EtcdTakeover)
	}
	if !failpoint.Mutant(failpoint.MutantGetDeleteClaim) {
		return nil
	}
	failpoint.Hit(failpoint.MutantGot)
	record, running := s.keys.both(c.Next.ID)
	ctx, cancel := s.sessions.request(ctx)
	defer cancel()
	if _, err := s.client.Txn(ctx).Then(clientv3.OpDelete(record), clientv3.OpDelete(running)).Commit(); err != nil {
		return s.failure(fmt.Errorf("delete: %w", err), false)
	}
	failpoint.Hit(failpoint.MutantDeleted)
	c.Seen = 0
	return nil
}

// breakClaim breaks the op of a claim that writes value, as the mutants ask.
func (o *op) breakClaim(sess *session, value []byte) {
	if failpoint.Mutant(failpoint.MutantUnconditionalClaim) {
		o.cmps = nil
	}
	if failpoint.Mutant(failpoint.MutantWallClock) && len(o.cmps) > 0 {
		o.cmps = o.cmps[:1] // who looked has judged: the version is compared, the running key is not
	}
	if failpoint.Mutant(failpoint.MutantLateCopy) {
		o.fence = fence{}
	}
	if failpoint.Mutant(failpoint.MutantInDoubtLeased) {
		o.then[0] = put(o.then[0].GetRequestPut().Key, value, sess.lease)
	}
}

// breakFinish breaks the op of a finish that writes value, as the mutants ask.
func (o *op) breakFinish(s *Store, state ledger.State, value []byte) {
	leased := failpoint.Mutant(failpoint.MutantSuccessOnLease) && state == ledger.StateSucceeded ||
		failpoint.Mutant(failpoint.MutantInDoubtLeased) && state == ledger.StateInDoubt
	if lease := s.anyLease(); leased && lease != clientv3.NoLease {
		o.then[0] = put(o.then[0].GetRequestPut().Key, value, lease)
	}
}

// anyLease is that of the oldest session, NoLease if there is none.
func (s *Store) anyLease() clientv3.LeaseID {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if len(s.sessions.live) == 0 {
		return clientv3.NoLease
	}
	return s.sessions.live[0].lease
}

// finishLater is Finish under MutantAckBeforeCommit, behind the caller's back. Close waits for it.
func (s *Store) finishLater(done ledger.Record) {
	s.workers.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, s.opts.RequestTimeout)
		defer cancel()
		_ = s.finish(ctx, &done) // nobody is left to be told
		s.held.over(done.ID, done.Fence)
	})
}
