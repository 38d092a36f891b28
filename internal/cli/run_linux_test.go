package cli

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// appender appends a line to the file lines, in stages: it halts before and after until it is told to go on.
const appender = `
echo $$ > pid.new && mv pid.new pid
touch before; while [ ! -e go1 ]; do sleep 0.01; done
echo line >> lines
touch after; while [ ! -e go2 ]; do sleep 0.01; done
`

// A stage is one try at the appender, in a directory of its own.
type runStage struct {
	*testing.T
	dir, store string
	lease      string // of the next run
}

func (s *runStage) command(policy string, more ...string) *exec.Cmd {
	s.Helper()
	path, err := exec.LookPath("ledger")
	if err != nil {
		s.Fatal(err)
	}
	args := append([]string{"run", "--store", s.store + s.lease, "--key", "append", "--in-doubt", policy}, more...)
	cmd := exec.CommandContext(s.Context(), path, append(args, "--", "sh", "-c", appender)...)
	cmd.Dir = s.dir
	return cmd
}

// run runs it to its end, and returns the exit code.
func (s *runStage) run(policy string) int {
	s.Helper()
	cmd := s.command(policy, "--wait", "1m")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	s.Logf("%s: exit code %d %s", policy, cmd.ProcessState.ExitCode(), &stderr)
	return cmd.ProcessState.ExitCode()
}

