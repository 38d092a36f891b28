package etcdstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// A meter sees what a store sends to the cluster.
type meter struct {
	mu       sync.Mutex
	requests []string // unary ones, but for those of tallies; in the order of sending
	watching []string // keys of the watches that the cluster has confirmed
}

// metered opens a store below prefix with a meter.
func metered(t *testing.T, endpoints []string, prefix string) (*etcdstore.Store, *meter) {
	t.Helper()
	m := &meter{}
	// Nothing is sent again only because the disk is slow.
	s := openFor(t, endpoints, &etcdstore.Options{Prefix: prefix, RequestTimeout: time.Minute, DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			m.sent(method, req)
			return invoker(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := streamer(ctx, desc, cc, method, opts...)
			return &meteredStream{ClientStream: s, m: m}, err
		}),
	}})
	return s, m
}

func (m *meter) sent(method string, req any) {
	what := method
	if txn, ok := req.(*pb.TxnRequest); ok {
		keys := keysOf(txn)
		if strings.Contains(keys, "/tallies/") && !strings.Contains(keys, "/running/") {
			return // counts are written a second later, many in one request
		}
		what += " " + keys
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, what)
}

// keysOf lists what a transaction writes and reads, nested ones included.
func keysOf(txn *pb.TxnRequest) string {
	var b strings.Builder
	for _, ops := range [][]*pb.RequestOp{txn.Success, txn.Failure} {
		for _, op := range ops {
			switch r := op.Request.(type) {
			case *pb.RequestOp_RequestRange:
				b.WriteString(" get " + string(r.RequestRange.Key))
			case *pb.RequestOp_RequestPut:
				b.WriteString(" put " + string(r.RequestPut.Key))
			case *pb.RequestOp_RequestDeleteRange:
				b.WriteString(" delete " + string(r.RequestDeleteRange.Key))
			case *pb.RequestOp_RequestTxn:
				b.WriteString(keysOf(r.RequestTxn))
			}
		}
	}
	return b.String()
}

// since returns the requests after the first n.
func (m *meter) since(n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.requests[n:]...)
}

func (m *meter) count() int { return len(m.since(0)) }

// watches counts the confirmed watches of keys that contain part.
func (m *meter) watches(part string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range m.watching {
		if strings.Contains(key, part) {
			n++
		}
	}
	return n
}

// A meteredStream is a watch stream: the cluster confirms its watches in the
// order of their requests.
type meteredStream struct {
	grpc.ClientStream
	m       *meter
	pending []string // guarded by m.mu
}

func (s *meteredStream) SendMsg(msg any) error {
	if w, ok := msg.(*pb.WatchRequest); ok && w.GetCreateRequest() != nil {
		s.m.mu.Lock()
		s.pending = append(s.pending, string(w.GetCreateRequest().Key))
		s.m.mu.Unlock()
	}
	return s.ClientStream.SendMsg(msg)
}

func (s *meteredStream) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	if w, ok := msg.(*pb.WatchResponse); ok && err == nil && w.Created {
		s.m.mu.Lock()
		s.m.watching = append(s.m.watching, s.pending[0])
		s.pending = s.pending[1:]
		s.m.mu.Unlock()
	}
	return err
}

// eventually returns once the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not so within a minute", what)
		}
	}
}

// guardOn returns a guard that is closed with the test.
func guardOn(t *testing.T, s ledger.Store) *ledger.Guard {
	t.Helper()
	g, err := ledger.New(s, &ledger.Options{Policies: map[string]ledger.Policy{
		"replay": {Replay: true},
		"wait":   {Wait: 5 * time.Minute},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// call makes a guarded call whose tool returns value.
func call(t *testing.T, g *ledger.Guard, tool, key, value string) (ledger.Result[string], error) {
	t.Helper()
	return ledger.Do(t.Context(), g, ledger.Call{Tool: tool, Key: key}, func(context.Context) (string, error) { return value, nil })
}

// A pair is two workers, each a guard on a store of its own.
type pair struct {
	s1     *etcdstore.Store
	m1, m2 *meter
	g1, g2 *ledger.Guard
}

// newPair returns workers that have a session each, and remember finished records for good:
// without notices of their changes they would for a second only.
func newPair(t *testing.T) *pair {
	t.Helper()
	endpoints := cluster(t, 1).Endpoints()
	p := &pair{}
	var s2 *etcdstore.Store
	p.s1, p.m1 = metered(t, endpoints, "pair")
	s2, p.m2 = metered(t, endpoints, "pair")
	p.g1, p.g2 = guardOn(t, p.s1), guardOn(t, s2)
	asked := time.Now()
	eventually(t, "duplicates are remembered", func() bool {
		n := p.m1.count() + p.m2.count()
		for i, g := range []*ledger.Guard{p.g1, p.g2} {
			if _, err := call(t, g, "replay", fmt.Sprint("warm-", i), "warm"); err != nil {
				t.Fatal(err)
			}
		}
		if p.m1.count()+p.m2.count() > n {
			asked = time.Now()
		}
		return time.Since(asked) > 1200*time.Millisecond
	})
	return p
}
