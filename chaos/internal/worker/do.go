package worker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/chaos/internal/world"
)

// do carries out one operation of the guard, and returns the line that ends it.
func (w *worker) do(ctx context.Context, s Step) trace.Line {
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	call := ledger.Call{Tool: s.Tool, Key: s.Key}
	id, err := w.guard.ID(ctx, call)
	n := w.h.begin(trace.Line{Kind: s.Kind, ID: id.String(), Tool: s.Tool, Key: s.Key, As: s.As})
	ctx = context.WithValue(ctx, within{}, n)
	end := trace.Line{Kind: s.Kind, Outcome: trace.OK, Definite: true, As: s.As}
	if err == nil {
		switch s.Kind {
		case trace.Do, trace.Force:
			end, err = w.call(ctx, n, s, call, end)
		case trace.Forget:
			err = w.guard.Retry(ctx, call)
		case trace.Resolve:
			end, err = w.resolve(ctx, s, id, end)
		default:
			err = errors.New("no such operation") // unreachable unless program bug
		}
	}
	end = outcomeOf(end, err)
	w.h.end(n, end)
	w.calls.Add(1)
	return end
}

func (w *worker) call(ctx context.Context, n uint64, s Step, call ledger.Call, end trace.Line) (trace.Line, error) {
	call.Args = map[string]string{"ask": s.Ask}
	run := ledger.Do[json.RawMessage]
	if s.Kind == trace.Force {
		run = ledger.Force[json.RawMessage]
	}
	res, err := run(ctx, w.guard, call, func(ctx context.Context) (json.RawMessage, error) { return w.attempt(ctx, n, s) })
	end.Value, end.Fence, end.Token = string(res.Value), int64(res.Record.Fence), res.Record.Token
	if res.Replayed {
		end.Outcome = trace.Replayed
	}
	return end, err
}

// attempt is the tool.
func (w *worker) attempt(ctx context.Context, in uint64, s Step) (value json.RawMessage, err error) {
	claim, _ := ledger.ClaimFrom(ctx)
	r := world.Request{ID: claim.ID.String(), Tool: s.Tool, Token: claim.Token, Fence: int64(claim.Fence), Attempt: claim.Attempt, Ask: s.Ask}
	n := w.h.begin(trace.Line{Kind: trace.Attempt, In: in, ID: r.ID, Tool: s.Tool, Key: s.Key, Fence: r.Fence, Token: r.Token, Attempt: r.Attempt})
	defer func() {
		end := trace.Line{Kind: trace.Attempt, Outcome: trace.OK, Definite: true, Value: string(value), Fence: r.Fence}
		if err != nil {
			end.Outcome, end.Err, end.Value = trace.ToolFailed, err.Error(), classOf(err).String()
		}
		w.h.end(n, end)
	}()
	act := func(ctx context.Context) (json.RawMessage, error) {
		got, err := w.world.Act(ctx, r)
		w.halts.at(point.EffectAnswered, s.Key)
		if err == nil {
			return json.Marshal(got)
		}
		// A refusal tells of this request alone: whoever calls it "not done" must know
		// that no earlier attempt of the run had the effect.
		failure := &toolError{err: err}
		switch {
		case claim.Attempt > 1:
		case errors.Is(err, world.ErrDenied):
			failure.class = ledger.ClassNotDone
		case errors.Is(err, world.ErrPermanent):
			failure.class = ledger.ClassPermanent
		}
		switch failure.class {
		case ledger.ClassNotDone:
			return nil, ledger.NotDone(failure)
		case ledger.ClassPermanent:
			return nil, ledger.Permanent(failure)
		}
		return nil, failure
	}
	if code := w.reg.Tools[w.job.Code]; code != nil {
		return code(ctx, s.Key, act)
	}
	return act(ctx)
}

// A toolError is what the tool returned, with what it says of the effect.
type toolError struct {
	err   error
	class ledger.Class
}

func (e *toolError) Error() string { return e.err.Error() }
func (e *toolError) Unwrap() error { return e.err }

// classOf is what the tool says by err.
func classOf(err error) ledger.Class {
	var t *toolError
	if errors.As(err, &t) {
		return t.class
	}
	return ledger.ClassUncertain
}

