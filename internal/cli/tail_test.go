package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/open"
)

// A tailing is a ledger tail in a process of its own.
type tailing struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err chan string
}

func startTail(t *testing.T, dir string, args ...string) *tailing {
	t.Helper()
	path, err := exec.LookPath("ledger")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	l := &tailing{t: t, cmd: exec.CommandContext(ctx, path, append([]string{"tail"}, args...)...), out: make(chan string, 100), err: make(chan string, 100)}
	l.cmd.Dir = dir
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := l.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for r, lines := range map[io.Reader]chan string{stdout: l.out, stderr: l.err} {
		go func() {
			for s := bufio.NewScanner(r); s.Scan(); {
				lines <- s.Text()
			}
			close(lines)
		}()
	}
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		for range l.out {
		}
		for range l.err {
		}
		_ = l.cmd.Wait()
	})
	return l
}

// next waits for a line that matches.
func (l *tailing) next(lines chan string, pattern string) {
	l.t.Helper()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				l.t.Fatalf("tail ended before a line matched %s", pattern)
			}
			if regexp.MustCompile(pattern).MatchString(line) {
				return
			}
		case <-time.After(time.Minute):
			l.t.Fatalf("no line matched %s", pattern)
		}
	}
}

func change(t *testing.T, url, workflow string, state ledger.State) {
	t.Helper()
	store, closer, err := open.Store(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if _, err := put(t.Context(), store, seeded(workflow, "charge_card", strings.Repeat("7", 32), 0), state); err != nil {
		t.Fatal(err)
	}
}

// Changes come as they happen, from other processes; also after the ledger went and came back.
func TestTailSQLite(t *testing.T) {
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "ledger.db")
	change(t, url, "order-0", ledger.StateSucceeded)
	l := startTail(t, dir, "ledger.db")
	l.next(l.err, "^Following")
	change(t, url, "order-1", ledger.StateFailed)
	l.next(l.out, `^\d\d:\d\d:\d\d\.\d{3}  failed     77777777  charge_card +order-1 +attempt 1  fence \d+  worker-1 node-1:4711`)

	files, err := filepath.Glob(filepath.Join(dir, "ledger.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
	l.next(l.err, "trying again$")
	change(t, url, "order-2", ledger.StateSucceeded)
	l.next(l.err, "connected again")
	change(t, url, "order-3", ledger.StateSucceeded)
	l.next(l.out, `succeeded  77777777  charge_card +order-3 `)
}

// On etcd it ends after as many changes as were asked for, and tells of deletions.
func TestTailEtcd(t *testing.T) {
	etcd, err := open.Embedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	l := startTail(t, t.TempDir(), "--endpoints", strings.Join(etcd.Server.Endpoints(), ","), "--limit", "3", "-o", "jsonl")
	l.next(l.err, "^Following")
	r, err := put(t.Context(), etcd.Store, seeded("order-1", "charge_card", strings.Repeat("7", 32), 0), ledger.StateSucceeded)
	if err != nil {
		t.Fatal(err)
	}
	l.next(l.out, `^\{"change":"put","id":"order-1/charge_card/7+","version":\d+,"record":\{.*"status":"running"`)
	l.next(l.out, `^\{"change":"put",.*"status":"succeeded"`)
	if r, err = etcd.Store.Get(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Store.Delete(t.Context(), r.ID, r.Version); err != nil {
		t.Fatal(err)
	}
	l.next(l.out, `^\{"change":"delete","id":"order-1/charge_card/7+","version":\d+\}$`)
	if _, open := <-l.out; open {
		t.Error("it goes on after three changes")
	}
}

// A worker on a cluster is seen, and its call is left alone; a cluster that is gone is told within its time-out.
func TestLiveOnEtcd(t *testing.T) {
	etcd, err := open.Embedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			etcd.Close()
		}
	}()
	if _, err := put(t.Context(), etcd.Store, seeded("order-1", "charge_card", strings.Repeat("7", 32), time.Minute), ledger.StateRunning); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("ledger")
	if err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	run := func(want int, pattern string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, append(args, "--endpoints", strings.Join(etcd.Server.Endpoints(), ","))...)
		cmd.Env = env
		said, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || !regexp.MustCompile(`(?m)`+pattern).Match(said) {
			t.Errorf("ledger %s: exit code %d, want %d; said %q, want %s", strings.Join(args, " "), code, want, said, pattern)
		}
	}
	run(0, `^running +77777777 +charge_card +order-1 +1 +0 +0 +1m  worker-1 `, "show")
	run(0, `^alive +\S+ +`+fmt.Sprint(os.Getpid())+` `, "sessions")
	run(0, `^in flight +1$`, "stats")
	run(1, `is running, by worker-1 `, "retry", "7777", "--yes")
	run(1, `its worker will say how it ended`, "resolve", "7777", "--forget", "--reason", "x", "--yes")
	run(0, `nothing to delete \(besides, 1 running, left alone\)`, "clear", "--yes")
	run(0, `^state +running, since 1m; its worker lives$`, "get", "order-1/charge_card/7777")
	closed = true
	if err := etcd.Close(); err != nil {
		t.Fatal(err)
	}
	env = append(env, "ETCDCTL_DIAL_TIMEOUT=300ms") // which one that is there may exceed on a busy machine
	run(2, `etcd at http`, "show")
}
