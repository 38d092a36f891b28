package etcdstore

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// Transactions are made of etcd's own messages: clientv3's Op and Cmp are copied several times, and its
// compares cloned by reflection, on their way to these; every claim and finish would pay for it. A message is not changed once it is made; operations of a transaction may share a key.

// A kv carries out transactions.
type kv interface {
	Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error)
}

// clientKV sends by the client's own way: with its login, its limits, its endpoints.
type clientKV struct {
	remote pb.KVClient
	opts   []grpc.CallOption
}

func newClientKV(c *clientv3.Client) *clientKV {
	var t callOptions
	// Nothing is sent: this is how clientv3 tells the options of its calls.
	_, _ = clientv3.NewKVFromKVClient(&t, c).Txn(context.Background()).Commit()
	return &clientKV{clientv3.RetryKVClient(c), t.opts}
}

func (c *clientKV) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	ans, err := c.remote.Txn(ctx, r, c.opts...)
	return ans, clientv3.ContextError(ctx, err)
}

// callOptions keeps the options of the calls that it is asked for, and sends none.
type callOptions struct {
	pb.KVClient
	opts []grpc.CallOption
}

func (t *callOptions) Txn(_ context.Context, _ *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	t.opts = opts
	return &pb.TxnResponse{}, nil
}

// text is what keys and values are given as; only strings are copied.
type text interface{ string | []byte }

// put writes a key; its lease may be 0: none.
func put[K, V text](key K, value V, lease clientv3.LeaseID) *pb.RequestOp {
	m := &struct { // one allocation
		op   pb.RequestOp
		kind pb.RequestOp_RequestPut
		r    pb.PutRequest
	}{}
	m.r.Key, m.r.Value, m.r.Lease = []byte(key), []byte(value), int64(lease)
	m.kind.RequestPut, m.op.Request = &m.r, &m.kind
	return &m.op
}

// del deletes a key, or all in [key, end); end may be "": the key alone.
func del[K text](key K, end string) *pb.RequestOp {
	m := &struct {
		op   pb.RequestOp
		kind pb.RequestOp_RequestDeleteRange
		r    pb.DeleteRangeRequest
	}{}
	m.r.Key, m.r.RangeEnd = []byte(key), rangeEnd(end)
	m.kind.RequestDeleteRange, m.op.Request = &m.r, &m.kind
	return &m.op
}

// get reads a key, or all in [key, end); end may be "": the key alone. The request can be narrowed before it is sent.
func get[K text](key K, end string, narrow ...func(*pb.RangeRequest)) *pb.RequestOp {
	m := &struct {
		op   pb.RequestOp
		kind pb.RequestOp_RequestRange
		r    pb.RangeRequest
	}{}
	m.r.Key, m.r.RangeEnd = []byte(key), rangeEnd(end)
	for _, n := range narrow {
		n(&m.r)
	}
	m.kind.RequestRange, m.op.Request = &m.r, &m.kind
	return &m.op
}

func keysOnly(r *pb.RangeRequest)  { r.KeysOnly = true }
func countOnly(r *pb.RangeRequest) { r.CountOnly = true }

func rangeEnd(end string) []byte {
	if end == "" {
		return nil
	}
	return []byte(end)
}

// nested is a transaction inside of one.
func nested(cmps []*pb.Compare, then, els []*pb.RequestOp) *pb.RequestOp {
	m := &struct {
		op   pb.RequestOp
		kind pb.RequestOp_RequestTxn
		r    pb.TxnRequest
	}{}
	m.r.Compare, m.r.Success, m.r.Failure = cmps, then, els
	m.kind.RequestTxn, m.op.Request = &m.r, &m.kind
	return &m.op
}

// created compares the revision that created a key; 0 for one that is not there.
func created[K text](key K, how pb.Compare_CompareResult, revision int64) *pb.Compare {
	m := &struct {
		c      pb.Compare
		target pb.Compare_CreateRevision
	}{}
	m.target.CreateRevision = revision
	m.c.Key, m.c.Result, m.c.Target, m.c.TargetUnion = []byte(key), how, pb.Compare_CREATE, &m.target
	return &m.c
}

// modified compares the revision that last wrote a key; 0 for one that is not there.
func modified[K text](key K, how pb.Compare_CompareResult, revision int64) *pb.Compare {
	m := &struct {
		c      pb.Compare
		target pb.Compare_ModRevision
	}{}
	m.target.ModRevision = revision
	m.c.Key, m.c.Result, m.c.Target, m.c.TargetUnion = []byte(key), how, pb.Compare_MOD, &m.target
	return &m.c
}

// upTo has a compare hold for all keys from its own to end.
func upTo(end string, c *pb.Compare) *pb.Compare {
	c.RangeEnd = []byte(end)
	return c
}

const equal = pb.Compare_EQUAL

// sizeOf is what an operation of an op weighs.
func sizeOf(o *pb.RequestOp) int {
	switch r := o.Request.(type) {
	case *pb.RequestOp_RequestPut:
		return len(r.RequestPut.Key) + len(r.RequestPut.Value)
	case *pb.RequestOp_RequestDeleteRange:
		return len(r.RequestDeleteRange.Key)
	case *pb.RequestOp_RequestRange:
		return len(r.RequestRange.Key)
	}
	return 0
}
