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
		o      demo.Options
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run an agent's transcript twice, without and with Ledger, and count what happened",
		Long: "The tool calls of an agent's transcript run against a payment and mail service on the\n" +
			"loopback interface, in four worker processes of which one is killed mid-call; first\n" +
			"without Ledger, then with it. The service counts what it really did.\n\n" +
			"It needs no network and no service: Ledger's records are in a real etcd that runs inside\n" +
			"the demo (130 MiB in a temporary directory, removed in the end). The killed worker's claim\n" +
			"stands until its lease of 2 s has expired, so the demo takes about 3 seconds, and one on\n" +
			"SQLite. --store takes another store:\n\n" +
			"  embedded:DIR                a real etcd inside the demo; its data stay in DIR\n" +
			"  etcd://HOST:2379/PREFIX     your own cluster, below a random prefix of PREFIX; the demo\n" +
			"                              removes its records. etcds:// for TLS; passwords and files\n" +
			"                              come from LEDGER_ETCD_PASSWORD and ETCDCTL_*, as for etcdctl\n" +
			"  sqlite:PATH, or a path      a SQLite file, which stays\n\n" +
			"The exit code is 1 if with Ledger any action happened twice or not at all.",
		Example: "  ledger demo\n" +
			"  ledger demo --store sqlite:demo.db\n" +
			"  ledger demo --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), o, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the figures as one JSON object; progress goes to standard error")
	cmd.Flags().StringVar(&o.Keep, "keep", "", "keep the service's journals, and the etcd unless --store is given, in `DIR`")
	cmd.Flags().StringVar(&o.Store, "store", "", "`URL` of the store for Ledger's records (default a temporary embedded etcd)")
	return cmd
}

func (a *app) demo(ctx context.Context, o demo.Options, asJSON bool) error {
	to := a.out
	if asJSON {
		to = a.err
	}
	o.Progress = a.printer(to)
	if o.Keep != "" {
		abs, err := filepath.Abs(o.Keep)
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
		a.adjust(&o)
	}
	report, err := demo.Run(ctx, &o)
	switch {
	case errors.Is(err, demo.ErrKeep), errors.Is(err, demo.ErrStore):
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
