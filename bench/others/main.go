// Command others carries out calls once with other people's libraries, for the runner in the directory above, which starts it as
// a worker. It is a module of its own: who uses the library does not get these dependencies.
//
//	others --list             names the libraries, a line each: NAME, a tab, what to call it
//	others NAME FILE          is a worker that keeps its records in FILE
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "others:", err)
		os.Exit(1)
	}
}

// A tool is what must run once.
type tool func(context.Context, rounds.ChargeArgs) (rounds.Receipt, error)

// A library guards calls of the tool with records in the SQLite file at path.
type library struct {
	name, title, module string
	again               bool // it refuses an ID only while its run lasts: once that has finished, the same ID runs again
	open                func(ctx context.Context, path string, t tool) (rounds.Way, error)
}

var libraries = []library{
	{"dbos", "DBOS Transact", "github.com/dbos-inc/dbos-transact-golang", false, openDBOS},
	{"go-workflows", "go-workflows", "github.com/cschleiden/go-workflows", true, openWorkflows},
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) == 1 && args[0] == "--list" {
		versions := map[string]string{}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, m := range info.Deps {
				versions[m.Path] = m.Version
			}
		}
		for _, l := range libraries {
			note := ""
			if l.again {
				note = "; a finished ID runs again"
			}
			if _, err := fmt.Fprintf(out, "%s\t%s (%s%s)\n", l.name, l.title, versions[l.module], note); err != nil {
				return err
			}
		}
		return nil
	}
	if len(args) != 2 {
		return errors.New("usage: others --list, or others NAME FILE")
	}
	for _, l := range libraries {
		if l.name != args[0] {
			continue
		}
		way, err := l.open(ctx, args[1], func(context.Context, rounds.ChargeArgs) (rounds.Receipt, error) { return rounds.Charged, nil })
		if err != nil {
			return err
		}
		return errors.Join(rounds.Serve(ctx, in, out, way), way.Close())
	}
	return fmt.Errorf("there is no library %q", args[0])
}
