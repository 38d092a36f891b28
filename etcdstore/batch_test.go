package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/ledger-once/ledger"
)

// fakeKV answers transactions as the test says.
type fakeKV struct {
	mu   sync.Mutex
	sent []*fakeTxn
	// commit answers; it may block. succeeded is for the transaction, and for each nested one.
	commit func(t *fakeTxn) (succeeded bool, err error)
	member func(key string) bool // whether the nested transaction that puts key succeeds
}

type fakeTxn struct{ *pb.TxnRequest }

func (k *fakeKV) Txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	t := &fakeTxn{req}
	k.mu.Lock()
	k.sent = append(k.sent, t)
	k.mu.Unlock()
	type outcome struct {
		ok  bool
		err error
	}
	done := make(chan outcome, 1)
	go func() { // it goes on, whoever waits for it
		ok, err := k.commit(t)
		done <- outcome{ok, err}
	}()
	var ok bool
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		ok = o.ok
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: 7}, Succeeded: ok}
	ops := t.Success
	if !ok {
		ops = t.Failure
	}
	for _, o := range ops {
		if n := o.GetRequestTxn(); n != nil {
			nested := &pb.TxnResponse{Succeeded: k.member(string(n.Success[0].GetRequestPut().Key))}
			r.Responses = append(r.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: nested}})
			continue
		}
		r.Responses = append(r.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}})
	}
	return r, nil
}

// keys are what the transaction would put, nested ones in brackets.
func (t *fakeTxn) keys() string {
	var keys []string
	for _, o := range t.Success {
		if n := o.GetRequestTxn(); n != nil {
			keys = append(keys, "["+string(n.Success[0].GetRequestPut().Key)+"]")
			continue
		}
		keys = append(keys, string(o.GetRequestPut().Key))
	}
	return strings.Join(keys, " ")
}

func (k *fakeKV) log() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for _, t := range k.sent {
		all = append(all, t.keys())
	}
	return all
}

func putOp(name string) *op {
	return &op{
		id:   ledger.ID{Workflow: "w", Tool: "t", Fingerprint: name},
		cmps: []*pb.Compare{versionIs(name, 0)},
		then: []*pb.RequestOp{put(name, "v", 0)},
	}
}

// waiting sends ops one after the other and returns a function that collects the errors.
func waiting(ctx context.Context, b *batcher, ops ...*op) func() []string {
	out := make([]string, len(ops))
	var group sync.WaitGroup
	for i, o := range ops {
		group.Go(func() {
			ans, err := b.do(ctx, o)
			out[i] = fmt.Sprint(ans.ok, " ", err)
		})
		synctest.Wait()
	}
	return func() []string { group.Wait(); return out }
}

func testBatcher(k *fakeKV) *batcher {
	return newBatcher(context.Background(), k, 10*time.Second)
}

func TestOpsShareTheNextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := &fakeKV{commit: func(*fakeTxn) (bool, error) { <-hold; return true, nil }}
		b := testBatcher(k)
		hot, sameAgain := putOp("hot"), putOp("c")
		hot.unsure = true
		collect := waiting(t.Context(), b, putOp("a"), putOp("b"), putOp("c"), hot, putOp("d"), sameAgain)
		close(hold)
		for i, got := range collect() {
			if got != "true <nil>" {
				t.Errorf("op %d: got %s", i, got)
			}
		}
		// a and b wait for nobody; c and d share one flat transaction, without the one that may
		// fail it and without the second of one ID.
		got := k.log()
		slices.Sort(got) // what becomes free at once goes in any order
		if want := []string{"a", "b", "c", "c d", "hot"}; !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

func TestRefusedFlatTransactionGoesNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := &fakeKV{}
		k.commit = func(x *fakeTxn) (bool, error) {
			<-hold
			return x.keys() != "c d e", nil
		}
		k.member = func(key string) bool { return key != "d" }
		b := testBatcher(k)
		collect := waiting(t.Context(), b, putOp("a"), putOp("b"), putOp("c"), putOp("d"), putOp("e"))
		close(hold)
		if got, want := fmt.Sprint(collect()), "[true <nil> true <nil> true <nil> false <nil> true <nil>]"; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		if got, want := k.log()[3], "[c] [d] [e]"; got != want {
			t.Errorf("sent %q after the refusal, want %q", got, want)
		}
	})
}

