package etcdstore

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A lessor is what sessions need of the cluster. Each call is one request, but for
// renewer and follow.
type lessor interface {
	// grant returns a lease, and the TTL that the server has decided upon.
	grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error)
	// renewer returns what renews the lease. Until it is closed, or ctx ends, it may hold a stream.
	renewer(ctx context.Context, lease clientv3.LeaseID) renewer
	revoke(ctx context.Context, lease clientv3.LeaseID) error
	// held counts the keys of the lease.
	held(ctx context.Context, lease clientv3.LeaseID) (int, error)
	// put writes the key under the lease if its create revision is still created
	// (0: there is none), and returns it as it stands then; nil: there is none.
	put(ctx context.Context, key, value string, lease clientv3.LeaseID, created int64) (*mvccpb.KeyValue, error)
	remove(ctx context.Context, key string) error
	// get returns the key, nil if there is none, and the revision of the store.
	get(ctx context.Context, key string) (*mvccpb.KeyValue, int64, error)
	// follow watches the key from that revision on, and hands on what it is told until ctx
	// ends, the watch fails, or handle reports false.
	follow(ctx context.Context, key string, from int64, handle func(*clientv3.WatchResponse) bool) error
}

type etcdLessor struct {
	client  *clientv3.Client
	watches *watches
}

func (e etcdLessor) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	r, err := e.client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, 0, err
	}
	return r.ID, time.Duration(r.TTL) * time.Second, nil
}

func (e etcdLessor) renewer(ctx context.Context, lease clientv3.LeaseID) renewer {
	return &keepAlive{client: e.client, lease: lease, ctx: ctx}
}

func (e etcdLessor) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	_, err := e.client.Revoke(ctx, lease)
	return err
}

func (e etcdLessor) held(ctx context.Context, lease clientv3.LeaseID) (int, error) {
	r, err := e.client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	if err != nil {
		return 0, err
	}
	return len(r.Keys), nil
}

func (e etcdLessor) put(ctx context.Context, key, value string, lease clientv3.LeaseID, created int64) (*mvccpb.KeyValue, error) {
	r, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", created)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(lease)), clientv3.OpGet(key)).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return nil, err
	}
	return firstOf(kvsOf(r.Responses[len(r.Responses)-1])), nil
}

func (e etcdLessor) remove(ctx context.Context, key string) error {
	_, err := e.client.Delete(ctx, key)
	return err
}

func (e etcdLessor) get(ctx context.Context, key string) (*mvccpb.KeyValue, int64, error) {
	r, err := e.client.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return firstOf(r.Kvs), r.Header.Revision, nil
}

func (e etcdLessor) follow(ctx context.Context, key string, from int64, handle func(*clientv3.WatchResponse) bool) error {
	return e.watches.follow(ctx, key, handle, clientv3.WithRev(from))
}

func firstOf(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}
