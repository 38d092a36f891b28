package etcdstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
)

// Requests that hang neither keep Close from giving the lease back, nor go on after it.
func TestCloseWithRequestsThatHang(t *testing.T) {
	m := oneMember(t)
	other := openAt(t, m.Endpoints(), Options{})
	var hang atomic.Bool
	var underWay atomic.Int64
	s := openAt(t, m.Endpoints(), Options{RequestTimeout: 3 * time.Second, DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if !hang.Load() || !writes(req) {
				return invoke(ctx, method, req, reply, cc, opts...)
			}
			underWay.Add(1)
			defer underWay.Add(-1)
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond) // nobody is to hear of the end before it
			return status.FromContextError(ctx.Err()).Err()
		}),
	}})
	FixWindow(s, 1)
	held := claimNew(t, s, testID("held"), 0, nil)
	hang.Store(true)
	var claims sync.WaitGroup
	for i := range 3 {
		claims.Go(func() {
			now := time.Now()
			id := testID(fmt.Sprint("hangs ", i))
			if _, _, err := s.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "n", Created: now, Started: now}}); err == nil {
				t.Error("a claim that hangs was answered")
			}
		})
	}
	until(t, "no write is under way", func() bool { return underWay.Load() > 0 })
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := underWay.Load(); n != 0 {
		t.Errorf("%d writes outlive the store", n)
	}
	claims.Wait()
	if r := getNow(t, other, held.ID); r.Alive {
		t.Error("the lease was not given back")
	}
}
