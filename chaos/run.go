package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/check"
	"github.com/ledger-once/ledger/chaos/internal/explore"
	"github.com/ledger-once/ledger/chaos/internal/lab"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/report"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A dirError names the directory with what a run wrote before it ended.
type dirError struct {
	err error
	dir string
}

func (e *dirError) Error() string { return e.err.Error() }
func (e *dirError) Unwrap() error { return e.err }

// DirOf returns the directory with what a run wrote before err ended it, or "".
func DirOf(err error) string {
	var e *dirError
	if errors.As(err, &e) {
		return e.dir
	}
	return ""
}

// Leftovers says what crashed runs left below dir ("": os.TempDir()): directories, and processes
// that still live. It ends and removes nothing.
func Leftovers(dir string) []string {
	return lab.Leftovers(dir)
}

// run runs the layers, in their order, and sums up.
func run(ctx context.Context, o *Options) (_ *Report, err error) {
	if runtime.GOOS != "linux" && !slices.Equal(o.Layers, []string{Explore}) {
		return nil, fmt.Errorf("%w: all layers but %s need Linux", ErrOptions, Explore)
	}
	began := time.Now()
	dir, err := lab.MakeDir(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &Report{trace.Summary{
		Schema: trace.Schema, Command: o.command(), Dir: dir, Faults: map[string]int{},
		Run: trace.Run{Schema: trace.Schema, Layer: strings.Join(o.Layers, ","), Seed: o.Seed, Workers: o.Workers, Started: began.UTC(), Versions: lab.Versions()},
	}}
	if err := r.layers(ctx, o, dir); err != nil {
		r.Took = time.Since(began) // what the layers before have found is kept
		r.Why = append(r.Why, err.Error())
		if r.judge(); r.Passed() {
			r.Verdict = "invalid"
		}
		return nil, &dirError{errors.Join(err, r.write(dir)), dir}
	}
	r.Took = time.Since(began)
	r.judge()
	if err := r.write(dir); err != nil {
		return nil, &dirError{err, dir}
	}
	if o.Report != "" {
		if err := r.copyTo(o.Report); err != nil {
			return nil, &dirError{err, dir}
		}
	}
	if r.Passed() && !o.Keep {
		r.Dir = ""
		return r, os.RemoveAll(dir)
	}
	return r, nil
}

// layers runs them. All processes have ended when it returns.
func (r *Report) layers(ctx context.Context, o *Options, dir string) (err error) {
	var keeper *proc.Keeper
	if runtime.GOOS == "linux" {
		if keeper, err = proc.NewKeeper(ctx, dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, keeper.Close()) }()
	}
	for _, layer := range Layers {
		if !slices.Contains(o.Layers, layer) {
			continue
		}
		if err := r.layer(ctx, layer, o, keeper, dir); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: %w", layer, err)
		}
	}
	return nil
}

func (r *Report) layer(ctx context.Context, layer string, o *Options, keeper *proc.Keeper, dir string) error {
	switch layer {
	case Explore:
		return r.explore(ctx, o)
	case Points:
		return r.points(ctx, o, keeper, filepath.Join(dir, layer))
	case Soak:
		return r.soak(ctx, o, keeper, filepath.Join(dir, layer))
	case Mutants:
		return r.mutants(ctx, o, keeper, filepath.Join(dir, layer))
	}
	return fmt.Errorf("there is no layer %q", layer) // unreachable unless program bug: options are checked
}

