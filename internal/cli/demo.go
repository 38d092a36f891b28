package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ledger-once/ledger/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var (
		asJSON bool
		keep   string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run an agent's transcript twice, without and with Ledger, and count what happened",
		Long: "The tool calls of an agent's transcript run against a payment and mail service on the\n" +
			"loopback interface, in four worker processes of which one is killed mid-call; first\n" +
			"without Ledger, then with it. The service counts what it really did.\n\n" +
			"It needs no network, no service and no file, and takes about a second. The exit code is\n" +
			"1 if with Ledger any action happened twice or not at all.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), asJSON, keep)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the figures as one JSON object; progress goes to standard error")
	cmd.Flags().StringVar(&keep, "keep", "", "keep the ledger file and the service's journals in `DIR`")
	return cmd
}

func (a *app) demo(ctx context.Context, asJSON bool, keep string) error {
	to := a.out
	if asJSON {
		to = a.err
	}
	o := &demo.Options{Keep: keep, Progress: a.printer(to)}
	if keep != "" {
		abs, err := filepath.Abs(keep)
		if err != nil {
			return usage(err)
		}
		o.Keep = abs
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	o.Command = []string{exe, demo.WorkerCommand}
	if a.adjust != nil {
		a.adjust(o)
	}
	report, err := demo.Run(ctx, o)
	switch {
	case errors.Is(err, demo.ErrKeep):
		return usage(err)
	case err != nil:
		if o.Keep != "" {
			fmt.Fprintf(a.err, "ledger: what was written so far is in %s\n", o.Keep)
		}
		return err
	case asJSON:
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	default:
		report.Print(o.Progress)
		if err := o.Progress.Err(); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	if !report.OK {
		return silent(exitError)
	}
	return nil
}

// printer writes to w in colour if it is a terminal and nothing forbids it (https://no-color.org).
func (a *app) printer(w io.Writer) *demo.Printer {
	p := &demo.Printer{W: w}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	p.Color = a.environ("NO_COLOR") == "" && a.environ("TERM") != "dumb"
	if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
		p.Width = min(columns, 80)
	}
	return p
}

// work is the hidden role of the demo's worker processes.
func (a *app) work() int {
	// Ctrl-C reaches the whole process group; the demo ends its workers itself.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := demo.Work(context.Background(), a.in, a.out, a.err); err != nil {
		fmt.Fprintln(a.err, err)
		return exitError
	}
	return exitOK
}
