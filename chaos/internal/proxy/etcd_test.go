package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// roleEnv holds the address that the test binary, started again, puts to.
const roleEnv = "PROXY_TEST_PUT"

func dial(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, MaxUnaryRetries: 1, Logger: zap.NewNop()})
}

// put connects, waits to be told, and puts a key.
func put() int {
	c, err := dial(os.Getenv(roleEnv))
	if err == nil {
		_, err = c.Get(context.Background(), "k")
	}
	if err == nil {
		fmt.Println("ready")
		_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	}
	if err == nil {
		_, err = c.Put(context.Background(), "late", strings.Repeat("x", 4096))
	}
	fmt.Fprintln(os.Stderr, "the put ended:", err) // it was to wait until it is killed
	return 1
}

func etcd(t *testing.T) (endpoint string, direct *clientv3.Client) {
	t.Helper()
	s, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	direct, err = s.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { direct.Close() })
	return strings.TrimPrefix(s.Endpoints()[0], "http://"), direct
}

func value(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	r, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

// A put whose answer is lost is there; one that is lost is not, and its client goes on after healing.
func TestEtcdCut(t *testing.T) {
	endpoint, direct := etcd(t)
	p := listen(t, endpoint)
	c, err := dial(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	put := func(ctx context.Context, key string) error {
		_, err := c.Put(ctx, key, strings.Repeat("x", 4096))
		return err
	}
	works := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return put(ctx, "k") == nil
	}
	// unanswered begins a put, and gives it up once it has come so far: a deadline might pass before it was sent.
	unanswered := func(key, what string, so func() bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- put(ctx, key) }()
		until(t, what, so)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want that it was given up", key, err)
		}
	}
	until(t, "the client is connected", works)
	p.Cut(In)
	unanswered("answer lost", "the put whose answer is lost is there", func() bool { return value(t, direct, "answer lost") != "" })
	p.Heal()
	until(t, "the client goes on", works)
	p.Cut(Out)
	unanswered("lost", "the put is on its way", func() bool { return held(p) > 4096 })
	p.Heal()
	until(t, "the client goes on", works)
	if got := value(t, direct, "lost"); got != "" {
		t.Errorf("the put that was lost left %d bytes", len(got))
	}
}

// The put of a process that was killed lands after its death.
func TestEtcdLate(t *testing.T) {
	endpoint, direct := etcd(t)
	p := listen(t, endpoint)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+p.Addr())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	p.Hold(Out)
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	until(t, "the put is held", func() bool { return held(p) > 4096 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, which is an error
	if got := value(t, direct, "late"); got != "" {
		t.Fatalf("the put was not held: %q", got)
	}
	p.Heal()
	until(t, "the late put is there", func() bool { return len(value(t, direct, "late")) == 4096 })
}