func (r *Report) explore(ctx context.Context, o *Options) error {
	o.progress("explore: every interleaving of the model …")
	got, err := explore.Run(ctx, explore.Options{})
	if err != nil {
		return err
	}
	r.Explorer = got
	for _, v := range got.Violations {
		r.Findings.Violations = append(r.Findings.Violations, trace.Violation{Invariant: v.Invariant, Text: "in the model: " + v.Text, Evidence: v.Trace})
	}
	loose := 0
	for _, c := range got.Cells {
		if !c.OK || !c.Tight {
			loose++
			r.Why = append(r.Why, fmt.Sprintf("the model: %s, %s, %s: %d to %d effects, where the bound is %s", c.Fault, c.Policy, c.World, c.Min, c.Max, c.Bound))
		}
	}
	o.progress(fmt.Sprintf("explore: %d states, %d transitions in %v; %d bounds of which %d do not hold or are not tight", got.States, got.Transitions, got.Elapsed.Round(time.Millisecond), len(got.Cells), loose))
	return nil
}

// judge says how the run ended.
func (r *Report) judge() {
	violated := !r.Findings.OK()
	for _, c := range r.Findings.Checks {
		if c.Violations > 0 {
			r.Why = append(r.Why, fmt.Sprintf("%s was violated %d times", c.Invariant, c.Violations))
		}
	}
	for _, m := range r.Mutants {
		if !m.OK {
			violated = true
			r.Why = append(r.Why, fmt.Sprintf("the mutant %s was not caught by %s", m.Name, strings.Join(m.Want, " or ")))
		}
	}
	if got, ok := r.Explorer.(*explore.Result); ok && slices.ContainsFunc(got.Cells, func(c explore.Cell) bool { return !c.OK || !c.Tight }) {
		violated = true
	}
	invalid := false
	for _, f := range r.Floors {
		if f.Got < f.Want {
			invalid = true
			r.Why = append(r.Why, fmt.Sprintf("too few for the run to count: %s: %.4g, where at least %.4g are needed", f.Name, f.Got, f.Want))
		}
	}
	for _, c := range r.Cells {
		switch {
		case c.Landed == 0: // it has shown nothing, good or bad
			invalid = true
			why := fmt.Sprintf("cell %s never happened", c.Cell)
			if c.Text != "" {
				why += ": " + c.Text
			}
			r.Why = append(r.Why, why)
		case !c.OK:
			violated = true
			r.Why = append(r.Why, fmt.Sprintf("cell %s: %s", c.Cell, c.Text))
		}
	}
	switch {
	case violated:
		r.Verdict = "violated"
	case invalid:
		r.Verdict = "invalid"
	default:
		r.Verdict = "passed"
	}
}

// Print writes the report for a terminal of that width.
func (r *Report) Print(w io.Writer, width int, color bool) error {
	return report.Text(w, &r.Summary, width, color)
}

// write writes summary.json and report.html to dir. The swimlanes are drawn from the run's own directory.
func (r *Report) write(dir string) error {
	if err := trace.Save(filepath.Join(dir, trace.SummaryFile), &r.Summary); err != nil {
		return err
	}
	page, err := os.OpenFile(filepath.Join(dir, trace.ReportFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(report.HTML(page, &r.Summary, filepath.Join(r.Dir, Soak)), page.Close())
}

// copyTo copies the two files, and porcupine's picture if there is one.
func (r *Report) copyTo(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	copied := *r
	if p := r.Findings.Picture; p != "" { // it lies beside the page then
		copied.Findings.Picture = filepath.Base(p)
		text, err := os.ReadFile(filepath.Join(r.Dir, p))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, copied.Findings.Picture), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("the report: %w", err)
		}
	}
	if err := copied.write(dir); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	return nil
}

