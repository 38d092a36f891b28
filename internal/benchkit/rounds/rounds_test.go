package rounds

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

const role = "ROUNDS_TEST_ROLE"

// The test binary is the worker too. Its role says which of its calls fails; "deaf" ends before it is ready.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		leakcheck.Main(m)
	case "deaf":
		os.Exit(1)
	default:
		var n atomic.Int64
		err := Serve(context.Background(), os.Stdin, os.Stdout, Way{
			Call: func(context.Context, ledger.ID) error {
				if n.Add(1) > 5 && os.Getenv(role) == "fails" {
					return errors.New("no more than five")
				}
				return nil
			},
		})
		if err != nil {
			os.Exit(1)
		}
	}
}

func worker(t *testing.T, as string) (*Worker, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), role+"="+as)
	return Start("the worker", cmd)
}

func TestWorker(t *testing.T) {
	w, err := worker(t, "works")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.AskMeasure(3, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		s, err := w.Answer()
		if err != nil || s.Calls < 3 || s.Took <= 0 || s.P99 < s.P50 || s.PerSecond() <= 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	if err := w.AskRun(4, 1000); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Answer(); err != nil || s.Calls != 1000 || s.Heap <= 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestWorkerTellsItsError(t *testing.T) {
	w, err := worker(t, "fails")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AskRun(2, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Answer(); err == nil || err.Error() != "the worker: no more than five" {
		t.Errorf("got %v", err)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("what was told already came again: %v", err)
	}
	if _, err := worker(t, "deaf"); err == nil || !strings.Contains(err.Error(), "the worker: it ended without an answer") {
		t.Errorf("of a worker that did not start it says %v", err)
	}
	if _, err := Start("nobody", exec.CommandContext(t.Context(), filepath.Join(t.TempDir(), "nothing"))); err == nil {
		t.Error("a program that there is not was started")
	}
}

func TestServeRefuses(t *testing.T) {
	for _, line := range []string{"dance 1 1s", "measure 0 1s", "measure 1 long", "run 1 many", "run", ""} {
		var out strings.Builder
		err := Serve(t.Context(), strings.NewReader(line+"\n"), &out, Way{Call: func(context.Context, ledger.ID) error { return nil }})
		if err == nil || !strings.Contains(out.String(), `"Error"`) {
			t.Errorf("%q: got %v and answered %s", line, err, out.String())
		}
	}
}

// What polls runs during a line only.
func TestBegin(t *testing.T) {
	var mu sync.Mutex
	running, began := false, 0
	w := Way{
		Call: func(context.Context, ledger.ID) error {
			mu.Lock()
			defer mu.Unlock()
			if !running {
				return errors.New("it does not run")
			}
			return nil
		},
		Begin: func() (func() error, error) {
			running = true
			began++
			return func() error { running = false; return nil }, nil
		},
	}
	var out strings.Builder
	if err := Serve(t.Context(), strings.NewReader("run 2 5\nmeasure 2 1ms\n"), &out, w); err != nil || began != 2 || running {
		t.Errorf("got %v; it was begun %d times, runs now: %t; it answered %s", err, began, running, &out)
	}
}

func TestErrorOfACall(t *testing.T) {
	bad := errors.New("bad")
	fails := func(context.Context, ledger.ID) error { return bad }
	if _, err := Measure(t.Context(), fails, 3, time.Millisecond); !errors.Is(err, bad) {
		t.Errorf("Measure: got %v", err)
	}
	if _, err := Run(t.Context(), fails, 3, 10); !errors.Is(err, bad) {
		t.Errorf("Run: got %v", err)
	}
}
