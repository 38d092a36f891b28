//go:build linux

package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos"
	"github.com/ledger-once/ledger/internal/leakcheck"
	"github.com/ledger-once/ledger/sqlitestore"
)

func TestMain(m *testing.M) {
	chaos.Enter(&chaos.Registry{
		Stores: map[string]chaos.Open{"mine": func(ctx context.Context, path string) (ledger.Store, error) { return sqlitestore.Open(ctx, path, nil) }},
		Tools: map[string]chaos.Code{"mine": func(ctx context.Context, key string, act func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
			return act(ctx)
		}},
	})
	leakcheck.Main(m)
}

// tagged builds the command with failpoints, once.
func tagged(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "ledger")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "failpoint", "-o", exe, "../cmd/ledger")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	return exe
}

// run runs the command, and fails the test unless it passes.
func run(t *testing.T, exe string, args ...string) string {
	t.Helper()
	var out, progress bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"chaos"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s\n%s", cmd.Args, err, progress.String(), out.String())
	}
	return out.String()
}

// The explorer, each fault at each point of a call on SQLite and on etcd, and all mutants.
func TestShort(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills some two hundred processes, and takes minutes under the race detector, which sees nothing in other processes; the plain run has it")
	}
	exe := tagged(t)
	args := []string{"--layer", "explore,points,mutants", "--members", "1", "--dir", t.TempDir()}
	if _, err := exec.LookPath("strace"); err != nil && os.Getenv("CI") == "" {
		t.Log("without power cuts, and the mutant that only they catch: there is no strace (apt-get install strace)")
		args = append(args, "--no-power-cuts")
	}
	t.Log(run(t, exe, args...))
}

// A soak of each store: random faults, a leader killed among them, and what they did to the histories.
func TestSoak(t *testing.T) {
	for _, o := range []chaos.Options{
		{Store: "sqlite", Workers: 4, Duration: 10 * time.Second},
		{Store: "mine", Path: filepath.Join(t.TempDir(), "mine.db"), Tool: "mine", Workers: 3, Duration: 10 * time.Second},
		{Store: "etcd", Members: 3, Workers: 4, Duration: 20 * time.Second},
	} {
		t.Run(o.Store, func(t *testing.T) {
			if testing.Short() && o.Store == "etcd" {
				t.Skip("it takes long under the race detector; the plain run has it")
			}
			o.Layers, o.Dir, o.Seed = []string{chaos.Soak}, t.TempDir(), 7
			o.Progress = func(line string) { t.Log(line) }
			r, err := chaos.Run(t.Context(), &o)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := r.Print(&text, 120, false); err != nil {
				t.Error(err)
			}
			t.Log(text.String())
			if !r.Passed() {
				t.Errorf("%s: %v", r.Verdict, r.Why)
			}
			if o.Members > 1 && r.Faults["leader"] == 0 {
				t.Error("no leader was killed")
			}
		})
	}
}

// Wrong options are refused with what there is.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    chaos.Options
		want string
	}{
		{chaos.Options{Store: "redis"}, "etcd, sqlite"},
		{chaos.Options{Faults: []string{"fire"}}, "kill, pause"},
		{chaos.Options{Store: "sqlite", Layers: []string{chaos.Soak}, Faults: []string{"cut"}}, "these do: kill, pause"},
		{chaos.Options{Members: 1, Layers: []string{chaos.Soak}, Faults: []string{"leader"}}, "these do: kill, pause, cut"},
		{chaos.Options{Report: "/proc/none"}, "report"},
		{chaos.Options{Policies: []string{"never"}}, "retry, block, reconcile"},
		{chaos.Options{Worlds: []string{"flat"}}, "plain, token"},
		{chaos.Options{Layers: []string{"all"}}, "explore, points"},
		{chaos.Options{Duration: time.Second}, "10s"},
		{chaos.Options{Workers: 1}, "2 to 64"},
		{chaos.Options{Members: 9}, "1 to 5"},
		{chaos.Options{Layers: []string{chaos.Points}}, "-tags failpoint"},
	} {
		c.o.Dir = t.TempDir()
		_, err := chaos.Run(t.Context(), &c.o)
		if !errors.Is(err, chaos.ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want ErrOptions with %q", c.o, err, c.want)
		}
	}
}

// A run that is interrupted ends its processes, and says where its data are.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("somebody pressed Ctrl-C")
	o := chaos.Options{Store: "sqlite", Layers: []string{chaos.Soak}, Workers: 2, Duration: time.Hour, Dir: t.TempDir(),
		Progress: func(line string) {
			if strings.Contains(line, " of 1h0m0s") {
				cancel(stop)
			}
		}}
	_, err := chaos.Run(ctx, &o)
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	dir := chaos.DirOf(err)
	if _, err := os.Stat(filepath.Join(dir, "soak", "history")); err != nil {
		t.Errorf("the data are gone: %v", err)
	}
	// What was written down can be checked, and a kill of all at once violates nothing.
	r, err := chaos.Check(t.Context(), dir)
	if err != nil || len(r.Findings.Violations) > 0 {
		t.Errorf("%v, %+v", err, r)
	} else if r.Passed() {
		t.Error("a run that was cut short passed")
	}
	if left := chaos.Leftovers(o.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