// Check checks the run whose directory dir is, or holds, once more.
func Check(ctx context.Context, dir string) (*Report, error) {
	at := dir
	if _, err := os.Stat(filepath.Join(at, trace.RunFile)); err != nil {
		at = filepath.Join(dir, Soak)
	}
	run, err := trace.Load(at)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w: %s holds no soak, nor a run of another layer's (%s in it, or in %s); the directories of runs are named in what they print: %v",
			ErrOptions, dir, trace.RunFile, Soak, err)
	}
	began := time.Now()
	found, err := check.Run(ctx, at, nil)
	if err != nil {
		return nil, fmt.Errorf("chaos: check %s: %w", at, err)
	}
	r := &Report{trace.Summary{Schema: trace.Schema, Command: "ledger chaos --check " + dir, Run: run, Findings: *found, Dir: at, Faults: map[string]int{}}}
	for f, err := range trace.Read[trace.Fault](filepath.Join(at, trace.FaultsFile)) {
		if err != nil {
			return nil, fmt.Errorf("chaos: check %s: %w", at, err)
		}
		r.Faults[f.Kind]++
	}
	r.Took = time.Since(began)
	r.Floors = append(r.Floors, trace.Floor{Name: "guarded calls", Want: 1, Got: float64(found.Calls)})
	if _, err := os.Stat(filepath.Join(at, trace.FinalFile)); err != nil || run.To == 0 {
		r.Floors = append(r.Floors, trace.Floor{Name: "records read in the end: the run was cut short", Want: 1})
	}
	r.judge()
	return r, nil
}

// merge adds what one run's checkers found.
func (r *Report) merge(f *trace.Findings, dir string) {
	to := &r.Findings
	for _, c := range f.Checks {
		i := slices.IndexFunc(to.Checks, func(have trace.Check) bool { return have.Invariant == c.Invariant })
		if i < 0 {
			to.Checks = append(to.Checks, c)
			continue
		}
		to.Checks[i].Checked += c.Checked
		to.Checks[i].Violations += c.Violations
		to.Checks[i].Unknown += c.Unknown
		if to.Checks[i].Note == "" {
			to.Checks[i].Note = c.Note
		}
	}
	for _, v := range f.Violations {
		if len(to.Violations) < maxViolations {
			v.Dir = dir
			to.Violations = append(to.Violations, v)
		}
	}
	to.Calls, to.Open, to.IDs = to.Calls+f.Calls, to.Open+f.Open, to.IDs+f.IDs
	to.Grants, to.Takeovers = to.Grants+f.Grants, to.Takeovers+f.Takeovers
	to.Outcomes, to.Effects = summed(to.Outcomes, f.Outcomes), summed(to.Effects, f.Effects)
	if to.Histogram == nil {
		to.Histogram = map[string]map[int]int{}
	}
	for name, counts := range f.Histogram {
		to.Histogram[name] = summed(to.Histogram[name], counts)
	}
	if to.Picture == "" && f.Picture != "" {
		to.Picture = filepath.Join(dir, f.Picture)
		if within, err := filepath.Rel(r.Dir, to.Picture); err == nil {
			to.Picture = filepath.ToSlash(within)
		}
	}
}

// maxViolations are kept; the others are counted.
const maxViolations = 100

func summed[K comparable](to, add map[K]int) map[K]int {
	if to == nil {
		return maps.Clone(add)
	}
	for k, n := range add {
		to[k] += n
	}
	return to
}

func (o *Options) progress(line string) {
	if o.Progress != nil {
		o.Progress(line)
	}
}

// command is how a person repeats the run.
func (o *Options) command() string {
	args := []string{"ledger chaos --layer " + strings.Join(o.Layers, ",")}
	if slices.Contains(o.Layers, Points) || slices.Contains(o.Layers, Mutants) {
		args[0] = "go run -tags failpoint ./cmd/" + args[0]
	}
	add := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+" "+value)
		}
	}
	add("store", o.Store)
	if o.Store == "etcd" || o.Store == "" {
		add("members", fmt.Sprint(o.Members))
	}
	add("workers", fmt.Sprint(o.Workers))
	add("callers", fmt.Sprint(o.Callers))
	if len(o.Policies) < len(policies) {
		add("policy", strings.Join(o.Policies, ","))
	}
	if len(o.Worlds) < len(worlds) {
		add("world", strings.Join(o.Worlds, ","))
	}
	add("fault", strings.Join(o.Faults, ","))
	add("seed", fmt.Sprint(o.Seed))
	add("duration", o.Duration.String())
	if o.Full {
		args = append(args, "--full")
	}
	return strings.Join(args, " ")
}
