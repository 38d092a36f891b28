package ledger_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger"
)

// A running call is settled by whoever takes its claim over: its tool is told, and what it returns is not recorded.
func TestResolveSteals(t *testing.T) {
	for _, c := range []struct {
		res   ledger.Resolution
		state ledger.State
		next  error // of the next call; nil: it runs
	}{
		{ledger.Resolution{As: ledger.ResolveHappened, Result: []byte(`7`)}, ledger.StateSucceeded, ledger.ErrDuplicate},
		{ledger.Resolution{As: ledger.ResolveDidNotHappen}, ledger.StateFailed, nil},
		{ledger.Resolution{As: ledger.ResolveForget, Keep: true}, ledger.StateFailed, nil},
		{ledger.Resolution{As: ledger.ResolveForget}, ledger.StateNone, nil},
	} {
		t.Run(fmt.Sprint(c.res.As, c.res.Keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory()
				worker, desk := newGuard(t, m.Session(), nil), newGuard(t, m.Session(), nil)
				ended := make(chan error, 1)
				var cause error
				go func() {
					_, err := ledger.Do(t.Context(), worker, charge, func(ctx context.Context) (int, error) {
						<-ctx.Done()
						cause = context.Cause(ctx)
						return 1, nil
					})
					ended <- err
				}()
				synctest.Wait()
				running := stored(t, m, desk, charge)
				_, err := desk.Resolve(t.Context(), running.ID, c.res)
				wantErr(t, err, ledger.ErrRunning)
				c.res.Steal, c.res.By = true, "ann"
				_, err = desk.Resolve(t.Context(), running.ID, c.res)
				wantErr(t, err)
				if err := <-ended; err == nil {
					t.Error("the worker was not told")
				}
				wantErr(t, cause, ledger.ErrFenced)
				r := stored(t, m, desk, charge)
				if r.State != c.state || c.state != ledger.StateNone && (r.Settled == nil || r.Settled.By != "ann") {
					t.Errorf("%s, settled %+v; want %s", r.State, r.Settled, c.state)
				}
				if !c.res.Keep && c.state != ledger.StateNone && (len(r.Log) != 2 || r.Log[0].Outcome != ledger.OutcomeForced || r.Log[1].Outcome != ledger.OutcomeSettled) {
					t.Errorf("the log is %+v", r.Log)
				}
				n := &counter{}
				_, err = ledger.Do(t.Context(), desk, charge, n.run)
				if c.next != nil {
					blocked(t, err, c.next)
					return
				}
				wantErr(t, err)
				if n.tokens[0] == running.Token {
					t.Error("the next run has the old token")
				}
				if r := stored(t, m, desk, charge); r.State != ledger.StateSucceeded || r.Settled != nil {
					t.Errorf("then %s, settled %+v", r.State, r.Settled)
				}
			})
		})
	}
	g := newGuard(t, ledger.NewMemory(), nil)
	_, err := g.Resolve(t.Context(), ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}, ledger.Resolution{As: ledger.ResolveHappened, Keep: true})
	wantErr(t, err, ledger.ErrInvalid)
}
