package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ledger-once/ledger/internal/demo"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

// stuckDir names the variable with the directory in which stuck workers leave a file each.
const stuckDir = "LEDGER_TEST_STUCK_DIR"

func TestMain(m *testing.M) {
	with := func(adjust func(*demo.Options)) func() {
		return func() {
			a := &app{args: os.Args, in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Getenv, adjust: adjust}
			os.Exit(a.main())
		}
	}
	testscript.Main(leakChecked{m}, map[string]func(){
		"ledger":          func() { os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) },
		"ledger-seed":     seed,
		"ledger-ancestor": ancestorFile,
		"ledger-patient":  with(func(o *demo.Options) { o.Lease = 6 * time.Second }), // which no stalled disk ends
		"ledger-broken":   with(func(o *demo.Options) { o.BreakGuard = true }),
		"ledger-stuck": func() {
			if len(os.Args) > 1 && os.Args[1] == "stuck" {
				stuck()
			}
			with(func(o *demo.Options) { o.Command[1] = "stuck" })()
		},
	})
}

// stuck is the role of a worker that never begins.
func stuck() {
	_ = os.WriteFile(filepath.Join(os.Getenv(stuckDir), fmt.Sprint(os.Getpid())), nil, 0o600)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

type leakChecked struct{ m *testing.M }

// Run has the commands that the tests start hear signals: what nohup or a shell's & started ignores some, and so
// does what it starts.
func (l leakChecked) Run() int {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	return leakcheck.Run(l.m)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "columns": columns, "for-each": forEach, "wait-for": waitFor},
	})
}

// code CODE COMMAND... runs the command and checks its exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE COMMAND...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// columns N FILE... checks that no line is longer.
func columns(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: columns N FILE...")
	}
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, file := range args[1:] {
		for line := range strings.Lines(ts.ReadFile(file)) {
			if n := runewidth.StringWidth(strings.TrimRight(line, "\n")); n > most {
				ts.Fatalf("%s: %d columns: %q", file, n, line)
			}
		}
	}
}

// forEach COMMAND[:ARG...]... runs each of the ledger's commands where there is no ledger: they refuse with exit code 2.
func forEach(ts *testscript.TestScript, neg bool, args []string) {
	for _, arg := range args {
		code(ts, neg, append([]string{"2", "ledger"}, strings.Split(arg, ":")...))
	}
}

// waitFor FILE waits until it is there.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func until(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited for %s in vain", what)
		}
	}
}
