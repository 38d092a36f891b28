package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/ledger-once/ledger/internal/benchkit"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// work is what this program does when it was started by itself, as a worker with a store of its own: sqlite:PATH or etcd:ENDPOINT,ENDPOINT.
func work(ctx context.Context, store string, in io.Reader, out io.Writer) (err error) {
	kind, where, _ := strings.Cut(store, ":")
	var way rounds.Way
	switch kind {
	case "sqlite":
		way, err = benchkit.GuardedSQLite(ctx, where)
	case "etcd":
		way, err = benchkit.GuardedEtcd(ctx, strings.Split(where, ","))
	default:
		err = fmt.Errorf("unknown store %q", store)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, way.Close()) }()
	return rounds.Serve(ctx, in, out, way)
}

func (r *runner) startWorker(ctx context.Context, name, store string) (*rounds.Worker, error) {
	return rounds.Start(name, exec.CommandContext(ctx, r.o.exe, "--worker-store", store))
}

// hands lets n workers measure together for a warm-up and some rounds, and returns what each found, by round.
func (r *runner) hands(ctx context.Context, n int, store string, callers, times int) (_ [][]rounds.Sample, err error) {
	var all []*rounds.Worker
	defer func() {
		for _, w := range all {
			if stopErr := w.Stop(); err == nil {
				err = stopErr
			}
		}
	}()
	for i := range n {
		w, err := r.startWorker(ctx, fmt.Sprintf("worker %d", i), store)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	var found [][]rounds.Sample
	for round := range times + 1 { // the first one warms up
		for _, w := range all {
			if err := w.AskMeasure(callers, r.o.plan.round); err != nil {
				return nil, err
			}
		}
		samples := make([]rounds.Sample, n)
		for i, w := range all {
			if samples[i], err = w.Answer(); err != nil {
				return nil, err
			}
		}
		if round > 0 {
			found = append(found, samples)
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
