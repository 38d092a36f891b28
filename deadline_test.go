package ledger

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeout(t *testing.T) {
	cause := errors.New("cause")
	for name, c := range map[string]struct {
		do   func(cancel context.CancelCauseFunc, to *timeout)
		want error
		why  error
	}{
		"nothing":  {func(context.CancelCauseFunc, *timeout) { time.Sleep(time.Second / 2) }, nil, nil},
		"deadline": {func(context.CancelCauseFunc, *timeout) { time.Sleep(time.Second) }, context.DeadlineExceeded, context.DeadlineExceeded},
		"outer":    {func(cancel context.CancelCauseFunc, _ *timeout) { cancel(cause) }, context.Canceled, cause},
		"end":      {func(_ context.CancelCauseFunc, to *timeout) { to.end() }, context.Canceled, context.Canceled},
	} {
		for _, waits := range []string{"nobody waits", "somebody waits", "a child waits"} {
			t.Run(name+"/"+waits, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					outer, cancel := context.WithCancelCause(context.WithValue(t.Context(), keyKey, "k"))
					defer cancel(nil)
					to := &timeout{Context: outer, deadline: time.Now().Add(time.Second)}
					defer to.end()
					var waiting context.Context = to
					switch waits {
					case "somebody waits":
						to.Done()
					case "a child waits":
						child, end := context.WithCancel(to)
						defer end()
						waiting = child
					}
					c.do(cancel, to)
					synctest.Wait()
					if err := to.Err(); err != c.want {
						t.Errorf("got %v, want %v", err, c.want)
					}
					if err := context.Cause(to); err != c.why {
						t.Errorf("cause: got %v, want %v", err, c.why)
					}
					if at, ok := to.Deadline(); !ok || !at.Equal(to.deadline) || to.Value(keyKey) != "k" {
						t.Errorf("deadline %v %v, value %v", at, ok, to.Value(keyKey))
					}
					if c.want == nil {
						select {
						case <-to.Done():
							t.Error("done too early")
						default:
						}
						return
					}
					<-to.Done()
					<-waiting.Done()
				})
			})
		}
	}
}

// Outcomes have a deadline, and their values, whatever becomes of the caller.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadlines
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), keyKey, "k"))
		cancel()
		const timeout = 64 * time.Second
		start := time.Now()
		first := d.without(ctx, timeout)
		time.Sleep(time.Second / 2)
		second := d.without(ctx, timeout)
		time.Sleep(time.Second / 2)
		third := d.without(ctx, timeout)
		if first.Err() != nil || context.Cause(first) != nil || first.Value(keyKey) != "k" {
			t.Fatalf("%v, %v, %v", first.Err(), context.Cause(first), first.Value(keyKey))
		}
		child, end := context.WithTimeout(second, time.Hour)
		defer end()
		<-child.Done()
		if got := time.Since(start); got != timeout {
			t.Errorf("the first two ended after %v, want %v", got, timeout)
		}
		if first.Err() != context.DeadlineExceeded || context.Cause(second) != context.DeadlineExceeded || third.Err() != nil {
			t.Errorf("%v, %v, %v", first.Err(), context.Cause(second), third.Err())
		}
		<-third.Done()
		if got := time.Since(start); got != timeout+time.Second {
			t.Errorf("the third ended after %v, want %v", got, timeout+time.Second)
		}
	})
}
