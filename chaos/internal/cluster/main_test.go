package cluster

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/proxy"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) {
	if told := os.Getenv("LEDGER_CHAOS_MEMBER"); told != "" {
		if err := Serve(context.Background(), told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leakcheck.Main(m)
}

func startCluster(t *testing.T, members int) *Cluster {
	t.Helper()
	dir := t.TempDir()
	keeper, err := proc.NewKeeper(context.Background(), dir)
	if err != nil {
		t.Skip(err) // not on Linux
	}
	t.Cleanup(func() {
		if err := keeper.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := Start(t.Context(), Options{Dir: filepath.Join(dir, "etcd"), Members: members, Keeper: keeper, Command: os.Args[:1]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func client(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	one, err := dial(endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	return one
}

// through returns a client whose connections to all members go through a proxy each.
func through(t *testing.T, c *Cluster) (*clientv3.Client, []*proxy.Proxy) {
	t.Helper()
	var all []*proxy.Proxy
	var endpoints []string
	for _, e := range c.Endpoints() {
		u, err := url.Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		p, err := proxy.Listen(u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		all, endpoints = append(all, p), append(endpoints, "http://"+p.Addr())
	}
	return client(t, endpoints...), all
}

// soon calls f until it succeeds, for 20 s at most, each time for a second.
func soon(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: still after 20s: %v", what, err)
		}
	}
}

func putSoon(t *testing.T, c *clientv3.Client, key, value string, opts ...clientv3.OpOption) {
	t.Helper()
	soon(t, "put "+key, func(ctx context.Context) error {
		_, err := c.Put(ctx, key, value, opts...)
		return err
	})
}

func want(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	soon(t, "get "+key, func(ctx context.Context) error {
		r, err := c.Get(ctx, key)
		if err == nil && (len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value) {
			t.Fatalf("%s is %v, want %q", key, r.Kvs, value)
		}
		return err
	})
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func leader(t *testing.T, c *Cluster) int {
	t.Helper()
	l, err := c.Leader(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
