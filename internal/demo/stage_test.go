package demo

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/open"
)

// cluster starts what stands for a user's cluster, and returns its address.
func cluster(t *testing.T) (addr string, client *clientv3.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a server and waits for leases to expire")
	}
	for _, name := range []string{"ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY", "ETCDCTL_USER", "ETCDCTL_PASSWORD",
		"ETCDCTL_INSECURE_TRANSPORT", connect.EnvEtcdPassword} {
		t.Setenv(name, "")
	}
	server, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err = server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return strings.TrimPrefix(server.Endpoints()[0], "http://"), client
}

// keys returns the keys that have no lease, which would remove them.
func keys(t *testing.T, client *clientv3.Client) []string {
	t.Helper()
	r, err := client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, kv := range r.Kvs {
		if kv.Lease == 0 {
			all = append(all, string(kv.Key))
		}
	}
	return all
}

// On somebody's own cluster the demo keeps to a prefix of its own, and removes its records.
func TestRunOnACluster(t *testing.T) {
	addr, client := cluster(t)
	const theirs = "team/ledger/records/w/t/f"
	if _, err := client.Put(t.Context(), theirs, "{}"); err != nil {
		t.Fatal(err)
	}
	r, said := testRun(t, Options{Store: "etcd://" + addr + "/team/ledger?ttl=6s"})
	if r.Store.Kind != kindEtcd || !strings.Contains(r.Store.At, addr) || !strings.Contains(r.Store.At, "prefix team/ledger/demo-") || r.Store.LeaseSeconds != 6 || r.Left != "" {
		t.Errorf("got store %+v, left %q", r.Store, r.Left)
	}
	inOrder(t, said, "its claims stand until its lease of 6s expires", "after its death the lease of ", " takes over ")
	for _, key := range keys(t, client) {
		if key != theirs && !strings.HasSuffix(key, "/schema") {
			t.Errorf("left behind: %s", key)
		}
	}
	if r, err := client.Get(t.Context(), theirs); err != nil || len(r.Kvs) != 1 || r.Kvs[0].Version != 1 {
		t.Errorf("a key that is not the demo's: %v, %v", r, err)
	}
}

// A demo that is broken off, with a worker killed and others mid-call, cleans up after them.
func TestRunOnAClusterCancelled(t *testing.T) {
	addr, client := cluster(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	p := &Printer{W: writerFunc(func(b []byte) {
		if strings.Contains(string(b), "its claims stand until") {
			cancel(why)
		}
	})}
	if _, err := Run(ctx, &Options{Command: command(t, WorkerCommand), Progress: p, Store: "etcd://" + addr + "?ttl=6s"}); !errors.Is(err, why) {
		t.Errorf("got error %v, want the cause", err)
	}
	for _, key := range keys(t, client) {
		if !strings.HasPrefix(key, "ledger/demo-") || !strings.HasSuffix(key, "/schema") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// With Keep the records stay, wherever they are.
func TestRunOnAClusterKeeps(t *testing.T) {
	addr, _ := cluster(t)
	r, said, err := run(t, Options{Store: "etcd://" + addr + "/mine?ttl=6s", Keep: filepath.Join(t.TempDir(), "kept")})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if !strings.HasPrefix(r.Left, "etcd://"+addr+"/mine/demo-") {
		t.Fatalf("left %q", r.Left)
	}
	checkRecords(t, r.Left)
}

// The data of an embedded server stay where they were asked for.
func TestRunOnADirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a lease to expire")
	}
	url := "embedded:" + filepath.Join(t.TempDir(), "data")
	r, said, err := run(t, Options{Store: url, Lease: longLease})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if r.Left != url {
		t.Errorf("left %q, want %q", r.Left, url)
	}
	checkRecords(t, url)
	if _, _, err := run(t, Options{Store: url}); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), "there are records in it already") {
		t.Errorf("a second time: got error %v, want ErrStore", err)
	}
	_, closer, err := open.Store(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if _, _, err := run(t, Options{Store: url}); !errors.Is(err, ErrStore) || !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("while it is in use: got error %v, want ErrStore and ErrInUse", err)
	}
}

func checkRecords(t *testing.T, url string) {
	t.Helper()
	store, closer, err := open.Store(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	succeeded := 0
	for r, err := range store.List(t.Context(), ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.State == ledger.StateSucceeded {
			succeeded++
		}
	}
	if succeeded != 20 {
		t.Errorf("%d records of a success, want 20", succeeded)
	}
}

// A server that can not go on ends the demo, and not by its timeout.
func TestRunWhenTheServerFails(t *testing.T) {
	s, err := openStage(t.Context(), &Options{Store: filepath.Join(t.TempDir(), "ledger.db")}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	why := errors.New("disk full")
	s.died, s.why = make(chan struct{}), func() error { return why }
	p := &Printer{W: writerFunc(func(b []byte) {
		if strings.Contains(string(b), "1. Without Ledger") {
			close(s.died)
		}
	})}
	o := &Options{Command: command(t, roleStuck), Workers: 2, Progress: p}
	if _, err := bothPasses(t.Context(), script0(t), o, t.TempDir(), s); !errors.Is(err, why) {
		t.Errorf("got error %v, want %v", err, why)
	}
}

func TestStoresThatCanNotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for _, c := range []struct {
		url, want string
		misused   bool
	}{
		{"memory:", "processes of their own", true},
		{"embedded:", "needs a directory", true},
		{"embedded:" + file, "it is a file", false},
		{"nonsense://x", "unknown scheme", true},
		{"etcd:h", "two slashes are missing", true},
		{"etcd://root:secret@h/x", "a password does not belong in a URL", true},
		{"etcd://h/x?ttl=31s", "ask for 30s at most", true},
		{"etcd://h/x?ttl=soon", "is not a duration", true},
		{"etcd://h/x?ttl=1500ms", "give whole seconds", true},
		{"etcd://" + nobody + "/x?dial_timeout=100ms", nobody, false},
	} {
		_, _, err := run(t, Options{Store: c.url})
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrStore) != c.misused || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got error %v, want %q in it; ErrStore: %v", c.url, err, c.want, c.misused)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		in, out string
		ttl     time.Duration
	}{
		{"etcd://h", "etcd://h/ledger/x?ttl=2s", 2 * time.Second},
		{"etcd://h1,h2:2379/", "etcd://h1,h2:2379/ledger/x?ttl=2s", 2 * time.Second},
		{"etcds://u@h/p/q/?ca=ca.pem", "etcds://u@h/p/q/x?ca=ca.pem&ttl=2s", 2 * time.Second},
		{"etcd:///p?ttl=5s", "etcd:///p/x?ttl=5s", 5 * time.Second},
		{"etcd://h/p?t%74l=5s&user=u", "etcd://h/p/x?t%74l=5s&user=u", 5 * time.Second},
		{"etcd:h", "etcd:h", 2 * time.Second},
	} {
		out, ttl, err := below(c.in, "x")
		if out != c.out || ttl != c.ttl || err != nil {
			t.Errorf("below(%q) = %q, %v, %v; want %q, %v", c.in, out, ttl, err, c.out, c.ttl)
		}
	}
}
