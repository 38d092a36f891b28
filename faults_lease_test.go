package ledger_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// untilCancelled is a tool that has its effect, then waits for the end of its context and fails with it.
func (c *counter) untilCancelled(entered chan<- struct{}) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		c.effect(ctx)
		close(entered)
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
}

// A lost lease cancels the tool. Its outcome is recorded all the same, as long
// as nobody else claimed the call.
func TestLeaseLost(t *testing.T) {
	for _, c := range []struct {
		what  string
		end   error // of the tool, beside the cause of its context
		state ledger.State
	}{
		{"it succeeded", nil, ledger.StateSucceeded},
		{"it stopped", errTool, ledger.StateInDoubt},
		{"it had done nothing", ledger.NotDone(errTool), ledger.StateFailed},
	} {
		t.Run(c.what, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			session := m.Session()
			g := newGuard(t, session, &ledger.Options{Default: ledger.Policy{Backoff: func() ledger.Backoff { return noPause{} }}})
			_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
				session.Expire()
				<-ctx.Done()
				if cause := context.Cause(ctx); cause != ledger.ErrLeaseLost {
					t.Errorf("cause %v, want ErrLeaseLost", cause)
				}
				return n.effect(ctx), c.end
			})
			if c.end == nil {
				wantErr(t, err)
			} else {
				wantErr(t, err, errTool, ledger.ErrLeaseLost)
			}
			wantCount(t, "tries with a claim that may be another's", n.count(), 1)
			if r := stored(t, m, g, charge); r.State != c.state {
				t.Errorf("state %s, want %s", r.State, c.state)
			}
			// The next call is made under the new session.
			_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "charge_card", Args: 2}, n.run)
			wantErr(t, err)
		})
	}
}

type noPause struct{}

func (noPause) NextBackOff() time.Duration { return 0 }
func (noPause) Reset()                     {}

// Whoever forces a call cancels the tool that runs it, wherever that is, and
// the outcome of the forced one stands.
func TestForcedElsewhere(t *testing.T) {
	for _, c := range []struct {
		what string
		warm bool // the guard has finished a call before
		same bool // forced through the same guard
	}{
		{"by another worker", true, false},
		{"by another worker, in the first call", false, false},
		{"by this worker", false, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { forcedElsewhere(t, c.warm, c.same) })
		})
	}
}

func forcedElsewhere(t *testing.T, warm, same bool) {
	m, n := ledger.NewMemory(), &counter{}
	g := newGuard(t, m.Session(), nil)
	other := g
	if !same {
		other = newGuard(t, m.Session(), nil)
	}
	if warm {
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "warm"}, n.run)
		wantErr(t, err)
		synctest.Wait() // its watch of what others do has begun
	}
	n = &counter{}
	entered, ended := make(chan struct{}), make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := ledger.Do(ctx, g, charge, n.untilCancelled(entered))
		ended <- err
	}()
	<-entered
	start := time.Now()
	res, err := ledger.Force(t.Context(), other, charge, n.run)
	wantErr(t, err)
	wantCount(t, "value", res.Value, 2)
	wantErr(t, <-ended, ledger.ErrFenced, ledger.ErrUnrecorded)
	if took := time.Since(start); took != 0 {
		t.Errorf("the tool was cancelled after %v, not by the force", took)
	}
	r := stored(t, m, g, charge)
	if r.State != ledger.StateSucceeded || r.Executed != 1 || r.Starts != 2 || r.Takeovers != 0 {
		t.Errorf("%s, executed %d, starts %d, takeovers %d; want succeeded, 1, 2, 0", r.State, r.Executed, r.Starts, r.Takeovers)
	}
	if r.Log[0].Outcome != ledger.OutcomeForced || n.tokens[0] == n.tokens[1] || n.fences[0] >= n.fences[1] {
		t.Errorf("log %v, tokens %v, fences %v", r.Log, n.tokens, n.fences)
	}
	_, err = ledger.Do(t.Context(), g, charge, n.run)
	blocked(t, err, ledger.ErrDuplicate)
}
