package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	"github.com/cschleiden/go-workflows/workflow"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// openWorkflows guards calls with go-workflows on its SQLite backend: for each call a workflow instance whose ID is that of the
// call, and that runs the tool as its only activity.
//
// Its workers poll. Left alone they wait 200 ms between two looks, and a single caller would measure that: here they wait 1 ms.
func openWorkflows(ctx context.Context, path string, t tool) (_ rounds.Way, err error) {
	b := sqlite.NewSqliteBackend(path+"?_pragma=synchronous(FULL)", sqlite.WithBackendOptions(backend.WithLogger(slog.New(slog.DiscardHandler))))
	o := worker.DefaultOptions
	o.WorkflowPollingInterval, o.ActivityPollingInterval = time.Millisecond, time.Millisecond
	o.SingleWorkerMode = true
	activity := func(ctx context.Context, in rounds.ChargeArgs) (rounds.Receipt, error) { return t(ctx, in) }
	charge := func(ctx workflow.Context, in rounds.ChargeArgs) (rounds.Receipt, error) {
		return workflow.ExecuteActivity[rounds.Receipt](ctx, workflow.DefaultActivityOptions, activity, in).Get(ctx)
	}
	begin := func() (end func() error, err error) { // a worker for each round: it polls, and must not do so while others are measured
		w := worker.New(b, &o)
		if err := errors.Join(w.RegisterWorkflow(charge), w.RegisterActivity(activity)); err != nil {
			return nil, err
		}
		life, cancel := context.WithCancel(ctx)
		if err := w.Start(life); err != nil {
			cancel()
			return nil, err
		}
		return func() error {
			cancel()
			return w.WaitForCompletion()
		}, nil
	}
	c := client.New(b)
	return rounds.Way{Name: "go-workflows", Begin: begin, Close: b.Close, Call: func(ctx context.Context, id ledger.ID) error {
		i, err := c.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: id.String()}, charge, rounds.Charge(id.Fingerprint))
		if err != nil {
			return err
		}
		_, err = client.GetWorkflowResult[rounds.Receipt](ctx, c, i, time.Minute)
		return err
	}}, nil
}
