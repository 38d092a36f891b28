package etcdstore

import (
	"bytes"
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// A retaining is a finish whose record is to expire; nil: it is kept for ever.
type retaining struct {
	s      *Store
	last   *op    // its last copy
	asked  moment // when that asked for its lease
	leased bool   // and got one
}

func (s *Store) retaining(done *ledger.Record) *retaining {
	if s.retention == nil || !expires(done) {
		return nil
	}
	return &retaining{s: s}
}

// lease returns the lease under which a copy of the finish puts the record; 0: none.
func (r *retaining) lease(ctx context.Context) clientv3.LeaseID {
	if r == nil {
		return 0
	}
	r.asked = r.s.sessions.now()
	lease, err := r.s.retention.lease(ctx)
	if r.leased = err == nil; !r.leased {
		return 0 // better kept for ever than not recorded
	}
	return lease
}

// send makes o the copy that is sent. It also tells whether counts stand, which do not end with the record yet.
func (r *retaining) send(o *op) *op {
	if r != nil {
		r.last = o
		tallies := r.s.keys.tallies(o.id)
		o.then = append(o.then, get(tallies, after(tallies), countOnly))
	}
	return o
}

// recorded is called once the finish stands. A copy that landed in time has a
// lease that is long enough, see bucket; of one whose answer was lost nobody knows when it landed.
func (r *retaining) recorded() {
	if r == nil {
		return
	}
	ans := &r.last.ans
	c := chore{id: r.last.id}
	switch {
	case !ans.ok:
		c.relet = ans.kvs(elseRecord)[0].ModRevision
	case !r.leased:
		return
	case !r.s.inTime(r.asked):
		c.relet = ans.revision
	case ans.responses[len(ans.responses)-1].GetResponseRange().GetCount() == 0:
		return
	}
	r.s.upkeep.add(c)
}

// reclaimed is called once a claim stands: counts of a record that was to expire would do so now.
func (s *Store) reclaimed(c *ledger.Claim) {
	if s.retention != nil && c.Seen != 0 {
		s.upkeep.add(chore{id: c.Next.ID})
	}
}

// inTime reports whether a key that is there now was put in time by whoever asked for its lease then.
func (s *Store) inTime(asked moment) bool {
	return s.sessions.now().since(asked) <= 2*s.opts.RequestTimeout
}

// relet puts the record under another lease, unless it has changed since version. It
// returns when that has happened in time, or ctx has ended.
func (s *Store) relet(ctx context.Context, id ledger.ID, version int64) error {
	record := s.keys.record(id)
	retry := newRetry()
	var value []byte
	for {
		ans, err := s.look(ctx, id, []*pb.RequestOp{get(record, "")})
		if err != nil {
			return err
		}
		kvs := ans.kvs(0)
		if len(kvs) == 0 || kvs[0].Lease == 0 || kvs[0].ModRevision != version && (value == nil || !bytes.Equal(kvs[0].Value, value)) {
			return nil // expired, kept for ever, or another's; but not an earlier copy of ours
		}
		value = kvs[0].Value
		asked := s.sessions.now()
		lease, err := s.retention.lease(ctx)
		if err == nil && int64(lease) == kvs[0].Lease {
			return nil // it is good enough for a record that is written now
		}
		if err == nil {
			ans, err = s.writes.do(ctx, &op{
				id:   id,
				cmps: []*pb.Compare{modified(record, equal, kvs[0].ModRevision)},
				then: []*pb.RequestOp{put(record, value, lease)},
			})
		}
		switch v := verdictOf(err); {
		case err == nil && ans.ok && s.inTime(asked):
			return nil
		case err != nil && (v == denied || v == tooMany):
			return err
		case err != nil && v == noLease:
			s.leaseGone(nil)
		}
		pause(ctx, retry)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
