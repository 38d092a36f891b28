package worker

import (
	"bytes"
	"context"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger/chaos/internal/point"
)

// intercept returns what lets a worker halt right before a request to etcd leaves, and right
// after its answer came, which is then lost.
//
// Where a halt says so, a request is late instead: its sender is told that it failed, and it leaves when the harness says go.
func intercept(h *halts, prefix string) []grpc.DialOption {
	root := []byte(strings.TrimRight(prefix, "/") + "/")
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			sent, committed := pointsOf(req, root)
			if sent == "" {
				return invoke(ctx, method, req, reply, cc, opts...)
			}
			if h.late(ctx, sent, func(ctx context.Context) { _ = invoke(ctx, method, req, reply, cc, opts...) }) {
				return status.Error(codes.Unavailable, "chaos: the request is late")
			}
			h.at(sent, "")
			err := invoke(ctx, method, req, reply, cc, opts...)
			if err == nil && succeeded(reply) && h.at(committed, "") {
				return status.Error(codes.Unavailable, "chaos: the answer is lost")
			}
			return err
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := stream(ctx, desc, cc, method, opts...)
			if err != nil || !strings.HasSuffix(method, "/LeaseKeepAlive") {
				return s, err
			}
			return &renewals{s, h}, nil
		}),
	}
}

type renewals struct {
	grpc.ClientStream
	h *halts
}

func (r *renewals) SendMsg(m any) error {
	r.h.at(point.Renewal, "")
	return r.ClientStream.SendMsg(m)
}

func succeeded(reply any) bool {
	r, ok := reply.(*pb.TxnResponse)
	return ok && r.Succeeded
}

// pointsOf says what a transaction does, by the keys that it writes: a claim puts a running
// key, a finish deletes it with a record put, a deletion deletes the record. Where several ride together, a claim counts first.
func pointsOf(req any, root []byte) (sent, committed point.Point) {
	t, ok := req.(*pb.TxnRequest)
	if !ok {
		return "", ""
	}
	var claims, finishes, deletes bool
	var look func(t *pb.TxnRequest)
	look = func(t *pb.TxnRequest) {
		for _, op := range t.Success {
			switch {
			case op.GetRequestTxn() != nil:
				look(op.GetRequestTxn())
			case op.GetRequestPut() != nil:
				claims = claims || under(op.GetRequestPut().Key, root, "running/")
			case op.GetRequestDeleteRange() != nil:
				key := op.GetRequestDeleteRange().Key
				finishes = finishes || under(key, root, "running/")
				deletes = deletes || under(key, root, "records/")
			}
		}
	}
	look(t)
	switch {
	case claims:
		return point.ClaimSent, point.ClaimCommitted
	case finishes:
		return point.FinishSent, point.FinishCommitted
	case deletes:
		return point.DeleteSent, point.DeleteCommitted
	}
	return "", ""
}

func under(key, root []byte, dir string) bool {
	rest, ok := bytes.CutPrefix(key, root)
	return ok && bytes.HasPrefix(rest, []byte(dir))
}
