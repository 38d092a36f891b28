package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ledger-once/ledger/chaos"
)

func (a *app) chaosCommand() *cobra.Command {
	var (
		o      chaos.Options
		check  string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Kill, stop and cut off workers, and prove that each call still ran once",
		Long: "Real worker processes make guarded calls against a downstream that writes down each\n" +
			"effect, while they are killed, stopped and cut off from the store, and members of the\n" +
			"etcd cluster are killed. Then everything that was written down is checked: that no call\n" +
			"had more effects than its policy allows, that nothing acknowledged was lost, and that\n" +
			"the histories are linearizable.\n\n" +
			"Layers (--layer, several with commas):\n\n" +
			"  explore   every interleaving of a model of the protocol, in seconds\n" +
			"  soak      random faults for --duration\n" +
			"  points    each fault at each dangerous place of a call; see below\n" +
			"  mutants   guards and stores with one rule broken, which must be caught; see below\n\n" +
			"points and mutants need a binary with failpoints, which releases leave out:\n\n" +
			"  go run -tags failpoint ./cmd/ledger chaos --layer points,mutants\n\n" +
			"The same --seed gives the same schedule of calls and faults; not the same interleaving.\n" +
			"The exit code is 1 if something was violated, or if too few faults or calls happened\n" +
			"for the run to count; 64 for wrong options; 130 after Ctrl-C. It needs Linux.",
		Example: "  ledger chaos --seed 1 --duration 10m --report out\n" +
			"  ledger chaos --store sqlite --duration 30s --fault kill,pause\n" +
			"  ledger chaos --check /tmp/ledger-chaos-123",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"members", "workers", "callers", "seed", "duration"} {
				// To the package 0 stands for the default; who writes it means 0.
				if f := cmd.Flag(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
					return usage(fmt.Errorf("--%s is 0; give more, or leave it out", name))
				}
			}
			return a.chaos(cmd.Context(), &o, check, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Layers, "layer", []string{chaos.Explore, chaos.Soak}, "`LAYERS` to run: explore, points, soak, mutants")
	f.StringVar(&o.Store, "store", "", "`STORE`: etcd or sqlite (default etcd; both for points and mutants)")
	f.IntVar(&o.Members, "members", 3, "`N` members of the etcd cluster, 1 to 5")
	f.IntVar(&o.Workers, "workers", 8, "`N` worker processes, 2 to 64")
	f.IntVar(&o.Callers, "callers", 4, "`N` calls that a worker makes at a time")
	f.StringSliceVar(&o.Policies, "policy", nil, "in-doubt `POLICIES`: retry, block, reconcile (default all)")
	f.StringSliceVar(&o.Worlds, "world", nil, "`KINDS` of downstream: plain, token, fence, hold (default all)")
	f.StringSliceVar(&o.Faults, "fault", nil, "`FAULTS`: "+strings.Join(chaos.Faults(), ", ")+" ; SQLite has kill and pause (default all that the store can have)")
	f.Uint64Var(&o.Seed, "seed", 1, "`SEED` of the workload and of the faults")
	f.DurationVar(&o.Duration, "duration", 0, "how long the soak `LASTS`, 10s to 24h (default 1m)")
	f.BoolVar(&o.Full, "full", false, "all cells of the layer points, not those of its short mode")
	f.BoolVar(&o.NoPowerCuts, "no-power-cuts", false, "leave out the power cuts of layers points and mutants, which need strace")
	f.StringVar(&o.Report, "report", "", "write summary.json and report.html to `DIR`")
	f.StringVar(&o.Dir, "dir", "", "make the run's directory in `DIR` (default the system's for temporary files)")
	f.BoolVar(&o.Keep, "keep", false, "keep the run's directory also when nothing was violated")
	f.StringVar(&check, "check", "", "run no chaos: check the run that `DIR` holds once more")
	f.BoolVar(&asJSON, "json", false, "print the summary as one JSON object; progress goes to standard error")
	return cmd
}

func (a *app) chaos(ctx context.Context, o *chaos.Options, check string, asJSON bool) error {
	// A worker that was killed breaks the pipe of its orders: that is none of our own output.
	signal.Ignore(syscall.SIGPIPE)
	live := a.live(a.err)
	o.Progress = live.line
	if at, err := os.Stat(o.Dir); o.Dir == "" || err == nil && at.IsDir() {
		for _, found := range chaos.Leftovers(o.Dir) {
			fmt.Fprintf(a.err, "ledger: %s\n", found)
		}
	}
	var (
		report *chaos.Report
		err    error
	)
	if check != "" {
		report, err = chaos.Check(ctx, check)
	} else {
		report, err = chaos.Run(ctx, o)
	}
	live.end()
	switch {
	case errors.Is(err, chaos.ErrOptions):
		return usage(err)
	case err != nil:
		if dir := chaos.DirOf(err); dir != "" {
			fmt.Fprintf(a.err, "ledger: what was written so far is in %s\n", dir)
		}
		return err
	case asJSON:
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	default:
		p := a.printer(a.out)
		width := p.Width
		if width == 0 {
			width = 100
		}
		err = report.Print(a.out, width, p.Color)
	}
	if errors.Is(err, syscall.EPIPE) {
		return silent(signalled(syscall.SIGPIPE)) // whoever closed the pipe knows
	}
	if err != nil {
		return err
	}
	if !report.Passed() {
		return silent(exitError)
	}
	return nil
}

// A live writer shows progress: one line that is written over on a terminal, and
// lines elsewhere.
type live struct {
	w        io.Writer
	terminal bool
	width    int
	shown    bool
}

func (a *app) live(w io.Writer) *live {
	l := &live{w: w}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		l.terminal, l.width = a.environ("TERM") != "dumb", 80
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			l.width = columns
		}
	}
	return l
}

// line shows text. One that ends in "…" is to be written over by the next.
func (l *live) line(text string) {
	passing := strings.HasSuffix(text, "…")
	if !l.terminal {
		fmt.Fprintln(l.w, text)
		return
	}
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	if l.shown = passing; passing {
		if r := []rune(text); len(r) >= l.width {
			text = string(r[:l.width-1])
		}
		fmt.Fprint(l.w, text)
		return
	}
	fmt.Fprintln(l.w, text)
}

func (l *live) end() {
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.shown = false
	}
}