// An error that says that nothing was written may be one member's fault; an ambiguous one is everybody's.
func TestErrorOfSharedRequest(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{rpctypes.ErrGRPCRequestTooLarge, "[true <nil> true <nil> true <nil> false etcdserver: request is too large]"},
		{rpctypes.ErrGRPCPermissionDenied, "[true <nil> true <nil> true <nil> false etcdserver: permission denied]"},
		{rpctypes.ErrGRPCLeaseNotFound, "[true <nil> true <nil> true <nil> false etcdserver: requested lease not found]"},
		{rpctypes.ErrGRPCTimeout, "[true <nil> true <nil> false etcdserver: request timed out false etcdserver: request timed out]"},
		{rpctypes.ErrGRPCNoSpace, "[true <nil> true <nil> false etcdserver: mvcc: database space exceeded false etcdserver: mvcc: database space exceeded]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			k := &fakeKV{}
			k.commit = func(x *fakeTxn) (bool, error) {
				<-hold
				if strings.Contains(x.keys(), "bad") {
					return false, c.err
				}
				return true, nil
			}
			b := testBatcher(k)
			collect := waiting(t.Context(), b, putOp("a"), putOp("b"), putOp("c"), putOp("bad"))
			close(hold)
			got := fmt.Sprint(collect())
			for _, prefix := range []string{"rpc error: code = InvalidArgument desc = ", "rpc error: code = PermissionDenied desc = ", "rpc error: code = NotFound desc = ",
				"rpc error: code = Unavailable desc = ", "rpc error: code = ResourceExhausted desc = "} {
				got = strings.ReplaceAll(got, prefix, "")
			}
			if got != c.want {
				t.Errorf("%v:\n got %v\nwant %v", c.err, got, c.want)
			}
		})
	}
}

func TestCallerWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := &fakeKV{commit: func(*fakeTxn) (bool, error) { <-hold; return true, nil }}
		b := testBatcher(k)
		first := waiting(t.Context(), b, putOp("a"), putOp("b"))
		ctx, cancel := context.WithCancel(t.Context())
		var sent, queued error
		var group sync.WaitGroup
		group.Go(func() { _, queued = b.do(ctx, putOp("queued")) })
		synctest.Wait()
		cancel()
		group.Wait()
		if !errors.Is(queued, errNotSent) || !errors.Is(queued, context.Canceled) {
			t.Errorf("given up in the queue: got %v, want errNotSent and Canceled", queued)
		}
		ctx, cancel = context.WithCancel(t.Context())
		b.mu.Lock()
		b.pace.fixed = 3
		b.mu.Unlock()
		group.Go(func() { _, sent = b.do(ctx, putOp("sent")) })
		synctest.Wait()
		cancel()
		group.Wait()
		if !errors.Is(sent, errAbandoned) || verdictOf(sent) != ambiguous {
			t.Errorf("given up on its way: got %v, want errAbandoned, ambiguous", sent)
		}
		close(hold)
		first()
		b.close(t.Context())
		if got, want := fmt.Sprint(k.log()), "[a b sent]"; got != want {
			t.Errorf("sent %v, want %v", got, want)
		}
		if _, err := b.do(t.Context(), putOp("late")); !errors.Is(err, ledger.ErrClosed) || !errors.Is(err, errNotSent) {
			t.Errorf("after close: got %v", err)
		}
	})
}

// A request that a caller sends by itself ends with the caller's context, and in time; it tells the cluster
// nothing else of that context. One that panics leaves nothing behind.
func TestDirectRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type private struct{}
		b := newBatcher(context.Background(), sender(func(ctx context.Context) error {
			if ctx.Value(private{}) != nil {
				t.Error("what the caller keeps in its context is handed on")
			}
			if _, ok := metadata.FromOutgoingContext(ctx); !ok {
				t.Error("the request does not ask for a leader")
			}
			<-ctx.Done()
			return ctx.Err()
		}), 10*time.Second)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), private{}, "x"), time.Second)
		defer cancel()
		if _, err := b.do(ctx, putOp("a")); !errors.Is(err, errAbandoned) || !errors.Is(err, context.DeadlineExceeded) || verdictOf(err) != ambiguous {
			t.Errorf("given up: got %v, want errAbandoned, ambiguous", err)
		}
		start := time.Now()
		if _, err := b.do(context.WithValue(t.Context(), private{}, "x"), putOp("a")); errors.Is(err, errAbandoned) || verdictOf(err) != ambiguous || err == nil {
			t.Errorf("never answered: got %v, want another ambiguous error", err)
		}
		if took := time.Since(start); took > b.timeout || took < b.timeout*9/10 {
			t.Errorf("it took %v, want the timeout of requests", took)
		}
		b.client = sender(func(context.Context) error { panic("an interceptor") })
		func() {
			defer func() { _ = recover() }()
			_, _ = b.do(t.Context(), putOp("a"))
		}()
		if b.close(t.Context()); b.inFlight != 0 {
			t.Errorf("%d requests in flight at the end", b.inFlight)
		}
	})
}

// sender is a kv whose requests fail with what it returns.
type sender func(ctx context.Context) error

func (s sender) Txn(ctx context.Context, _ *pb.TxnRequest) (*pb.TxnResponse, error) {
	return nil, s(ctx)
}

