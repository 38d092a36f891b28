package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// newRetry paces everything that is sent again: jittered, and bounded by the caller's context.
func newRetry() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond),
		backoff.WithMaxInterval(500*time.Millisecond), backoff.WithMaxElapsedTime(0))
}

func pause(ctx context.Context, b backoff.BackOff) {
	t := time.NewTimer(b.NextBackOff())
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Claim implements [ledger.Store]. Uncontended it costs one request; the
// first one of a session three.
//
// A copy of the claim whose answer is lost may land late. It compares with the
// mod revision of the session's key, which is written anew before the claim is
// sent again: so no older copy can land after any answer of this method that is definite.
func (s *Store) Claim(ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	err := c.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return ledger.Record{}, false, wrap(err, "claim", c.Next.ID)
	}
	r, won, err := s.claim(ctx, &c)
	return r, won, wrap(err, "claim", c.Next.ID)
}

func (s *Store) claim(ctx context.Context, c *ledger.Claim) (ledger.Record, bool, error) {
	id := c.Next.ID
	settled := true // no copy of it can have been written
	retry := newRetry()
	if failpoint.On && c.Seen != 0 {
		if err := s.takingOver(ctx, c); err != nil {
			return ledger.Record{}, false, err
		}
	}
	for {
		sess, err := s.sessions.acquire(ctx, c.Next.Nonce)
		if err != nil {
			return ledger.Record{}, false, s.failure(err, settled)
		}
		o, next, err := s.claimOp(ctx, c, sess)
		if err != nil {
			sess.release()
			return ledger.Record{}, false, s.failure(err, settled)
		}
		o.unsure = o.unsure || !settled
		if failpoint.On {
			failpoint.Hit(failpoint.EtcdClaimSending)
		}
		ans, err := s.writes.do(ctx, o)
		if err == nil && ans.ok {
			s.hot.forget(id)
			r := granted(next, ans.revision)
			s.held.add(&r, sess)
			s.reclaimed(c)
			return r, true, nil
		}
		if err == nil {
			var st standing
			if st, err = s.standing(id, ans.responses); err != nil {
				sess.release()
				return ledger.Record{}, false, s.failure(err, settled)
			}
			switch {
			case st.found && st.record.State == ledger.StateRunning && st.record.Nonce == c.Next.Nonce:
				if !st.record.Alive { // and its session has ended since
					sess.release()
					return st.record, false, nil
				}
				s.held.add(&st.record, sess) // an earlier copy was granted
				s.reclaimed(c)
				return st.record, true, nil
			case st.record.Version != c.Seen || st.record.Alive && !c.Steal:
				sess.release()
				s.hot.add(id)
				return st.record, false, nil
			}
			sess.release()
			if len(ans.kvs(elseRunning)) > 0 && !st.record.Alive && !c.Steal {
				return ledger.Record{}, false, s.failure(fmt.Errorf("%w: the key %q stands without a record that runs, which somebody has deleted or written by hand; it goes when its worker finishes or ends; if nobody runs the call: etcdctl del %q",
					ledger.ErrUnavailable, s.keys.running(id), s.keys.running(id)), settled)
			}
			sess.learn(ans.kvs(elseSession)) // it was the session that did not match; nothing was written
		} else {
			sess.release()
			switch v := s.verdict(err); {
			case errors.Is(err, errNotSent):
				return ledger.Record{}, false, s.failure(err, settled)
			case v == ambiguous: // a caller who walked away is one of these
				if failpoint.On {
					failpoint.Hit(failpoint.EtcdClaimUnsure)
				}
				sess.suspect(c.Next.Nonce, o.fence.mark)
				settled = false
			case v == noLease:
				s.leaseGone(sess)
			case v != again:
				return ledger.Record{}, false, s.failure(err, settled)
			}
		}
		if ctx.Err() == nil {
			pause(ctx, retry)
		}
		if ctx.Err() != nil {
			if err == nil {
				err = context.Cause(ctx)
			}
			return ledger.Record{}, false, s.failure(err, settled)
		}
	}
}

// What the Else of a claim, and a lookup, read; in this order.
const (
	elseRecord = iota
	elseRunning
	elseTallies
	elseSession
)