func (s *runStage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *runStage) touch(names ...string) {
	s.Helper()
	for _, name := range names {
		if err := os.WriteFile(s.path(name), nil, 0o600); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *runStage) exists(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

func (s *runStage) lines() int {
	text, err := os.ReadFile(s.path("lines"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

func (s *runStage) await(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited for %s in vain", what)
		}
	}
}

// pid is the appender's, once it has told it.
func (s *runStage) pid() (pid int) {
	s.Helper()
	s.await("its process", func() bool {
		text, _ := os.ReadFile(s.path("pid"))
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		pid = n
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	return pid
}

// lives reports whether a process runs: a zombie does not.
func lives(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// A shell script that appends a line is killed at each stage, or the command that runs it is, and it is run again.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	etcd, err := embedded.Start(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	stores := map[string]func(n int) string{
		"sqlite": func(int) string { return "sqlite:ledger.db" },
		"etcd":   func(n int) string { return fmt.Sprintf("etcd://%s/run-%d", hostsOf(etcd.Endpoints()), n) },
	}
	n := 0
	for store, at := range stores {
		for _, victim := range []string{"command", "script"} {
			for _, stage := range []string{"before", "after"} {
				for _, policy := range []string{"block", "retry"} {
					if testing.Short() && (policy == "retry" || victim == "script") {
						continue // the plain build runs them
					}
					n++
					s := &runStage{dir: t.TempDir(), store: at(n)}
					t.Run(strings.Join([]string{store, victim, stage, policy}, "/"), func(t *testing.T) {
						t.Parallel() // most of the time they wait for a lease
						s.T = t
						s.killed(victim, stage, policy)
					})
				}
			}
		}
	}
}

func hostsOf(endpoints []string) string {
	hosts := make([]string, len(endpoints))
	for i, e := range endpoints {
		_, hosts[i], _ = strings.Cut(e, "://")
	}
	return strings.Join(hosts, ",")
}

func (s *runStage) killed(victim, stage, policy string) {
	// A disk that stalls for longer than a lease ends it: it is short only where its end is waited for.
	const short, long = "?ttl=4s", "?ttl=30s"
	leased := strings.HasPrefix(s.store, "etcd:")
	if leased {
		s.lease = long
		if victim == "command" {
			s.lease = short
		}
	}
	first := s.command(policy)
	if err := first.Start(); err != nil {
		s.Fatal(err)
	}
	pid := s.pid()
	if stage == "after" {
		s.touch("go1")
	}
	s.await(stage, func() bool { return s.exists(stage) })
	kill := pid
	if victim == "command" {
		kill = first.Process.Pid
	}
	if err := syscall.Kill(kill, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	if err := first.Wait(); err == nil {
		s.Fatal("it was killed, and ended well")
	}
	s.await("the script's end", func() bool { return !lives(pid) })

	before := s.lines()
	if want := map[string]int{"before": 0, "after": 1}[stage]; before != want {
		s.Fatalf("%d lines after the kill, want %d", before, want)
	}
	s.touch("go1", "go2")
	if leased {
		s.lease = long
	}
	code := s.run(policy)
	switch {
	case policy == "block" && (code != 76 || s.lines() != before):
		s.Errorf("exit code %d and %d lines, want 76 and %d: it is in doubt", code, s.lines(), before)
	case policy == "retry" && (code != 0 || s.lines() != before+1):
		s.Errorf("exit code %d and %d lines, want 0 and %d: it runs again", code, s.lines(), before+1)
	}
	if again := s.run(policy); again != code || s.lines() > before+1 {
		s.Errorf("once more: exit code %d and %d lines; want %d, and no line more", again, s.lines(), code)
	}
}

// Killed at any time, under block, it never appends twice, and no script is left.
func TestRunKilledAnyTime(t *testing.T) {
	t.Parallel()
	tries := 12
	if testing.Short() {
		tries = 3
	}
	for range tries {
		delay := rand.N(150 * time.Millisecond)
		t.Run(delay.String(), func(t *testing.T) {
			s := &runStage{T: t, dir: t.TempDir(), store: "sqlite:ledger.db"}
			s.touch("go1", "go2")
			cmd := s.command("block")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			timer.Stop()
			if s.exists("pid") {
				pid := s.pid()
				s.await("the script's end", func() bool { return !lives(pid) })
			}
			before := s.lines()
			code := s.run("block")
			switch {
			case code == 76 && s.lines() == before && before <= 1: // in doubt
			case code == 0 && s.lines() == 1: // done before, or now
			default:
				t.Errorf("exit code %d, %d lines, %d before", code, s.lines(), before)
			}
		})
	}
}

// What the script left in the background keeps the claim, on SQLite, although script and command are dead.
func TestRunBackgroundHoldsClaim(t *testing.T) {
	t.Parallel()
	s := &runStage{T: t, dir: t.TempDir(), store: "sqlite:ledger.db"}
	script := `(touch up; while [ ! -e go ]; do sleep 0.01; done; echo line >> lines) & touch before; wait`
	path, err := exec.LookPath("ledger")
	if err != nil {
		t.Fatal(err)
	}
	run := func(wait string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), path, "run", "--store", s.store, "--key", "k", "--wait", wait, "--", "sh", "-c", script)
		cmd.Dir = s.dir
		return cmd
	}
	first := run("0s")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	s.await("the background", func() bool { return s.exists("up") })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	second := run("0s")
	_ = second.Run()
	if code := second.ProcessState.ExitCode(); code != 75 {
		t.Errorf("exit code %d while the background goes on, want 75", code)
	}
	s.touch("go")
	third := run("30s")
	if err := third.Run(); err != nil {
		t.Errorf("once it is over: %v", err)
	}
	if s.lines() != 2 {
		t.Errorf("%d lines, want one of the background's, and one of the attempt after it", s.lines())
	}
}

// Signals reach the program, and its exit code is the command's; a closed output does not end it.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		t.Run(sig.String(), func(t *testing.T) {
			// What nohup made this process ignore, a shell could not trap either.
			heard := make(chan os.Signal, 1)
			signal.Notify(heard, sig)
			defer signal.Stop(heard)
			s := &runStage{T: t, dir: t.TempDir(), store: "sqlite:ledger.db"}
			path, err := exec.LookPath("ledger")
			if err != nil {
				t.Fatal(err)
			}
			script := fmt.Sprintf(`trap "echo line >> lines; exit 9" %d; touch up; while :; do sleep 0.01; done`, sig)
			cmd := exec.CommandContext(t.Context(), path, "run", "--store", s.store, "--key", "k", "--", "sh", "-c", script)
			cmd.Dir = s.dir
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			s.await("the program", func() bool { return s.exists("up") })
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 9 || s.lines() != 1 {
				t.Errorf("exit code %d, %d lines; want 9 and 1", code, s.lines())
			}
		})
	}
}

// A run whose claim was taken by force meanwhile says that its outcome is not recorded.
func TestRunStolen(t *testing.T) {
	t.Parallel()
	s := &runStage{T: t, dir: t.TempDir(), store: "sqlite:ledger.db"}
	cmd := s.command("block")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.await("the script", func() bool { return s.exists("before") })
	list := exec.CommandContext(t.Context(), cmd.Path, "show", "--store", s.store, "-o", "jsonl")
	list.Dir = s.dir
	text, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`"id":"([^"]*)"`).FindSubmatch(text)
	if id == nil {
		t.Fatalf("no ID in %s", text)
	}
	steal := exec.CommandContext(t.Context(), cmd.Path, "retry", s.store, string(id[1]), "--steal", "--yes")
	steal.Dir = s.dir
	if out, err := steal.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.touch("go1", "go2")
	_ = cmd.Wait()
	if !strings.Contains(stderr.String(), "could not be recorded") {
		t.Errorf("it says %q; want that its outcome is not recorded", &stderr)
	}
}
