package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ledger-once/ledger/internal/benchkit"
)

// A worker is this program, started by itself: a process of its own, with a store of its own. It measures
// once for each line of its input and answers with a line of JSON, until the input ends.
type worker struct {
	store   string // sqlite:PATH or etcd:ENDPOINT,ENDPOINT
	callers int
	round   time.Duration
}

func workerFlags(f *pflag.FlagSet) *worker {
	w := &worker{}
	f.StringVar(&w.store, "worker-store", "", "")
	f.IntVar(&w.callers, "worker-callers", 1, "")
	f.DurationVar(&w.round, "worker-round", time.Second, "")
	for _, name := range []string{"worker-store", "worker-callers", "worker-round"} {
		_ = f.MarkHidden(name) // fails for unknown names only
	}
	return w
}

func (w *worker) work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	kind, where, _ := strings.Cut(w.store, ":")
	var way benchkit.Way
	switch kind {
	case "sqlite":
		way, err = benchkit.GuardedSQLite(ctx, where)
	case "etcd":
		way, err = benchkit.GuardedEtcd(ctx, strings.Split(where, ","))
	default:
		err = fmt.Errorf("unknown store %q", w.store)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, way.Close()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(benchkit.Sample{}); err != nil { // it is ready
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		s, err := benchkit.Measure(ctx, way.Call, w.callers, w.round)
		if err == nil {
			err = answers.Encode(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A hand is a worker as its parent sees it.
type hand struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startHand(ctx context.Context, exe, store string, callers int, round time.Duration) (*hand, error) {
	h := &hand{cmd: exec.CommandContext(ctx, exe, "--worker-store", store, "--worker-callers", fmt.Sprint(callers), "--worker-round", round.String())}
	h.cmd.Stderr = os.Stderr
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.answers = json.NewDecoder(out)
	return h, h.cmd.Start()
}

func (h *hand) answer() (s benchkit.Sample, err error) {
	err = h.answers.Decode(&s)
	return s, err
}

func (h *hand) stop() error {
	return errors.Join(h.in.Close(), h.cmd.Wait())
}

// hands lets n workers measure together for a warm-up and some rounds, and returns what each found, by round.
func (r *runner) hands(ctx context.Context, n int, store string, callers, rounds int) (_ [][]benchkit.Sample, err error) {
	var all []*hand
	defer func() {
		for _, h := range all {
			if stopErr := h.stop(); err == nil {
				err = stopErr
			}
		}
	}()
	for range n {
		h, err := startHand(ctx, r.o.exe, store, callers, r.o.plan.round)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	var found [][]benchkit.Sample
	for round := range rounds + 2 { // the first answers say that they are ready, the second ones warm up
		samples := make([]benchkit.Sample, n)
		for i, h := range all {
			if samples[i], err = h.answer(); err != nil {
				return nil, fmt.Errorf("worker %d: %w", i, err)
			}
		}
		if round > 1 {
			found = append(found, samples)
		}
		if round == rounds+1 {
			break
		}
		for _, h := range all {
			if _, err := io.WriteString(h.in, "go\n"); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// workers measures n processes on one store, 8 callers each.
func (r *runner) workers(ctx context.Context, c Cell, n int, store string) error {
	found, err := r.hands(ctx, n, store, 8, 3)
	if err != nil {
		return err
	}
	var rates, p99 []float64
	for _, samples := range found {
		rate, worst := 0.0, time.Duration(0)
		for _, s := range samples {
			rate += s.PerSecond()
			worst = max(worst, s.P99)
		}
		rates = append(rates, rate)
		p99 = append(p99, float64(worst.Nanoseconds())/1e3)
	}
	worst := spread(p99)
	c.Unit = "calls/s"
	c.Rows = []Row{{Name: "guarded call", Value: spread(rates), P99: &worst}}
	r.result.Cells = append(r.result.Cells, c)
	return nil
}

// client measures a worker apart from the cluster: what a call costs the client's process.
func (r *runner) client(ctx context.Context, c Cell, store string) error {
	found, err := r.hands(ctx, 1, store, 128, r.o.plan.rounds)
	if err != nil {
		return err
	}
	var allocs, cpu []float64
	for _, s := range found {
		allocs = append(allocs, s[0].Allocs)
		cpu = append(cpu, float64(s[0].CPU.Nanoseconds())/1e3/float64(s[0].Calls))
	}
	c.Rows = []Row{{Name: "allocations a call", Value: spread(allocs)}, {Name: "CPU of a call, µs", Value: spread(cpu)}}
	r.result.Cells = append(r.result.Cells, c)
	return nil
}
