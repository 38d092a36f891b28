//go:build unix

package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An interrupted demo ends its workers, removes its files and says so; also
// when the workers hang.
func TestDemoInterrupted(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		keep   bool
		code   int
		said   string
	}{
		{syscall.SIGINT, false, 130, "ledger: interrupted (interrupt)\n"},
		{syscall.SIGINT, true, 130, "what was written so far is in "},
		{syscall.SIGTERM, false, 143, "ledger: interrupted (terminated)\n"},
	} {
		t.Run(c.said, func(t *testing.T) {
			path, err := exec.LookPath("ledger-stuck")
			if err != nil {
				t.Fatal(err)
			}
			tmp, began, keep := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "kept")
			cmd := exec.CommandContext(t.Context(), path, "demo")
			if c.keep {
				cmd.Args = append(cmd.Args, "--keep", keep)
			}
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, stuckDir+"="+began)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			deadline := time.After(2 * time.Minute)
			for n := 0; n < 4; {
				entries, err := os.ReadDir(began)
				if err != nil {
					t.Fatal(err)
				}
				n = len(entries)
				select {
				case err := <-ended:
					t.Fatalf("ended by itself: %v\n%s", err, &stderr)
				case <-deadline:
					_ = cmd.Process.Kill()
					t.Fatalf("%d workers began after two minutes", n)
				case <-time.After(5 * time.Millisecond):
				}
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-ended:
			case <-deadline:
				_ = cmd.Process.Kill()
				t.Fatal("still running after two minutes")
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code {
				t.Errorf("got %v, want exit code %d", err, c.code)
			}
			if !strings.Contains(stderr.String(), c.said) {
				t.Errorf("said %q, want %q", stderr.String(), c.said)
			}
			if err := syscall.Kill(-cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("a worker is left: %v", err)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := os.Stat(keep); (err == nil) != c.keep {
				t.Errorf("kept: %v", err)
			}
		})
	}
}

// Killed itself, the demo leaves no worker behind either.
func TestDemoKilled(t *testing.T) {
	path, err := exec.LookPath("ledger-stuck")
	if err != nil {
		t.Fatal(err)
	}
	began := t.TempDir()
	cmd := exec.CommandContext(t.Context(), path, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), stuckDir+"="+began)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(2 * time.Minute)
	for {
		entries, err := os.ReadDir(began)
		if err != nil || time.Now().After(until) {
			_ = cmd.Process.Kill()
			t.Fatalf("%d workers after two minutes, %v", len(entries), err)
		}
		if len(entries) == 4 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for !errors.Is(syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH) {
		if time.Now().After(until) {
			t.Fatal("a worker is left")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A demo whose output is closed (ledger demo | head -1) cleans up as well.
func TestDemoClosedOutput(t *testing.T) {
	path, err := exec.LookPath("ledger-stuck")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), path, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, stuckDir+"="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGPIPE) || stderr.Len() > 0 {
		t.Errorf("got %v, %q; want exit code 141 and silence", err, &stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
