package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

// roleEnv says what the test binary is to be, as a child.
const roleEnv = "LEDGER_CHAOS_PROC_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		leakcheck.Main(m)
		return
	case "echo", "echo-term", "echo-deaf":
		echo(role)
	case "long":
		fmt.Println("short")
		fmt.Println(strings.Repeat("x", maxLine+1))
		echo(role)
	case "half":
		fmt.Print("whole\nhal")
		return
	case "parent": // leaves a child of its own, which holds the standard output
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleEnv+"=echo")
		cmd.Stdout = os.Stdout
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		fmt.Println(cmd.Process.Pid, err)
		echo(role)
		_ = in.Close()
	case "harness":
		harness()
	}
	os.Exit(3)
}

// echo writes each line of its input again, and returns at its end.
func echo(role string) {
	switch role {
	case "echo-deaf":
		ossignal.Ignore(syscall.SIGTERM)
	case "echo-term":
		terms := make(chan os.Signal, 1)
		ossignal.Notify(terms, syscall.SIGTERM)
		go func() {
			<-terms
			fmt.Println("bye")
			os.Exit(0)
		}()
	}
	fmt.Println("ready", os.Getenv("EXTRA"))
	fmt.Fprintln(os.Stderr, "complains")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(in.Text())
	}
}

// harness starts a child in DIR, says which, and waits to be killed.
func harness() {
	k, err := NewKeeper(context.Background(), os.Getenv("DIR"))
	if err == nil {
		var p *Proc
		if p, err = k.Start(Spec{Name: "w00.0", Argv: os.Args[:1], Env: []string{roleEnv + "=echo"}, Stdin: true}); err == nil {
			text, _ := json.Marshal(p.Child)
			fmt.Println(string(text))
			<-p.Done()
		}
	}
	fmt.Println("failed:", err)
}

func keeper(t *testing.T) (*Keeper, string) {
	t.Helper()
	dir := t.TempDir()
	k, err := NewKeeper(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k, dir
}

// spec is the test binary in a role, with its output going to lines.
func spec(k *Keeper, role string, lines chan<- string, env ...string) Spec {
	return Spec{
		Name: "w00.0", Argv: os.Args[:1], Env: append(env, roleEnv+"="+role), Stdin: true,
		Stderr: filepath.Join(k.dir, "stderr"), OnLine: func(line []byte) { lines <- string(line) },
	}
}

// child starts the test binary in a role, and returns once it said its first line.
func child(t *testing.T, k *Keeper, role string, env ...string) (p *Proc, lines chan string, first string) {
	t.Helper()
	lines = make(chan string, 100)
	p, err := k.Start(spec(k, role, lines, env...))
	if err != nil {
		t.Fatal(err)
	}
	return p, lines, next(t, lines)
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("no line in 20 s")
		return ""
	}
}

func ended(t *testing.T, p *Proc) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	exit, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

func alive(t *testing.T, c Child) bool {
	t.Helper()
	ok, err := isAlive(c.PID, c.Start)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}