// query is the tools' Reconcile.
func (w *worker) query(ctx context.Context, t trace.Tool, rec ledger.Record) (ledger.Verdict, error) {
	claim, _ := ledger.ClaimFrom(ctx)
	r := world.Request{ID: rec.ID.String(), Tool: t.Name, Token: rec.Token, Fence: int64(claim.Fence)}
	n := w.h.begin(trace.Line{Kind: trace.Query, In: opOf(ctx), ID: r.ID, Tool: t.Name, Key: rec.Key, Fence: r.Fence, Token: r.Token})
	happened, result, err := w.world.Query(ctx, r)
	end := trace.Line{Kind: trace.Query, Outcome: trace.OK, Definite: true, Value: result, Won: happened}
	if err != nil {
		end.Outcome, end.Err, end.Definite = trace.Unknown, err.Error(), false
	}
	w.h.end(n, end)
	w.halts.at(point.ReconcileQuery, rec.Key)
	switch {
	case err != nil:
		return ledger.Unknown(), err
	case happened:
		return ledger.Happened(result), nil
	}
	return ledger.DidNotHappen(), nil
}

// resolve settles a call in doubt, by what the downstream knows unless the step says how.
func (w *worker) resolve(ctx context.Context, s Step, id ledger.ID, end trace.Line) (trace.Line, error) {
	res := ledger.Resolution{By: w.job.Process, Reason: "chaos"}
	switch s.As {
	case "forget":
		res.As = ledger.ResolveForget
	case "did_not_happen":
		res.As = ledger.ResolveDidNotHappen
	case "happened":
		res.As = ledger.ResolveHappened
	default:
		stands, err := w.store.Get(ctx, id)
		if err != nil {
			return end, err
		}
		happened, result, err := w.person.Query(ctx, world.Request{ID: id.String(), Tool: s.Tool, Token: stands.Token, Fence: int64(stands.Fence)})
		if err != nil {
			end.Outcome = trace.NotStarted
			return end, nil
		}
		if res.As = ledger.ResolveDidNotHappen; happened {
			res.As = ledger.ResolveHappened
			if res.Result, err = json.Marshal(result); err != nil {
				return end, err
			}
		}
	}
	end.As = res.As.String()
	_, err := w.guard.Resolve(ctx, id, res)
	return end, err
}

// outcomeOf completes the last line of a guard's operation. Unrecorded comes first: such a call ran.
func outcomeOf(l trace.Line, err error) trace.Line {
	if err == nil {
		return l
	}
	l.Err = err.Error()
	var failure *toolError
	if errors.As(err, &failure) && !errors.Is(err, ledger.ErrUnrecorded) && !errors.Is(err, ledger.ErrBlocked) {
		l.Outcome, l.Value = trace.ToolFailed, failure.class.String()
		return l
	}
	for _, d := range []struct {
		is       error
		outcome  string
		definite bool
	}{
		{ledger.ErrUnrecorded, trace.Unrecorded, false},
		{ledger.ErrDuplicate, trace.Duplicate, true}, {ledger.ErrInProgress, trace.InProgress, true}, {ledger.ErrInDoubt, trace.InDoubt, true},
		{ledger.ErrFailed, trace.Failed, true}, {ledger.ErrResultOmitted, trace.Omitted, true}, {ledger.ErrRunning, trace.Running, true},
		{ledger.ErrNotFound, trace.NotFound, true},
		{ledger.ErrUnavailable, trace.NotStarted, true}, {ledger.ErrClosed, trace.NotStarted, true},
		{ledger.ErrLeaseLost, trace.NotStarted, true}, {ledger.ErrFenced, trace.Fenced, false}, {ledger.ErrInvalid, trace.Invalid, true},
		{context.DeadlineExceeded, trace.NotStarted, true}, {context.Canceled, trace.NotStarted, true},
	} {
		if !errors.Is(err, d.is) {
			continue
		}
		if l.Outcome, l.Definite = d.outcome, d.definite; l.Outcome == trace.Unrecorded && errors.Is(err, ledger.ErrFenced) {
			l.Outcome = trace.Fenced
		}
		return l
	}
	l.Outcome, l.Definite = trace.Unknown, false
	return l
}

// report tells how far the workload has come, a few times a second.
func (w *worker) report(stop <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		n := Note{Calls: w.calls.Load(), Progress: make([]uint64, len(w.progress))}
		for i := range w.progress {
			n.Progress[i] = w.progress[i].Load()
		}
		w.say(n)
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}
