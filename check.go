package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Check runs a self-test against a store in memory: it returns an error if a
// call runs twice, if a result is not replayed, or if a failed call does not run again.
func Check(ctx context.Context) (err error) {
	store := NewMemory()
	defer func() { err = errors.Join(err, store.Close()) }()
	guard, err := New(store, &Options{
		Policies: map[string]Policy{"replayed": {Replay: true}},
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close(ctx)) }()

	ran := 0
	call := func(tool string, args any, fail error) (Result[int], error) {
		return Do(ctx, guard, Call{Tool: tool, Args: args}, func(context.Context) (int, error) {
			ran++
			return ran, fail
		})
	}
	fail := errors.New("certainly not done")
	steps := []struct {
		what string
		tool string
		args any
		fail error // of the tool
		want error
		ran  int // calls of tools so far
	}{
		{"a first call runs", "blocked", map[string]any{"x": 1, "y": 99.99}, nil, nil, 1},
		{"arguments in another order are the same call", "blocked", map[string]any{"y": 99.99, "x": 1}, nil, ErrDuplicate, 1},
		{"float drift is absorbed", "blocked", map[string]any{"x": 1.0, "y": 99.9900000001}, nil, ErrDuplicate, 1},
		{"other arguments are another call", "blocked", map[string]any{"x": 2}, nil, nil, 2},
		{"a first call of a replayed tool runs", "replayed", 1, nil, nil, 3},
		{"its duplicate gets the recorded result", "replayed", 1, nil, nil, 3},
		{"a failure is returned", "failing", 1, NotDone(fail), fail, 4},
		{"a call that failed runs again", "failing", 1, nil, nil, 5},
		{"and then it is done", "failing", 1, nil, ErrDuplicate, 5},
	}
	for _, s := range steps {
		res, err := call(s.tool, s.args, s.fail)
		if !errors.Is(err, s.want) {
			return fmt.Errorf("ledger: check: %s: got error %v, want %v", s.what, err, s.want)
		}
		if ran != s.ran {
			return fmt.Errorf("ledger: check: %s: tools ran %d times, want %d", s.what, ran, s.ran)
		}
		if s.tool == "replayed" && (res.Value != 3 || res.Replayed != (s.what[0] == 'i')) {
			return fmt.Errorf("ledger: check: %s: got %d, replayed %v", s.what, res.Value, res.Replayed)
		}
	}
	st, err := guard.Stats(ctx, Filter{})
	if want := (Stats{Actions: 4, Attempts: 9, Executed: 4, Blocked: 4}); err == nil && st != want {
		err = fmt.Errorf("ledger: check: counts are %+v, want %+v", st, want)
	}
	return err
}
