package etcdstore

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

const (
	// noticeTTL is how long a change notice stands, at most. It is there to be
	// watched, not to be read.
	noticeTTL = time.Minute
	// bucketKeys bounds the keys of one lease: a lease that ends deletes all of its keys in one step.
	bucketKeys = 1000
)

// A bucket hands out leases that keys share. A lease takes keys for as long as
// fill, and at most bucketKeys of them, with those beside them; then there is another. So a key
// stands for ttl-fill at least, if it is written within twice RequestTimeout of the call of
// lease. All by the clock that says more: a lease goes on while this machine is suspended.
type bucket struct {
	s         *Store
	ttl, fill time.Duration
	beside    int // how many keys more, at most, others put under the lease of each key; set before use
	tasks     *tasks

	mu       sync.Mutex
	current  clientv3.LeaseID
	left     int       // keys that it may still take
	since    moment    // when it was granted, as far as is known
	granting *granting // the one request for a lease that is under way
}

type granting struct {
	done chan struct{}
	err  error // once done
}

func newBucket(s *Store, ttl, fill time.Duration) *bucket {
	return &bucket{s: s, ttl: ttl, fill: fill, tasks: newTasks(s)}
}

// lease returns the lease for one key that is written now. It asks the cluster
// for one where needed, for as long as RequestTimeout; callers share the request, and one who walks away spoils it for nobody.
func (b *bucket) lease(ctx context.Context) (clientv3.LeaseID, error) {
	for {
		now := b.s.sessions.now()
		b.mu.Lock()
		if b.left > 0 && now.since(b.since) < b.fill {
			b.left--
			id := b.current
			b.mu.Unlock()
			return id, nil
		}
		g := b.granting
		if g == nil {
			g = &granting{done: make(chan struct{})}
			if !b.tasks.start(func() { b.grant(g) }) {
				b.mu.Unlock()
				return 0, ledger.ErrClosed
			}
			b.granting = g
		}
		b.mu.Unlock()
		select {
		case <-g.done:
			if g.err != nil {
				return 0, g.err
			}
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// grant asks for a lease until RequestTimeout is over. One whose grant was not
// heard of ends by itself, without a key.
func (b *bucket) grant(g *granting) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(b.s.life), b.s.opts.RequestTimeout)
	defer cancel()
	// The lease is up to RequestTimeout old when it is known, and a key is written up to twice that after it was asked for.
	seconds := int64((b.ttl + 3*b.s.opts.RequestTimeout + time.Second - 1) / time.Second)
	retry := newRetry()
	for {
		sent := b.s.sessions.now()
		r, err := b.s.client.Grant(ctx, seconds)
		if now := b.s.sessions.now(); err == nil && now.since(sent) <= b.s.opts.RequestTimeout {
			b.settle(g, r.ID, now)
			return
		}
		if err == nil { // this machine was suspended meanwhile, and nobody knows how old the lease is
			continue
		}
		if v := verdictOf(err); (v == ambiguous || v == again) && !isNoSpace(err) {
			pause(ctx, retry)
			if ctx.Err() == nil {
				continue
			}
		}
		g.err = err
		b.mu.Lock()
		b.granting = nil
		b.mu.Unlock()
		close(g.done)
		return
	}
}

func (b *bucket) settle(g *granting, id clientv3.LeaseID, now moment) {
	b.mu.Lock()
	b.current, b.left, b.since, b.granting = id, bucketKeys/(1+b.beside), now, nil
	b.mu.Unlock()
	close(g.done)
}

// renew forgets the current lease: the cluster does not know it any more.
func (b *bucket) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = 0
}

// noticed is the value of a change notice. Fields may be added to it.
type noticed struct {
	V    int    `json:"v"`
	Kind string `json:"kind"`
}

const (
	noticePut    = "put"
	noticeDelete = "delete"
)

// notice returns the put that tells all workers of a change.
func (s *Store) notice(ctx context.Context, id ledger.ID, kind ledger.ChangeKind) (*pb.RequestOp, error) {
	lease, err := s.notices.lease(ctx)
	if err != nil {
		return nil, err
	}
	n := noticed{V: 1, Kind: noticePut}
	if kind == ledger.ChangeDelete {
		n.Kind = noticeDelete
	}
	value, err := json.Marshal(n)
	return put(s.keys.change(id), value, lease), err
}

// parseNotice returns what a notice tells: a ChangeSync, if it is not understood.
func (s *Store) parseNotice(kv *mvccpb.KeyValue) ledger.Change {
	var n noticed
	id, err := s.keys.parse(kindChanges, string(kv.Key))
	if err == nil {
		err = json.Unmarshal(kv.Value, &n)
	}
	c := ledger.Change{ID: id, Version: ledger.Version(kv.ModRevision)}
	switch {
	case err == nil && n.Kind == noticePut:
		c.Kind = ledger.ChangePut
	case err == nil && n.Kind == noticeDelete:
		c.Kind = ledger.ChangeDelete
	default:
		return ledger.Change{Kind: ledger.ChangeSync}
	}
	return c
}