func (s *Store) readOps(id ledger.ID) []*pb.RequestOp {
	tallies := s.keys.tallies(id)
	record, running := s.keys.both(id)
	return []*pb.RequestOp{get(record, ""), get(running, "", keysOnly), get(tallies, after(tallies))}
}

// claimOp returns the transaction of c under the session, and the record that it writes.
func (s *Store) claimOp(ctx context.Context, c *ledger.Claim, sess *session) (*op, *ledger.Record, error) {
	next := c.Next
	next.Owner.Session, next.Owner.Host, next.Owner.PID = sess.name, s.host, s.pid
	value, err := recordjson.Encode(&next)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ledger.ErrInvalid, err)
	}
	id := next.ID
	recordKey, runningKey := s.keys.both(id)
	record, running := []byte(recordKey), []byte(runningKey)
	o := &op{
		id: id, fence: sess.fence(), unsure: s.hot.has(id),
		cmps: []*pb.Compare{versionIs(record, c.Seen)},
		then: []*pb.RequestOp{put(record, value, 0), put(running, sess.name, sess.lease)},
		els:  func() []*pb.RequestOp { return append(s.readOps(id), get(sess.key, "")) },
	}
	if !c.Steal {
		o.cmps = append(o.cmps, created(running, equal, 0))
	}
	if c.Seen != 0 { // what others remember of the record is stale from now on
		notice, err := s.notice(ctx, id, ledger.ChangePut)
		if err != nil {
			return nil, nil, err
		}
		o.then = append(o.then, notice)
	} else if s.retention != nil { // the counts of a record that has expired
		tallies := s.keys.tallies(id)
		o.then = append(o.then, del(tallies, after(tallies)))
	}
	if failpoint.On {
		o.breakClaim(sess, value)
	}
	return o, &next, nil
}

// versionIs compares the record's version; 0: none is stored.
func versionIs[K text](key K, v ledger.Version) *pb.Compare {
	if v == 0 {
		return created(key, equal, 0)
	}
	return modified(key, equal, int64(v))
}

// granted is the record as the claim wrote it.
func granted(next *ledger.Record, revision int64) ledger.Record {
	r := *next
	recordjson.Cut(&r)
	r.Version, r.Fence, r.Alive = ledger.Version(revision), ledger.Version(revision), true
	r.AddTally(ledger.Tally{})
	return r
}

// standing is what is stored of one ID.
type standing struct {
	record ledger.Record
	found  bool
	kv     *mvccpb.KeyValue // of the record
}

// standing decodes what readOps read.
func (s *Store) standing(id ledger.ID, responses []*pb.ResponseOp) (standing, error) {
	records, running, tallies := kvsOf(responses[elseRecord]), kvsOf(responses[elseRunning]), kvsOf(responses[elseTallies])
	if id.IsCounter() {
		if len(tallies) == 0 {
			return standing{}, nil
		}
		r := ledger.Record{ID: id}
		sum, err := s.sum(id, 0, tallies)
		r.AddTally(sum)
		return standing{record: r, found: true}, err
	}
	if len(records) == 0 {
		return standing{}, nil
	}
	r, err := s.decode(id, records[0], len(running) > 0)
	if err != nil {
		return standing{}, err
	}
	sum, err := s.sum(id, records[0].CreateRevision, tallies)
	r.AddTally(sum)
	return standing{r, true, records[0]}, err
}

// decode decodes a record without its tallies.
func (s *Store) decode(id ledger.ID, kv *mvccpb.KeyValue, running bool) (ledger.Record, error) {
	r, err := recordjson.Decode(id, ledger.Version(kv.ModRevision), kv.Value)
	if err != nil {
		return r, fmt.Errorf("%w: key %q: %w (another program writes below the prefix %q? give ledger one of its own)", ledger.ErrUnavailable, kv.Key, err, s.opts.Prefix)
	}
	r.Alive = r.State == ledger.StateRunning && running
	if failpoint.On && failpoint.Mutant(failpoint.MutantWallClock) {
		r.Alive = r.State == ledger.StateRunning && !failpoint.Stale(r.Started)
	}
	return r, nil
}
