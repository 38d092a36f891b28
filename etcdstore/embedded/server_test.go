package embedded

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Start(t.Context(), dir, quick())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Client(nil)
	c = client(t, c, err)
	put(t, c, "k", "v")
	id := memberID(t, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := startServer(t, dir, quick())
	if got, want := again.Endpoints()[0], s.Endpoints()[0]; got != want {
		t.Errorf("the endpoint is %s, want %s as before", got, want)
	}
	want(t, c, "k", "v") // by the same client
	if got := memberID(t, c); got != id {
		t.Errorf("the member is %x, want %x as before", got, id)
	}
}

func memberID(t *testing.T, c *clientv3.Client) uint64 {
	t.Helper()
	r, err := c.MemberList(t.Context())
	if err != nil || len(r.Members) != 1 {
		t.Fatalf("the members are %v, %v", r, err)
	}
	return r.Members[0].ID
}

func TestKillKeepsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir, quick())
	c, err := s.Client(nil)
	c = client(t, c, err)
	put(t, c, "k", "v")
	s.Kill()
	<-s.Done()
	if err := s.Close(); err != nil {
		t.Errorf("Close after Kill: %v", err)
	}
	c, err = startServer(t, dir, quick()).Client(nil)
	want(t, client(t, c, err), "k", "v")
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2, t.TempDir(), quick())
	for _, m := range c.place.note.Members {
		for _, addr := range []string{m.Client, m.Peer} {
			host, _, err := net.SplitHostPort(addr)
			if err != nil || !net.ParseIP(host).IsLoopback() {
				t.Errorf("listens at %q", addr)
			}
		}
	}
	for _, s := range c.members {
		u, err := url.Parse(s.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := s.client.Addr().String(); got != u.Host {
			t.Errorf("listens at %s, and says %s", got, u.Host)
		}
	}
}

// A port that somebody took since is not waited for in vain.
func TestRestartWithPortTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir, quick())
	c, err := s.Client(nil)
	put(t, client(t, c, err), "k", "v")
	s.Kill()
	take(t, s.client.Addr().String())
	for range 2 { // the new one is kept
		again, err := Start(t.Context(), dir, quick())
		if err != nil {
			t.Fatal(err)
		}
		if again.Endpoints()[0] == s.Endpoints()[0] {
			t.Error("two servers have the same endpoint")
		}
		c, err = again.Client(nil)
		want(t, client(t, c, err), "k", "v")
		again.Kill()
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions")
	}
	dir := filepath.Join(t.TempDir(), "d")
	startServer(t, dir, quick())
	for path, want := range map[string]os.FileMode{
		".": 0o700, "m0": 0o700, noteName: 0o600, lockName: 0o600, "m0/member/wal": 0o700, "m0/member/snap/db": 0o600,
	} {
		fi, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
		} else if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    *Options
		want int64
	}{
		{"defaults", nil, 2},
		{"quick", quick(), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, t.TempDir(), tt.o)
			c, err := s.Client(nil)
			r, err := client(t, c, err).Grant(t.Context(), 1)
			if err != nil || r.TTL != tt.want {
				t.Errorf("the shortest lease is %v, %v; want %d s", r, err, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := quick()
	o.MaxTxnOps, o.MaxRequestBytes, o.QuotaBytes = 2, 1<<14, 1<<20
	s := startServer(t, t.TempDir(), o)
	c, err := s.Client(nil)
	c = client(t, c, err)
	op := clientv3.OpPut("a", "")
	if _, err := c.Txn(t.Context()).Then(op, clientv3.OpPut("b", ""), clientv3.OpPut("c", "")).Commit(); !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Errorf("three operations: got %v", err)
	}
	if _, err := c.Put(t.Context(), "k", string(make([]byte, 1<<15))); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("32 KiB: got %v", err)
	}
	for n := 0; ; n++ {
		_, err := c.Put(t.Context(), "k", string(make([]byte, 1<<13)))
		if errors.Is(err, rpctypes.ErrNoSpace) {
			break
		}
		if err != nil || n > 1000 {
			t.Fatalf("after %d writes of 8 KiB: %v, want no space", n, err)
		}
	}
}

func TestHistoryIsCompacted(t *testing.T) {
	t.Parallel()
	o := quick()
	o.History = 200 * time.Millisecond
	s := startServer(t, t.TempDir(), o)
	c, err := s.Client(nil)
	c = client(t, c, err)
	put(t, c, "k", "v1")
	put(t, c, "k", "v2")
	eventually(t, func() error {
		_, err := c.Get(t.Context(), "k", clientv3.WithRev(2))
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return errors.New("revision 2 is still there")
	})
	want(t, c, "k", "v2")
}

// Etcd's own Close waits for streams to end, up to seven seconds.
func TestCloseDoesNotWaitForWatches(t *testing.T) {
	for _, members := range []int{1, 3} {
		for tries := 5; ; tries-- { // a disk that stands still takes as long
			servers := startCluster(t, members, t.TempDir(), nil)
			c, err := servers.Client(nil)
			c = client(t, c, err)
			w := c.Watch(clientv3.WithRequireLeader(t.Context()), "k", clientv3.WithCreatedNotify())
			<-w
			end := servers.Close
			if members == 1 { // which is not closed as one of several
				end = servers.Member(0).Close
			}
			begin := time.Now()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			if took > 3*time.Second && tries > 1 {
				continue
			}
			if took > 3*time.Second {
				t.Errorf("of %d members: took %v", members, took)
			}
			break
		}
	}
}

func TestCloseFromManySides(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), quick())
	done := make(chan error)
	for i := range 6 {
		go func() {
			if i%2 == 0 {
				s.Kill()
			}
			done <- s.Close()
		}()
	}
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStartEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	// There is no leader for a long time.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, dir, &Options{Heartbeat: 10 * time.Second, Election: 50 * time.Second})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	wantError(t, err, dir, "not ready in time")
	if _, err := os.Stat(filepath.Join(dir, "m0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something of it is left: %v", err)
	}
	startServer(t, dir, quick())
}

// What can not go on is given up, and says why.
func TestFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Start(t.Context(), dir, quick())
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the disk is on fire")
	s.fault.set(why)
	<-s.Done()
	if err := s.Close(); !errors.Is(err, why) {
		t.Errorf("Close: got %v", err)
	}
	wantError(t, s.Err(), dir, "can not go on")
	startServer(t, dir, quick())
}