// Requests that hang, as on a member that is gone, do not hold up the others.
func TestHangingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := &fakeKV{commit: func(x *fakeTxn) (bool, error) {
			if strings.Contains(x.keys(), "hang") {
				<-hold
			}
			return true, nil
		}}
		b := testBatcher(k)
		hanging := waiting(t.Context(), b, putOp("hang1"), putOp("hang2"))
		start := time.Now()
		if ans, err := b.do(t.Context(), putOp("a")); err != nil || !ans.ok {
			t.Errorf("got %v, %v", ans, err)
		}
		if took := time.Since(start); took > 2*slowAfter {
			t.Errorf("it waited for %v behind requests that hang", took)
		}
		close(hold)
		hanging()
		b.close(t.Context())
		if b.inFlight != 0 || b.slow != 0 {
			t.Errorf("%d in flight, %d slow at the end", b.inFlight, b.slow)
		}
	})
}

func TestBatchLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		ops   func(i int) *op
		most  int // members of one request
		least int
	}{
		{"operations", func(i int) *op {
			o := putOp(fmt.Sprint(i))
			o.then = append(o.then, put(fmt.Sprint("r", i), "", 0))
			return o
		}, 64, 60},
		{"bytes", func(i int) *op {
			o := putOp(fmt.Sprint(i))
			o.then = []*pb.RequestOp{put(fmt.Sprint(i), strings.Repeat("x", 100_000), 0)}
			return o
		}, 10, 9},
		{"unsure", func(i int) *op { o := putOp(fmt.Sprint(i)); o.unsure = true; return o }, 122, 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testBatcher(nil)
			for i := range 300 {
				b.queue = append(b.queue, c.ops(i))
			}
			total := 0
			for len(b.queue) > 0 {
				members := b.take()
				if total += len(members); len(members) > c.most || len(members) < c.least && len(b.queue) > 0 {
					t.Errorf("%d members, want %d to %d", len(members), c.least, c.most)
				}
				ops := 0
				for _, m := range members {
					ops += m.cost()
				}
				if ops > defaultMaxOps-nestedOps {
					t.Errorf("%d operations in one request", ops)
				}
			}
			if total != 300 {
				t.Errorf("%d ops taken, want 300", total)
			}
		})
	}
	// Two that compare one session's key with different revisions can not both hold.
	b := testBatcher(nil)
	for i := range 4 {
		o := putOp(fmt.Sprint(i))
		o.fence = fence{"s", int64(i % 2)}
		b.queue = append(b.queue, o)
	}
	if got := len(b.take()); got != 2 {
		t.Errorf("%d members that compare with different revisions share a request", got)
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		took time.Duration
		want int
	}{{0, 2}, {time.Millisecond, 2}, {8 * time.Millisecond, 4}, {time.Second, 8}} {
		var p pace
		if c.took > 0 {
			p.took(c.took)
			for range paceEvery {
				p.took(time.Minute) // busy
			}
		}
		if got := p.window(); got != c.want {
			t.Errorf("after %v: %d in flight, want %d", c.took, got, c.want)
		}
		for range 2 * paceEvery {
			p.took(time.Minute) // for long: it has become slow
		}
		if got := p.window(); got != maxInFlight {
			t.Errorf("after many slow ones: %d in flight, want %d", got, maxInFlight)
		}
	}
}

// Beyond the window go full requests only.
func TestFullRequestsGoBeyondTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		b := testBatcher(&fakeKV{commit: func(*fakeTxn) (bool, error) { <-hold; return true, nil }})
		b.mu.Lock()
		for i := range 10 * defaultMaxOps {
			o := putOp(fmt.Sprint(i))
			o.done = make(chan struct{})
			b.queue = append(b.queue, o)
		}
		b.dispatch()
		if b.inFlight != maxInFlight {
			t.Errorf("%d requests in flight, want %d", b.inFlight, maxInFlight)
		}
		b.mu.Unlock()
		close(hold)
		b.close(t.Context())
	})
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{rpctypes.ErrGRPCNoSpace, ambiguous}, {rpctypes.ErrNoSpace, ambiguous},
		{rpctypes.ErrGRPCTimeout, ambiguous}, {rpctypes.ErrLeaderChanged, ambiguous},
		{context.DeadlineExceeded, ambiguous}, {context.Canceled, ambiguous}, {errors.New("any"), ambiguous},
		{rpctypes.ErrGRPCPermissionDenied, denied}, {rpctypes.ErrPermissionDenied, denied},
		{rpctypes.ErrLeaseNotFound, noLease}, {fmt.Errorf("x: %w", rpctypes.ErrLeaseNotFound), noLease},
		{rpctypes.ErrGRPCTooManyOps, tooMany}, {rpctypes.ErrRequestTooLarge, tooLarge}, {rpctypes.ErrTooManyRequests, again}, {rpctypes.ErrGRPCNotSupportedForLearner, again},
		{rpctypes.ErrInvalidAuthToken, again},
	} {
		if got := verdictOf(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}
