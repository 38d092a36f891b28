//go:build failpoint

package failpoint_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/failpoint"
)

func startEtcd(t *testing.T) *embedded.Server {
	t.Helper()
	m, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// openEtcd opens a store below a prefix, through a wire that may be nil.
func openEtcd(t *testing.T, m *embedded.Server, prefix string, ttl time.Duration, w *wire) *etcdstore.Store {
	t.Helper()
	o := &etcdstore.Options{Prefix: prefix, TTL: ttl}
	if w != nil {
		o.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(w.intercept)}
	}
	s, err := etcdstore.Open(t.Context(), m.Endpoints(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// prefixOf keeps the parts of a test apart that share a server.
func prefixOf(t *testing.T) string { return "/" + strings.ReplaceAll(t.Name(), "/", "-") }

// A wire holds back the next claim, and tells the store that its answer is lost.
type wire struct {
	mu   sync.Mutex
	held func() error // sends it after all
	hold bool
}

func (w *wire) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.mu.Lock()
	hold := w.hold && isClaim(req)
	if hold {
		w.hold = false
		w.held = func() error {
			return invoker(context.WithoutCancel(ctx), method, req, new(pb.TxnResponse), cc, opts...)
		}
	}
	w.mu.Unlock()
	if hold {
		return status.Error(codes.Unavailable, "held back")
	}
	return invoker(ctx, method, req, reply, cc, opts...)
}

func (w *wire) holdNext() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = true
}

func (w *wire) land(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held == nil {
		t.Fatal("no claim was held back")
	}
	if err := held(); err != nil {
		t.Fatal(err)
	}
}

// isClaim reports whether the request puts a running key.
func isClaim(req any) bool {
	txn, ok := req.(*pb.TxnRequest)
	if !ok {
		return false
	}
	for _, op := range txn.Success {
		if put := op.GetRequestPut(); put != nil && strings.Contains(string(put.Key), "/running/") {
			return true
		}
	}
	return false
}

// stands reports whether a record stands.
func stands(t *testing.T, s ledger.Store) bool {
	t.Helper()
	_, err := s.Get(t.Context(), storeID)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestEtcdMutants(t *testing.T) {
	m := startEtcd(t)
	open := func(t *testing.T) (a, b *etcdstore.Store) {
		return openEtcd(t, m, prefixOf(t), 0, nil), openEtcd(t, m, prefixOf(t), 0, nil)
	}
	storeMutants(t, func(t *testing.T) (ledger.Store, ledger.Store) {
		a, b := open(t)
		return a, b
	}, failpoint.EtcdFinishSending)

	shows(t, failpoint.MutantSuccessOnLease, func(t *testing.T) bool {
		a, b := open(t)
		finish(t, a, ended(mustClaim(t, a, "a", 0, ledger.DoubtRetry), `"a"`))
		if !stands(t, b) {
			t.Error("the success does not stand while its worker lives")
		}
		if err := a.Close(); err != nil { // its lease ends
			t.Fatal(err)
		}
		return !stands(t, b)
	})

	shows(t, failpoint.MutantInDoubtLeased, func(t *testing.T) bool {
		a, b := open(t)
		mustClaim(t, a, "a", 0, ledger.DoubtBlock)
		if !stands(t, b) {
			t.Error("the claim does not stand while its worker lives")
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		return !stands(t, b)
	})

	shows(t, failpoint.MutantLateCopy, func(t *testing.T) bool {
		w := &wire{}
		a := openEtcd(t, m, prefixOf(t), 0, w)
		w.holdNext()
		r := mustClaim(t, a, "a", 0, ledger.DoubtRetry) // by its second copy
		finish(t, a, ledger.Record{ID: r.ID, Fence: r.Fence, Nonce: r.Nonce})
		if stands(t, a) {
			t.Fatal("the record was not removed")
		}
		w.land(t)
		return stands(t, a)
	})
}

func TestEtcdPoints(t *testing.T) {
	covered(t, "etcd.", func(t *testing.T, h hits) {
		m, w := startEtcd(t), &wire{}
		a, b := openEtcd(t, m, "/points", 4*time.Second, w), openEtcd(t, m, "/points", 4*time.Second, nil)
		w.holdNext()
		r := mustClaim(t, a, "a", 0, ledger.DoubtRetry)
		if !h.hit(failpoint.EtcdClaimUnsure) || !h.hit(failpoint.EtcdSessionCleaning) {
			t.Error("a lost answer of a claim did not hit the points of one")
		}
		h.wait(failpoint.EtcdRenewed)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if h.hit(failpoint.EtcdTakeover) {
			t.Errorf("%s was hit without a takeover", failpoint.EtcdTakeover)
		}
		r = mustClaim(t, b, "b", r.Version, ledger.DoubtRetry)
		finish(t, b, ended(r, `"b"`))
		seen, err := b.Get(t.Context(), storeID)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), storeID, seen.Version); err != nil {
			t.Fatal(err)
		}
	})
}
