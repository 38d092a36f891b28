// Package cli is the command line, ledger(1). Each command has a file of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger/chaos"
	"github.com/ledger-once/ledger/internal/demo"
)

// Exit codes. Usage errors have that of sysexits(3); an interrupted command has
// 128 and the signal's number, as shells do.
const (
	exitOK       = 0
	exitError    = 1
	exitStore    = 2 // the store can not be reached or used
	exitNotFound = 3 // no such call
	exitDecide   = 4 // a person has to decide, and could not be asked
	exitUsage    = 64
)

// An app is one run of the command line.
type app struct {
	args    []string // the command's own name first
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ func(string) string

	started bool                  // the arguments were understood
	adjust  func(o *demo.Options) // for tests
}

// Main runs the command that args[1:] names and returns its exit code.
func Main(args []string, in io.Reader, out, err io.Writer) int {
	a := &app{args: args, in: in, out: out, err: err, environ: os.Getenv}
	return a.main()
}

// Command returns the commands and their flags, for whoever checks a document
// against them. It must not be executed.
func Command() *cobra.Command {
	a := &app{args: []string{"ledger"}, environ: os.Getenv}
	return a.root()
}

func (a *app) main() int {
	chaos.Enter(nil) // before signals: chaos decides when its processes end
	if len(a.args) > 1 && a.args[1] == demo.WorkerCommand {
		return a.work() // before signals: the demo decides when its workers end
	}
	ctx, stop := withSignals(context.Background())
	defer stop()
	err := a.root().ExecuteContext(ctx)
	return a.exit(ctx, err)
}

// An interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return "interrupted (" + i.signal.String() + ")" }

// withSignals returns a context that ends with the first signal to stop, so that
// commands can clean up. A second one ends the process at once. A closed
// output (SIGPIPE) is such a signal too, and never ends the process at once.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals, pipe := make(chan os.Signal, 1), make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup(1) and shells' background jobs ask for that
			signal.Notify(signals, s)
		}
	}
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(interrupted{s})
		case s := <-pipe:
			cancel(interrupted{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		cancel(nil)
	}
}

// A failure carries an exit code; its text was said already if it is empty.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usage(err error) error { return &failure{exitUsage, err} }

// silent ends the command with a code and no further word.
func silent(code int) error { return &failure{code: code} }

func (a *app) exit(ctx context.Context, err error) int {
	var f *failure
	var cause interrupted
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f) && f.err == nil:
		return f.code
	case errors.As(context.Cause(ctx), &cause):
		if cause.signal != syscall.SIGPIPE { // whoever closed the pipe knows
			fmt.Fprintf(a.err, "ledger: %v\n", cause)
		}
		return signalled(cause.signal)
	}
	fmt.Fprintf(a.err, "ledger: %v\n", err)
	if !a.started {
		fmt.Fprintf(a.err, "Run 'ledger --help' for what there is.\n")
		return exitUsage
	}
	if f != nil {
		return f.code
	}
	return exitError
}

func signalled(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitError
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ledger",
		Short: "Exactly-once execution of side-effecting tool calls",
		Long: "Ledger makes the side-effecting tool calls of agents and workers happen exactly once.\n" +
			"This command looks at what the library keeps, settles what only a person can decide,\n" +
			"and shows what it is for.",
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { a.started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetArgs(a.args[1:])
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(a.chaosCommand(), a.demoCommand(), a.versionCommand(),
		a.showCommand(), a.getCommand(), a.exportCommand(), a.statsCommand(), a.sessionsCommand(),
		a.resolveCommand(), a.retryCommand(), a.clearCommand(), a.pruneCommand(), a.tailCommand(), a.runCommand(),
		a.importCommand(),
		a.doctorCommand(), a.dashboardCommand(), a.checkCommand())
	root.SetFlagErrorFunc(nearest)
	return root
}
