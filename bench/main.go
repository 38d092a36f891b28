// Command bench measures whole guarded calls beside the raw engines and beside what people write by hand, all in one
// run, and prints ratios with their spread. It never fails for being slow.
//
//	go run ./bench [--quick] [--others] [--ancestor LEDGER.PY] [--out DIR] [--only PATTERN] [--profile DIR] [--readme bench/README.md]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/ledger-once/ledger/internal/benchkit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	out, dir, readme, profile string
	only                      *regexp.Regexp
	quick, others             bool
	plan                      plan
	exe                       string // starts a worker
	ancestor                  string // its ledger.py; "": it is not measured
	othersExe                 string // is the program in bench/others; "": it is built
}

// A plan is how long things are measured.
type plan struct {
	round    time.Duration // of one way
	rounds   int
	warm     int           // calls of each way on SQLite before it is compared
	settle   time.Duration // of a worker before it is compared
	callers  []int
	records  []int // stored in SQLite
	etcdRecs []int // stored in etcd
	growth   int   // calls of one worker on SQLite
	etcdGrow int   // calls of one worker on etcd
	workers  []int
	waiters  []int
	argBytes []int
	fillFor  time.Duration // at most, to store records

	othersCallers []int // of other libraries
}

func quickPlan() plan {
	return plan{round: 120 * time.Millisecond, rounds: 5, warm: benchkit.FirstRound, settle: time.Second, callers: []int{1, 16, 128, 512}, othersCallers: []int{1, 16, 128}, records: []int{1e3, 1e4, 1e5}, etcdRecs: []int{1e3, 1e4},
		growth: 1e5, etcdGrow: 4e4, workers: []int{1, 4, 16}, waiters: []int{1, 10, 100, 1000}, argBytes: []int{100, 1 << 10, 10 << 10, 100 << 10, 1e6}, fillFor: 20 * time.Second}
}

func fullPlan() plan {
	p := quickPlan()
	p.round, p.rounds, p.settle = 700*time.Millisecond, 11, 3*time.Second
	p.records, p.etcdRecs = []int{1e3, 1e4, 1e5, 1e6}, []int{1e3, 1e4, 1e5}
	p.growth, p.etcdGrow = 1e6, 1e5
	p.workers, p.fillFor = []int{1, 2, 4, 8, 16, 32, 64}, 4*time.Minute
	return p
}

func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) error {
	f := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	f.SetOutput(out)
	var o options
	f.StringVar(&o.out, "out", "", "write results.json and the plots here")
	f.StringVar(&o.dir, "dir", "", "put the measured files here, on the disk to measure; defaults to the system's place for temporary files")
	f.StringVar(&o.readme, "readme", "", "fill the generated places of this page, such as bench/README.md; all of it from this run")
	f.StringVar(&o.profile, "profile", "", "write profiles (cpu, mutex, block, allocs) of each cell here; it makes all slower")
	f.BoolVar(&o.quick, "quick", false, "measure in less than 3 minutes")
	others := f.Bool("others", false, "measure other libraries, which are built from bench/others; on unless --quick")
	f.StringVar(&o.ancestor, "ancestor", "", "measure the Python ancestor as well: the path of its ledger.py; it needs python3")
	rounds := f.Int("rounds", 0, "measure each cell of ways in so many rounds, at most 1000; more narrow the noise; defaults to 11, with --quick to 5")
	only := f.String("only", "", "measure only cells whose name matches this regular expression")
	store := f.String("worker-store", "", "")
	_ = f.MarkHidden("worker-store") // fails for unknown names only
	if err := f.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *store != "" {
		return work(ctx, *store, in, out)
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if o.exe, err = os.Executable(); err != nil {
		return err
	}
	o.others = *others || !o.quick && !f.Changed("others")
	o.plan = fullPlan()
	if o.quick {
		o.plan = quickPlan()
	}
	if *rounds < 0 || *rounds > 1000 {
		return fmt.Errorf("--rounds %d: give a number from 1 to 1000, or 0 for the default", *rounds)
	}
	if *rounds > 0 {
		o.plan.rounds = *rounds
	}
	return measure(ctx, o, command(args), out, progress)
}

// command is what repeats this run in a shell.
func command(args []string) string {
	words := []string{"go run ./bench"}
	for _, a := range args {
		if strings.ContainsAny(a, " \t'\"\\|&;<>()$`*?[]^#~{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// measure returns an error if a part failed; the rest is measured and written all the same.
func measure(ctx context.Context, o options, command string, out, progress io.Writer) (err error) {
	if err := o.ready(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &runner{o: o, dir: dir, progress: progress, result: newResult(command, o.quick)}
	failed := r.all(ctx)
	if ctx.Err() != nil {
		failed = nil // that it was interrupted is said by the result
	}
	res := r.result
	res.Partial = ctx.Err() != nil || failed != nil
	res.Took = time.Since(res.Started).Round(time.Second).String()
	res.Floors = floors(res)
	table(out, res)
	return errors.Join(failed, o.write(res))
}

// write puts the result into files.
func (o *options) write(res *Result) error {
	if o.out != "" {
		if err := res.save(filepath.Join(o.out, "results.json")); err != nil {
			return err
		}
		if err := plots(o.out, res); err != nil {
			return err
		}
	}
	if o.readme != "" {
		return fillReadme(o.readme, o.out, res)
	}
	return nil
}

// ready finds out before a long run whether its result can be written.
func (o *options) ready() error {
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
	}
	if o.readme == "" {
		return nil
	}
	page, err := os.ReadFile(o.readme)
	if err != nil {
		return err
	}
	if err := checkPage(string(page)); err != nil {
		return fmt.Errorf("%s: %w", o.readme, err)
	}
	return nil
}
