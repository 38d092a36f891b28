package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

// roles are what the test binary does instead of testing, started again by a
// test with roleEnv set.
var roles = map[string]func(dir string) error{}

const (
	roleEnv = "EMBEDDED_TEST_ROLE"
	dirEnv  = "EMBEDDED_TEST_DIR"
)

// Nothing is ignored: etcd leaves no goroutine behind here.
func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		if err := role(os.Getenv(dirEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leakcheck.Main(runner{m})
}

// AfterTests is called once all tests and examples have run.
var AfterTests = func() {}

// A runner runs the tests, and then ends what the examples share, before goroutines are looked for.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	defer func() { AfterTests() }()
	return r.m.Run()
}

// process returns a command that runs the role on the directory.
func process(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir)
	cmd.WaitDelay = time.Minute
	return cmd
}

// quick has short timers, and so quick elections.
func quick() *Options {
	return &Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond}
}

func startServer(t *testing.T, dir string, o *Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), dir, o)
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

func startCluster(t *testing.T, n int, dir string, o *Options) *Servers {
	t.Helper()
	c, err := Cluster(t.Context(), n, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// client returns the client, closed at the test's end.
func client(t *testing.T, c *clientv3.Client, err error) *clientv3.Client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// put sends a put again until it is confirmed: one may be on its way to a
// member that dies, or that leads no more.
func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Put(ctx, key, value)
		return err
	})
}

// leading returns which member leads. With short timers, one that gets no processor for
// a moment loses its place.
func leading(t *testing.T, c *Servers) (leader int) {
	t.Helper()
	eventually(t, func() error {
		if leader = c.Leader(); leader < 0 {
			return errors.New("there is no leader")
		}
		return nil
	})
	return leader
}

// eventually calls f until it succeeds, for a minute at most.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still after a minute: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// want reads the key from all endpoints of the client.
func want(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	eventually(t, func() error {
		r, err := c.Get(t.Context(), key)
		if err != nil {
			return err
		}
		if len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
			t.Fatalf("%s is %v, want %q", key, r.Kvs, value)
		}
		return nil
	})
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to say %q", err, part)
		}
	}
}
