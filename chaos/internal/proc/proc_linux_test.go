package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func TestLinesBothWays(t *testing.T) {
	k, dir := keeper(t)
	p, lines, first := child(t, k, "echo", "EXTRA=more")
	if first != "ready more" {
		t.Errorf("first line %q", first)
	}
	for _, v := range []any{map[string]int{"n": 1}, "two"} {
		if err := p.Send(v); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := next(t, lines), next(t, lines); a != `{"n":1}` || b != `"two"` {
		t.Errorf("got %q and %q", a, b)
	}
	p.CloseInput()
	if exit := ended(t, p); exit.Code != 3 || exit.Signal != "" || exit.Err != nil || exit.At == 0 {
		t.Errorf("exit %+v", exit)
	}
	if err := p.Send("three"); err == nil {
		t.Error("something was sent to a process that is gone")
	}
	if err := p.Cont(); !errors.Is(err, ErrGone) {
		t.Errorf("a signal to a process that is gone: %v", err)
	}
	if _, err := p.Stop(); !errors.Is(err, ErrGone) {
		t.Errorf("a stop of a process that is gone: %v", err)
	}
	if at := p.Kill(); at != p.exit.At {
		t.Errorf("gone at %d, and at %d", at, p.exit.At)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "stderr")); err != nil || string(text) != "complains\n" {
		t.Errorf("standard error %q, %v", text, err)
	}
}

func TestKill(t *testing.T) {
	k, _ := keeper(t)
	for name, stopped := range map[string]bool{"running": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			p, _, _ := child(t, k, "echo")
			if stopped {
				if _, err := p.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			before := trace.Now()
			at := p.Kill()
			if alive(t, p.Child) {
				t.Error("it is alive after Kill")
			}
			if now := trace.Now(); at < before || at > now {
				t.Errorf("gone at %d, and Kill ran from %d to %d", at, before, now)
			}
			if exit := ended(t, p); exit.Signal != "killed" || exit.Code != -1 || exit.Err != nil || exit.At != at {
				t.Errorf("exit %+v", exit)
			}
		})
	}
}

// What a child started itself goes with it.
func TestKillTakesTheGroup(t *testing.T) {
	k, _ := keeper(t)
	p, _, first := child(t, k, "parent")
	pid, err := strconv.Atoi(strings.Fields(first)[0])
	if err != nil {
		t.Fatalf("%q: %v", first, err)
	}
	start, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	eventually(t, "the grandchild is gone", func() bool { return !alive(t, Child{PID: pid, Start: start}) })
	ended(t, p)
}

func TestStop(t *testing.T) {
	k, _ := keeper(t)
	p, lines, _ := child(t, k, "echo")
	for n := range 20 {
		before := trace.Now()
		at, err := p.Stop()
		if err != nil {
			t.Fatal(err)
		}
		// Every thread, at once: not only the first, and not some time later.
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(p.PID) + "/task/*/stat")
		if err != nil || len(threads) < 2 {
			t.Fatalf("threads %v, %v", threads, err)
		}
		for _, f := range threads {
			text, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(text), ") T ") {
				t.Errorf("stop %d: %s is %q, %v", n, f, text, err)
			}
		}
		if at < before || at > trace.Now() {
			t.Errorf("stopped at %d, after %d", at, before)
		}
		if n%2 == 0 { // a second stop of what is stopped
			if _, err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
		if err := p.Send(n); err != nil {
			t.Fatal(err)
		}
		if len(lines) > 0 {
			t.Errorf("it wrote %q while it was stopped", <-lines)
		}
		if err := p.Cont(); err != nil {
			t.Fatal(err)
		}
		if got := next(t, lines); got != strconv.Itoa(n) {
			t.Errorf("got %q, want %d", got, n)
		}
	}
}

func TestTerminate(t *testing.T) {
	k, _ := keeper(t)
	t.Run("obeys", func(t *testing.T) {
		p, lines, _ := child(t, k, "echo-term")
		if _, err := p.Stop(); err != nil { // it is continued, to hear of it
			t.Fatal(err)
		}
		if err := p.Terminate(t.Context()); err != nil {
			t.Error(err)
		}
		if exit := ended(t, p); exit.Code != 0 || exit.Signal != "" {
			t.Errorf("exit %+v", exit)
		}
		if got := next(t, lines); got != "bye" {
			t.Errorf("last line %q", got)
		}
	})
	t.Run("does not", func(t *testing.T) {
		p, _, _ := child(t, k, "echo-deaf")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if err := p.Terminate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if exit := ended(t, p); exit.Signal != "killed" {
			t.Errorf("exit %+v", exit)
		}
	})
}

func TestOutputThatIsNotLines(t *testing.T) {
	k, _ := keeper(t)
	p, lines, first := child(t, k, "half")
	if exit := ended(t, p); first != "whole" || len(lines) != 0 || exit.Code != 0 || exit.Err != nil {
		t.Errorf("%q, %d more lines, exit %+v", first, len(lines), exit)
	}
	p, lines, first = child(t, k, "long")
	if second := next(t, lines); first != "short" || !strings.HasPrefix(second, "ready") {
		t.Errorf("%q and %d bytes beginning with %.10q", first, len(second), second)
	}
	p.CloseInput()
	if exit := ended(t, p); exit.Code != 3 || exit.Err == nil || !strings.Contains(exit.Err.Error(), "longer than") {
		t.Errorf("exit %+v", exit)
	}
}

// A child's Pdeathsig fires when the thread that started it ends: whoever calls Start must not be that thread.
func TestStartFromAThreadThatEnds(t *testing.T) {
	k, _ := keeper(t)
	lines := make(chan string, 100)
	type started struct {
		p      *Proc
		err    error
		thread int
	}
	from, end := make(chan started), make(chan struct{})
	defer close(end)
	var start func()
	start = func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if syscall.Gettid() == os.Getpid() {
			go start() // on another: the first thread of a process never ends
			<-end
			runtime.UnlockOSThread()
			return
		}
		p, err := k.Start(spec(k, "echo", lines))
		from <- started{p, err, syscall.Gettid()}
	}
	go start()
	s := <-from
	if s.err != nil {
		t.Fatal(s.err)
	}
	next(t, lines)
	eventually(t, "the thread has ended", func() bool {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(s.thread))
		return errors.Is(err, os.ErrNotExist)
	})
	if err := s.p.Send("there"); err != nil {
		t.Fatal(err)
	}
	if got := next(t, lines); got != `"there"` {
		t.Errorf("got %q", got)
	}
}
