package ledger_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// Close does not wait for ever for calls that only wait themselves: for the
// next try, for a run of another worker, or for a local one.
func TestCloseEndsPauses(t *testing.T) {
	for _, c := range []struct {
		what   string
		policy ledger.Policy
		remote bool // another worker runs the call
	}{
		{"between tries", ledger.Policy{Backoff: func() ledger.Backoff { return hourly{} }}, false},
		{"waiting for another worker", ledger.Policy{Wait: 9 * time.Hour}, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				other := newGuard(t, m.Session(), nil)
				if c.remote {
					go func() {
						_, err := ledger.Do(t.Context(), other, charge, func(ctx context.Context) (int, error) {
							time.Sleep(5 * time.Hour)
							return n.run(ctx)
						})
						wantErr(t, err)
					}()
					synctest.Wait()
				}
				g, err := ledger.New(m.Session(), &ledger.Options{Logger: quiet, Default: c.policy})
				wantErr(t, err)
				ended := make(chan error, 1)
				go func() {
					_, err := ledger.Do(t.Context(), g, charge, n.fails(notDone))
					ended <- err
				}()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				wantErr(t, g.Close(ctx))
				if took := time.Since(start); took > time.Second {
					t.Errorf("close took %v", took)
				}
				<-ended
				if r := stored(t, m, other, charge); !c.remote && r.State != ledger.StateFailed {
					t.Errorf("state %s, want failed", r.State)
				}
				time.Sleep(10 * time.Hour)
			})
		})
	}
}

type hourly struct{}

func (hourly) NextBackOff() time.Duration { return time.Hour }
func (hourly) Reset()                     {}
