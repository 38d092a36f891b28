package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// quick servers allow leases of 1 s.
var quick = &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond}

func startQuick(t *testing.T) *embedded.Server {
	t.Helper()
	e, err := embedded.Start(t.Context(), t.TempDir(), quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	return e
}

func openAt(t *testing.T, endpoints []string, o Options) *Store {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = t.Name()
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = SlowDisk
	}
	s, err := Open(t.Context(), endpoints, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustAcquire(t *testing.T, s *Store) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	x, err := s.sessions.acquire(ctx, "suspect")
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return x
}

// lostWithin fails unless the session is lost by then.
func lostWithin(t *testing.T, x *session, d time.Duration) {
	t.Helper()
	select {
	case <-x.over:
	case <-time.After(d):
		t.Fatalf("the session is not lost after %v", d)
	}
}

func readKey(t *testing.T, s *Store, key string) string {
	t.Helper()
	r, err := s.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

func TestSessionOnEtcd(t *testing.T) {
	e := startQuick(t)

	t.Run("lives longer than its TTL", func(t *testing.T) {
		s := openAt(t, e.Endpoints(), Options{TTL: 3 * time.Second})
		if all, err := s.Sessions(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("before the first claim there are %v (%v); want none", all, err)
		}
		x := mustAcquire(t, s)
		first := x.lastSent()
		until(t, "the session was not renewed", func() bool { return x.isLost() || x.lastSent().Sub(first) > 3*time.Second })
		select {
		case <-s.LeaseLost(x.name):
			t.Error("the session is lost")
		default:
		}
		host, _ := os.Hostname()
		value := readKey(t, s, t.Name()+"/sessions/"+fmt.Sprintf("%016x", int64(x.lease)))
		want := fmt.Sprintf(`{"host":%q,"pid":%d,"started":"`, host, os.Getpid())
		if !strings.HasPrefix(value, want) || !strings.HasSuffix(value, fmt.Sprintf(`","instance":%q,"ttl":3}`, s.writer)) {
			t.Errorf("the session is stored as %s; want it to begin with %s", value, want)
		}
	})

	t.Run("is lost when its lease is revoked", func(t *testing.T) {
		s := openAt(t, e.Endpoints(), Options{TTL: time.Minute}) // a renewal would tell after 15 s
		x := mustAcquire(t, s)
		if _, err := s.client.Revoke(t.Context(), x.lease); err != nil {
			t.Fatal(err)
		}
		lostWithin(t, x, 10*time.Second)
		if y := mustAcquire(t, s); y == x {
			t.Error("the lost session was handed out")
		}
	})

	t.Run("is lost when its key is deleted", func(t *testing.T) {
		s := openAt(t, e.Endpoints(), Options{})
		x := mustAcquire(t, s)
		if _, err := s.client.Delete(t.Context(), x.key); err != nil {
			t.Fatal(err)
		}
		lostWithin(t, x, 10*time.Second)
	})

	t.Run("is fenced", func(t *testing.T) {
		s := openAt(t, e.Endpoints(), Options{})
		x := mustAcquire(t, s)
		old := x.fence()
		suspectOne(x)
		if mustAcquire(t, s) != x {
			t.Error("a dirty session was replaced, not fenced")
		}
		for _, step := range []struct {
			fence fence
			want  bool
		}{{old, false}, {x.fence(), true}} {
			r, err := newClientKV(s.client).Txn(t.Context(), &pb.TxnRequest{Compare: []*pb.Compare{step.fence.compare()}})
			if err != nil || r.Succeeded != step.want {
				t.Errorf("the compare with %d holds: %v (%v), want %v", step.fence.mark, r.Succeeded, err, step.want)
			}
		}
		suspectOne(x)
		s.sessions.lose(x, "test", false)
		if y := mustAcquire(t, s); y == x || readKey(t, s, x.key) != "" {
			t.Error("the lost session was handed out, or left open for copies of claims")
		}
	})

	t.Run("is told by a request that its lease is gone", func(t *testing.T) {
		ttl, err := openAt(t, e.Endpoints(), Options{}).sessions.lessor.renewer(t.Context(), 4711).renew(t.Context())
		if err != nil || ttl > 0 {
			t.Errorf("the renewal of an unknown lease: %v, %v; want no time to live", ttl, err)
		}
	})

	t.Run("is given back by close", func(t *testing.T) {
		a, b := openAt(t, e.Endpoints(), Options{}), openAt(t, e.Endpoints(), Options{})
		x := mustAcquire(t, a)
		all, err := b.Sessions(t.Context())
		if err != nil || len(all) != 1 || all[0].ID != x.name || !all[0].Alive || all[0].Started.IsZero() || all[0].PID != os.Getpid() {
			t.Errorf("sessions: %+v, %v", all, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		<-a.LeaseLost(x.name)
		if all, err := b.Sessions(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("after close there are the sessions %+v (%v)", all, err)
		}
		if _, err := a.Sessions(t.Context()); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("sessions of a closed store: %v, want ErrClosed", err)
		}
	})

	t.Run("are listed in pages", func(t *testing.T) {
		s := openAt(t, e.Endpoints(), Options{})
		x := mustAcquire(t, s)
		g, err := s.client.Grant(t.Context(), 3600)
		if err != nil {
			t.Fatal(err)
		}
		const others = 2*sessionsPage + 5
		for i := range others {
			if _, err := s.client.Put(t.Context(), s.keys.session(fmt.Sprint("other-", i)), `{"host":["of a newer version"]}`, clientv3.WithLease(g.ID)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.client.Put(t.Context(), s.keys.session("without-a-lease"), "x"); err != nil {
			t.Fatal(err)
		}
		all, err := s.Sessions(t.Context())
		seen := make(map[string]bool)
		for _, one := range all {
			seen[one.ID] = true
		}
		if err != nil || len(all) != others+1 || len(seen) != len(all) || !seen[x.name] {
			t.Errorf("%d sessions are listed, %d different ones (%v); want %d", len(all), len(seen), err, others+1)
		}
	})
}

func TestSessionOutlivesNoDeadServer(t *testing.T) {
	dir := t.TempDir()
	e, err := embedded.Start(t.Context(), dir, quick)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { e.Kill() }()
	var streams atomic.Int64
	count := grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		streams.Add(1)
		return next(ctx, desc, cc, method, opts...)
	})
	var logs bytes.Buffer
	s := openAt(t, e.Endpoints(), Options{TTL: 4 * time.Second, RequestTimeout: time.Second, DialOptions: []grpc.DialOption{count}, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	x := mustAcquire(t, s)
	e.Kill()
	before := streams.Load()
	lostWithin(t, x, 10*time.Second)
	if n := streams.Load() - before; n > 100 {
		t.Errorf("%d streams within 4 s of a dead server", n)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.sessions.acquire(ctx, "suspect"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("acquire: %v; want the end of the context", err)
	}
	if e, err = embedded.Start(t.Context(), dir, quick); err != nil {
		t.Fatal(err)
	}
	y := mustAcquire(t, s)
	if y == x || y.isLost() {
		t.Error("there is no new session after the server came back")
	}

	e.Kill()
	if err := s.Close(); !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "expire in 4s") {
		t.Errorf("close without a server: %v; want to hear when the claims expire", err)
	}
	if n := strings.Count(logs.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, &logs)
	}
}

// A member that dies takes no session with it.
func TestSessionOutlivesAMember(t *testing.T) {
	c, err := embedded.Cluster(t.Context(), 3, t.TempDir(), quick)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := openAt(t, c.Endpoints(), Options{TTL: 12 * time.Second})
	defer s.Close()
	x := mustAcquire(t, s)
	for range 2 {
		dead := -1
		until(t, "no member leads", func() bool { dead = c.Leader(); return dead >= 0 })
		c.Kill(dead)
		renewed(t, x, 2) // by what is left
		if err := c.Restart(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
	}
	suspectOne(x)
	if mustAcquire(t, s) != x {
		t.Error("the session was replaced")
	}
}
