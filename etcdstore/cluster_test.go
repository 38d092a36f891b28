package etcdstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// oneMember starts a cluster of one.
func oneMember(t *testing.T) *embedded.Server {
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

// SlowDisk is the RequestTimeout of stores that are to write, and to close,
// on a disk that takes seconds for one write now and then.
const SlowDisk = 10 * time.Second

// openOn opens a store on m through wire, which may be nil.
func openOn(t *testing.T, m *embedded.Server, w *wire, o Options) *Store {
	t.Helper()
	if w != nil {
		o.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(w.unary), grpc.WithChainStreamInterceptor(w.stream)}
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = SlowDisk
	}
	s, err := Open(t.Context(), m.Endpoints(), &o)
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

// A wire is what lies between a client and its cluster.
type wire struct {
	mu      sync.Mutex
	call    func(method string, req any, send func() error) error // instead of send; nil: send
	answer  func(method string, res any)
	cut     bool // streams
	streams map[*wiredStream]struct{}
}

func (w *wire) onCall(f func(method string, req any, send func() error) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call = f
}

func (w *wire) unary(ctx context.Context, method string, req, res any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.mu.Lock()
	call, answer := w.call, w.answer
	w.mu.Unlock()
	send := func() error { return invoke(ctx, method, req, res, cc, opts...) }
	if call == nil {
		call = func(string, any, func() error) error { return send() }
	}
	err := call(method, req, send)
	if err == nil && answer != nil {
		answer(method, res)
	}
	return err
}

var errCut = status.Error(codes.Unavailable, "the wire is cut")

type wiredStream struct {
	grpc.ClientStream
	w      *wire
	cancel context.CancelFunc
	ctx    context.Context
}

func (w *wire) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errCut
	}
	sctx, cancel := context.WithCancel(ctx)
	inner, err := open(sctx, desc, cc, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &wiredStream{inner, w, cancel, ctx}
	if w.streams == nil {
		w.streams = map[*wiredStream]struct{}{}
	}
	w.streams[s] = struct{}{}
	return s, nil
}

func (s *wiredStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if s.ClientStream.Context().Err() != nil { // what comes through a cut is lost
		err = errCut
	}
	if err != nil {
		s.cancel()
		s.w.mu.Lock()
		delete(s.w.streams, s)
		s.w.mu.Unlock()
		if s.ctx.Err() == nil {
			return errCut
		}
	}
	return err
}

// setCut cuts all streams, and lets none through, or lets them again.
func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for s := range w.streams {
			s.cancel()
		}
	}
}

// writes reports whether req is a transaction that writes.
func writes(req any) bool {
	r, ok := req.(*pb.TxnRequest)
	if !ok {
		return false
	}
	for _, o := range r.Success {
		if o.GetRequestPut() != nil || o.GetRequestDeleteRange() != nil || o.GetRequestTxn() != nil && writes(o.GetRequestTxn()) {
			return true
		}
	}
	return false
}

func testID(name string) ledger.ID {
	sum := sha256.Sum256([]byte(name))
	return ledger.ID{Workflow: "w", Tool: "t", Fingerprint: hex.EncodeToString(sum[:16])}
}

func claimNew(t *testing.T, s *Store, id ledger.ID, seen ledger.Version, args []byte) ledger.Record {
	t.Helper()
	now := time.Now()
	r, won, err := s.Claim(t.Context(), ledger.Claim{Seen: seen, Next: ledger.Record{
		ID: id, State: ledger.StateRunning, Token: "token", Nonce: uuid.NewString(), Attempt: 1, Starts: 1, Args: args, Created: now, Started: now,
	}})
	if err != nil || !won {
		t.Fatalf("claim of %s: won %t, error %v", id, won, err)
	}
	return r
}

func finishNew(t *testing.T, s *Store, r ledger.Record) ledger.Record {
	t.Helper()
	r.State, r.Finished, r.Result = ledger.StateSucceeded, time.Now(), []byte(`{"ok":true}`)
	if err := s.Finish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return getNow(t, s, r.ID)
}

func getNow(t *testing.T, s *Store, id ledger.ID) ledger.Record {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keysOf reads all keys below prefix.
func keysOf(t *testing.T, s *Store, prefix string) *clientv3.GetResponse {
	t.Helper()
	r, err := s.client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compactNow(t *testing.T, s *Store) {
	t.Helper()
	r, err := s.client.Get(t.Context(), "x")
	if err == nil {
		_, err = s.client.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
}
