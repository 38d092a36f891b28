package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// A served is a dashboard that runs in this process.
type served struct {
	*testing.T
	url  string
	end  context.CancelFunc
	done chan error
}

func serveDashboard(t *testing.T, path string, args ...string) *served {
	t.Helper()
	r, w := io.Pipe()
	a := &app{in: os.Stdin, out: w, err: io.Discard, environ: func(string) string { return "" }}
	cmd := a.dashboardCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{path, "--listen", "127.0.0.1:0"}, args...))
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{T: t, end: cancel, done: make(chan error, 1)}
	go func() {
		err := cmd.ExecuteContext(ctx)
		_ = w.CloseWithError(err)
		s.done <- err
	}()
	t.Cleanup(cancel)
	line, err := bufio.NewReader(r).ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, r) }()
	m := regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
	if err != nil || m == "" {
		t.Fatalf("%q, %v", line, err)
	}
	s.url = m
	return s
}

func (s *served) overview() (calls float64, ok bool) {
	s.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(s.url + "/api/overview")
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Summary struct{ Calls float64 }
		Health  struct {
			OK   bool
			Size int64 `json:"size_bytes"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		s.Fatal(err)
	}
	return out.Summary.Calls, out.Health.OK
}

func (s *served) await(what string, done func() bool) {
	s.Helper()
	for until := time.Now().Add(60 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			s.Fatalf("waited for %s in vain", what)
		}
	}
}

func (s *served) stop() {
	s.Helper()
	s.end()
	select {
	case err := <-s.done:
		if err != nil {
			s.Error(err)
		}
	case <-time.After(60 * time.Second):
		s.Fatal("it does not end")
	}
}

func makeLedger(t *testing.T, path string, calls int) {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	g, err := ledger.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		if _, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "charge", Args: i}, func(context.Context) (int, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A store that goes away is told of, and found again when it is back; the end comes at once although a page follows.
func TestDashboardStoreGoesAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	makeLedger(t, path, 2)
	s := serveDashboard(t, path)
	if calls, ok := s.overview(); calls != 2 || !ok {
		t.Fatalf("%v calls, ok=%t", calls, ok)
	}
	follow, err := http.Get(s.url + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Body.Close()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		// The dashboard, an owner itself, may make its file anew in between.
		s.await("the files to go", func() bool { return os.RemoveAll(f) == nil })
	}
	s.await("the store to be missed", func() bool { _, ok := s.overview(); return !ok })
	makeLedger(t, path, 3)
	s.await("the store to be found", func() bool { calls, ok := s.overview(); return ok && calls == 3 })
	began := time.Now()
	s.stop()
	t.Logf("it ended within %v", time.Since(began))
	if rest, err := io.ReadAll(follow.Body); err != nil && !bytes.Contains(rest, []byte("event: store")) {
		t.Errorf("the page was not told: %s, %v", rest, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Who opens a connection and says nothing, or little, is let go.
func TestDashboardSlowClient(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	makeLedger(t, path, 1)
	s := serveDashboard(t, path, "--read-only")
	conns := make([]net.Conn, 20)
	for i := range conns {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: %d", i); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := s.overview(); !ok {
		t.Error("nobody else is served")
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("it is not let go: %v", err)
		}
	}
	s.stop()
}
