package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

// Roles of this test binary as a worker process, beside WorkerCommand.
const (
	roleStuck = "stuck-worker" // never says that it is ready
	roleDying = "dying-worker" // ends at once, with a word
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case WorkerCommand:
			if err := Work(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case roleStuck:
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		case roleDying:
			fmt.Fprintln(os.Stderr, "out of coffee")
			os.Exit(3)
		}
	}
	leakcheck.Main(m)
}

func command(t *testing.T, role string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, role}
}
