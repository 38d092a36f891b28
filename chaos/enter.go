package chaos

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ledger-once/ledger/chaos/internal/cluster"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/powercut"
	"github.com/ledger-once/ledger/chaos/internal/worker"
)

// registry is what Enter was given: that of the program, of which each process has one.
var registry Registry

// An Open opens a store of a Registry. path is Options.Path.
type Open = worker.Open

// A Code is a tool of a Registry: it stands between the guard and the downstream. act makes the request to it.
type Code = worker.Code

// Enter has to be called before anything else by a program that calls Run. It returns at
// once, unless the process was started by Run as a worker or as a member of a cluster:
// then it is one until it ends, and Enter does not return. reg may be nil.
func Enter(reg *Registry) {
	if reg != nil {
		registry = *reg
	}
	if len(os.Args) != 3 || os.Args[1] != lab.RoleArgument {
		return
	}
	// Ctrl-C reaches the whole process group; the harness ends its processes itself.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	switch spec := os.Getenv(lab.SpecVariable); os.Args[2] {
	case worker.Role:
		err = worker.Serve(context.Background(), spec, registry, os.Stdin, os.Stdout)
	case cluster.Role:
		err = cluster.Serve(context.Background(), spec)
	case powercut.Role:
		err = powercut.Serve(context.Background(), spec)
	default:
		err = fmt.Errorf("there is no role %q", os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
