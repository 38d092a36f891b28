package etcdstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// wantLogins enables authentication on m, and returns a client of its root.
func wantLogins(t *testing.T, m *embedded.Server) *clientv3.Client {
	t.Helper()
	first, err := m.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err = first.UserAdd(t.Context(), "root", "root-secret"); err == nil {
		if _, err = first.UserGrantRole(t.Context(), "root", "root"); err == nil {
			_, err = first.AuthEnable(t.Context())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	admin, err := clientv3.New(clientv3.Config{Endpoints: m.Endpoints(), Username: "root", Password: "root-secret", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return admin
}

// lines are the keep-alive streams of a client. They can withhold what is answered.
type lines struct {
	mu     sync.Mutex
	opened []*line
	mute   bool
}

type line struct {
	grpc.ClientStream
	all *lines
}

func (a *lines) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		if err != nil || !strings.HasSuffix(method, "/LeaseKeepAlive") {
			return s, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		l := &line{s, a}
		a.opened = append(a.opened, l)
		return l, nil
	})
}

func (a *lines) setMute(mute bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mute = mute
}

// open counts the streams that there were, and those that have not ended.
func (a *lines) count() (opened, live int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.opened {
		if l.Context().Err() == nil {
			live++
		}
	}
	return len(a.opened), live
}

func (l *line) RecvMsg(m any) error {
	err := l.ClientStream.RecvMsg(m)
	l.all.mu.Lock()
	mute := l.all.mute
	l.all.mu.Unlock()
	if mute && err == nil {
		<-l.Context().Done()
		return status.FromContextError(l.Context().Err()).Err()
	}
	return err
}

// lastSent is when the last renewal was sent that was answered.
func (x *session) lastSent() time.Time {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return x.sent.mono
}

// renewed has the session renewed n times, each as soon as possible.
func renewed(t *testing.T, x *session, n int) {
	t.Helper()
	for range n {
		before := x.lastSent()
		x.doubt()
		until(t, "the session was not renewed", func() bool { return x.lastSent() != before || x.isLost() })
		if x.isLost() {
			t.Fatal("the session is lost")
		}
	}
}

// Each stream that is opened costs a login: a hash of the password, and an entry of the raft log.
func TestRenewalsShareALogin(t *testing.T) {
	m := oneMember(t)
	admin := wantLogins(t, m)
	var all lines
	var logins atomic.Int64
	s := openAt(t, m.Endpoints(), Options{TTL: time.Minute, Username: "root", Password: "root-secret", DialOptions: []grpc.DialOption{
		all.option(),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if strings.HasSuffix(method, "/Authenticate") {
				logins.Add(1)
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
	}})
	x := mustAcquire(t, s)
	renewed(t, x, 1)
	before := logins.Load()
	renewed(t, x, 5)
	if opened, live := all.count(); opened != 1 || live != 1 || logins.Load() != before {
		t.Errorf("6 renewals opened %d streams, of which %d are left, with %d logins; want 1, 1 and none but the first", opened, live, logins.Load()-before)
	}
	if _, err := admin.UserChangePassword(t.Context(), "root", "root-secret"); err != nil { // ends what was logged in
		t.Fatal(err)
	}
	renewed(t, x, 3)
	if opened, live := all.count(); opened > 3 || live != 1 {
		t.Errorf("after the login had ended there were %d streams, of which %d are left; want 2 or 3, and 1", opened, live)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, live := all.count(); live != 0 {
		t.Errorf("%d streams outlive the store", live)
	}
}

// An answer that comes too late is no answer to the next renewal.
func TestRenewalThatTimesOutEndsItsStream(t *testing.T) {
	m := oneMember(t)
	var all lines
	s := openAt(t, m.Endpoints(), Options{DialOptions: []grpc.DialOption{all.option()}})
	g, err := s.client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	line := s.sessions.lessor.renewer(ctx, g.ID)
	defer line.close()
	want := func(opened, live int) {
		t.Helper()
		if o, l := all.count(); o != opened || l != live {
			t.Errorf("there were %d streams, of which %d are left; want %d and %d", o, l, opened, live)
		}
	}
	renew := func() {
		t.Helper()
		if ttl, err := line.renew(t.Context()); ttl != time.Minute || err != nil {
			t.Errorf("the renewal: %v, %v; want 1m0s", ttl, err)
		}
	}
	renew()
	renew()
	want(1, 1)
	all.setMute(true)
	short, over := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer over()
	if _, err := line.renew(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a renewal without an answer: %v; want the end of its context", err)
	}
	want(1, 0)
	all.setMute(false)
	renew()
	renew()
	want(2, 1)
	if _, err := line.renew(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a renewal whose time is over: %v; want the end of its context", err)
	}
	renew()
	cancel()
	if _, err := line.renew(t.Context()); err == nil {
		t.Error("the lease is renewed after its session has ended")
	}
	if _, live := all.count(); live != 0 {
		t.Errorf("%d streams are left", live)
	}
	line.close() // once more is no harm
}

// The login of the stream that watches share may have ended before a session is opened.
func TestSessionWatchBeginsAnotherStream(t *testing.T) {
	m := oneMember(t)
	admin := wantLogins(t, m)
	s := openAt(t, m.Endpoints(), Options{TTL: time.Minute, Username: "root", Password: "root-secret"})
	watchOn(t, s, ledger.WatchOptions{Notices: true}) // holds the stream
	if _, err := admin.UserChangePassword(t.Context(), "root", "root-secret"); err != nil {
		t.Fatal(err)
	}
	x := mustAcquire(t, s)
	until(t, "the session's watch stays with the stream whose login is over", func() bool { return s.streams.n.Load() > 0 })
	if _, err := admin.Revoke(t.Context(), x.lease); err != nil {
		t.Fatal(err)
	}
	lostWithin(t, x, 10*time.Second)
}
