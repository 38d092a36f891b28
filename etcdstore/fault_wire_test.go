package etcdstore_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// A wire is what lies between a store and the cluster: it loses, delays and repeats requests.
type wire struct {
	mu   sync.Mutex
	n    int // requests since do was set
	do   fate
	edit func(*pb.TxnRequest)
	late []*pb.TxnRequest
	then func() // once the first one is held back
}

// A fate is what becomes of the request with that number; deliver carries it out.
type fate func(n int, r *rpc, deliver func() error) error

// An rpc is one request, other than those of streams.
type rpc struct {
	ctx    context.Context
	method string // such as "Txn"
	req    any
	again  func() error // carries it out, for nobody: whatever became of the one who asked
}

func (w *wire) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.mu.Lock()
	do, n := w.do, w.n
	w.n++
	if txn, ok := req.(*pb.TxnRequest); ok && w.edit != nil {
		w.edit(txn)
	}
	w.mu.Unlock()
	deliver := func() error { return invoker(ctx, method, req, reply, cc, opts...) }
	if do == nil {
		return deliver()
	}
	again := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return invoker(ctx, method, req, new(pb.TxnResponse), cc)
	}
	return do(n, &rpc{ctx, method[strings.LastIndexByte(method, '/')+1:], req, again}, deliver)
}

func (w *wire) option() grpc.DialOption { return grpc.WithChainUnaryInterceptor(w.intercept) }

// set begins to count anew, and has do decide from now on; nil: nothing goes wrong.
func (w *wire) set(do fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.do = 0, do
}

// requests returns how many there were since set.
func (w *wire) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// only applies a fate to the request with that number.
func only(n int, do fate) fate {
	return func(i int, r *rpc, deliver func() error) error {
		if i == n {
			return do(i, r, deliver)
		}
		return deliver()
	}
}

// everyThird applies a fate to the first, the fourth, and so on.
func everyThird(do fate) fate {
	return func(i int, r *rpc, deliver func() error) error {
		if i%3 == 0 {
			return do(i, r, deliver)
		}
		return deliver()
	}
}

// loseAnswer has the request carried out, and answers with err.
func loseAnswer(err error) fate {
	return func(_ int, _ *rpc, deliver func() error) error {
		if e := deliver(); e != nil {
			return e
		}
		return err
	}
}

func loseRequest(err error) fate {
	return func(int, *rpc, func() error) error { return err }
}

// twice has the request carried out two times; the second answer counts.
func twice(_ int, _ *rpc, deliver func() error) error {
	if err := deliver(); err != nil {
		return err
	}
	return deliver()
}

// delay has the request wait.
func delay(d time.Duration) fate {
	return func(_ int, r *rpc, deliver func() error) error {
		select {
		case <-time.After(d):
		case <-r.ctx.Done():
			return status.FromContextError(r.ctx.Err()).Err()
		}
		return deliver()
	}
}

// holding keeps the first transaction that puts a key with this part, and the
// store is told that the connection broke. The test delivers it.
func (w *wire) holding(part string) fate {
	held := false
	return func(_ int, r *rpc, deliver func() error) error {
		txn, ok := r.req.(*pb.TxnRequest)
		w.mu.Lock()
		if held || !ok || !puts(txn, part) {
			w.mu.Unlock()
			return deliver()
		}
		held = true
		w.late = append(w.late, txn)
		then := w.then
		w.mu.Unlock()
		if then != nil {
			then()
		}
		return ambiguousAnswers["unavailable"]
	}
}

// gather holds up one write of s, so that those that follow share the next
// request once there are n. That and the others get the fate. The function
// returned sends the write, and returns when it was answered.
func (w *wire) gather(s *etcdstore.Store, n int, do fate) (send func()) {
	began := make(chan struct{})
	w.set(func(i int, r *rpc, deliver func() error) error {
		if i > 0 {
			return do(i, r, deliver)
		}
		close(began)
		for etcdstore.Queued(s) < n && r.ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return deliver()
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = s.Claim(context.Background(), claimOf(freshID(), 0))
	}()
	<-began
	return func() { <-done }
}

// afterHold has f called when the request was held back, before the store is told anything.
func (w *wire) afterHold(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.then = f
}

func (w *wire) heldBack() []*pb.TxnRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

// deliver sends what was held back, through another client, and returns whether the claim of id landed.
func (w *wire) deliver(t testing.TB, client *clientv3.Client, id ledger.ID) bool {
	t.Helper()
	w.mu.Lock()
	late := w.late
	w.late = nil
	w.mu.Unlock()
	if len(late) != 1 {
		t.Fatalf("%d requests were held back, want 1", len(late))
	}
	ans, err := pb.NewKVClient(client.ActiveConnection()).Txn(t.Context(), late[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, op := range late[0].Success {
		if t := op.GetRequestTxn(); t != nil && puts(t, id.Fingerprint) {
			return ans.Responses[i].GetResponseTxn().GetSucceeded()
		}
	}
	return ans.Succeeded
}

// puts reports whether the transaction may put a key with this part.
func puts(r *pb.TxnRequest, part string) bool {
	for _, op := range r.Success {
		if p := op.GetRequestPut(); p != nil && strings.Contains(string(p.Key), part) {
			return true
		}
		if t := op.GetRequestTxn(); t != nil && puts(t, part) {
			return true
		}
	}
	return false
}

// unfenced makes claims as naive as they could be: it takes the compare with the session's key out of them.
func unfenced(r *pb.TxnRequest) {
	var cmps []*pb.Compare
	for _, c := range r.Compare {
		if !strings.Contains(string(c.Key), "/sessions/") {
			cmps = append(cmps, c)
		}
	}
	if puts(r, "/records/") {
		r.Compare = cmps
	}
	for _, op := range r.Success {
		if t := op.GetRequestTxn(); t != nil {
			unfenced(t)
		}
	}
}

// ambiguousAnswers say nothing about what became of the request.
var ambiguousAnswers = map[string]error{
	"unavailable":   status.Error(codes.Unavailable, "transport is closing"),
	"deadline":      status.Error(codes.DeadlineExceeded, "context deadline exceeded"),
	"canceled":      status.Error(codes.Canceled, "context canceled"),
	"unknown":       status.Error(codes.Unknown, "stream terminated"),
	"internal":      status.Error(codes.Internal, "stream terminated by RST_STREAM"),
	"exhausted":     status.Error(codes.ResourceExhausted, "a proxy on the way has had enough"),
	"no space":      rpctypes.ErrGRPCNoSpace,
	"timeout":       rpctypes.ErrGRPCTimeoutDueToConnectionLost,
	"leader change": rpctypes.ErrGRPCLeaderChanged,
}
