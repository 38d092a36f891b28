package etcdstore

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A renewer renews one lease. It is for one goroutine.
type renewer interface {
	// renew returns the TTL from when the server got this very request; 0 or less: the lease is gone.
	renew(ctx context.Context) (time.Duration, error)
	// close lets go of what the renewals share.
	close()
}

// A keepAlive renews a lease on one stream, since each that is opened costs a login
// where there is a password. One request is under way at a time, and a stream that owes an answer when
// its caller's time is over is ended: no later request takes that answer for its own.
//
// It is not clientv3's KeepAlive, which stays with a member that is dead and tells of a
// loss late, nor KeepAliveOnce, which sends again without a pause as long as nobody answers.
type keepAlive struct {
	client *clientv3.Client
	lease  clientv3.LeaseID
	ctx    context.Context // of all streams

	stream pb.Lease_LeaseKeepAliveClient // nil: the next renewal opens one
	end    context.CancelFunc            // of the stream
}

func (k *keepAlive) renew(ctx context.Context) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err // nothing is asked: the answer would be nobody's, and cost the stream
	}
	sctx := k.ctx
	if k.stream == nil {
		sctx, k.end = context.WithCancel(k.ctx)
	}
	stop := context.AfterFunc(ctx, k.end)
	ttl, err := k.ask(sctx)
	if !stop() || err != nil {
		k.close()
	}
	return ttl, clientv3.ContextError(ctx, err)
}

// ask sends one request on the stream, and waits for its answer.
func (k *keepAlive) ask(sctx context.Context) (time.Duration, error) {
	if k.stream == nil {
		stream, err := clientv3.RetryLeaseClient(k.client).LeaseKeepAlive(sctx)
		if err != nil {
			return 0, err
		}
		k.stream = stream
	}
	// An error of Send says only that the stream has ended; that of Recv says why.
	_ = k.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(k.lease)})
	r, err := k.stream.Recv()
	if err != nil {
		return 0, err
	}
	return time.Duration(r.TTL) * time.Second, nil
}

func (k *keepAlive) close() {
	if k.end != nil {
		k.end()
	}
	k.stream, k.end = nil, nil
}
