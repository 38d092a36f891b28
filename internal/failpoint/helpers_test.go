//go:build failpoint

package failpoint_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// shows runs the scenario with the rule whole, in which it must not be broken, and with the rule broken, in
// which it must. So a mutant that breaks nothing fails, and a scenario that blames a whole guard too.
func shows(t *testing.T, mutant string, scenario func(t *testing.T) (broken bool)) {
	t.Helper()
	t.Run(mutant, func(t *testing.T) {
		t.Run("whole", func(t *testing.T) {
			if scenario(t) {
				t.Errorf("the rule is broken without %s", mutant)
			}
		})
		t.Run("broken", func(t *testing.T) {
			enable(t, mutant)
			if !scenario(t) {
				t.Errorf("%s breaks nothing", mutant)
			}
		})
	})
}

// hits tell which points were hit, each by a channel that is closed then.
type hits map[string]chan struct{}

func (h hits) hit(point string) bool {
	select {
	case <-h[point]:
		return true
	default:
		return false
	}
}

// wait returns when the point was hit, or ought to have been.
func (h hits) wait(point string) {
	select {
	case <-h[point]:
	case <-time.After(30 * time.Second):
	}
}

// covered arms every point whose name begins with prefix, runs use, and fails for those that were not hit.
func covered(t *testing.T, prefix string, use func(t *testing.T, h hits)) {
	t.Helper()
	h := make(hits)
	for _, p := range failpoint.Points() {
		if strings.HasPrefix(p.Name, prefix) {
			first := make(chan struct{})
			h[p.Name] = first
			arm(t, p.Name, sync.OnceFunc(func() { close(first) }))
		}
	}
	if len(h) == 0 {
		t.Fatalf("no point begins with %q", prefix)
	}
	use(t, h)
	for point := range h {
		if !h.hit(point) {
			t.Errorf("%s was not hit", point)
		}
	}
}

// newGuard returns a guard that the test closes, unless it did so itself.
func newGuard(t *testing.T, store ledger.Store, p ledger.Policy) *ledger.Guard {
	t.Helper()
	g, err := ledger.New(store, &ledger.Options{
		Default: p, StoreTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGuard(t, g) })
	return g
}

func closeGuard(t *testing.T, g *ledger.Guard) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
}

var theCall = ledger.Call{Tool: "charge", Key: "order-1"}

func theID(t *testing.T, g *ledger.Guard) ledger.ID {
	t.Helper()
	id, err := g.ID(t.Context(), theCall)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var storeID = ledger.ID{Workflow: "w", Tool: "charge", Fingerprint: strings.Repeat("0", 32)}

// running is a record that claims id.
func running(id ledger.ID, nonce string, doubt ledger.DoubtPolicy) ledger.Record {
	now := time.Now().UTC()
	return ledger.Record{
		ID: id, Key: "order-1", State: ledger.StateRunning, Nonce: nonce, Token: "token", InDoubt: doubt,
		Attempt: 1, Starts: 1, Created: now, Started: now,
	}
}

// claim claims over what stands with the version seen, and reports whether it won.
func claim(t *testing.T, s ledger.Store, c ledger.Claim) (ledger.Record, bool) {
	t.Helper()
	r, won, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Errorf("claim: %v", err)
	}
	return r, won
}

// mustClaim claims a record of which none, or the version seen, stands.
func mustClaim(t *testing.T, s ledger.Store, nonce string, seen ledger.Version, doubt ledger.DoubtPolicy) ledger.Record {
	t.Helper()
	r, won := claim(t, s, ledger.Claim{Seen: seen, Next: running(storeID, nonce, doubt)})
	if !won {
		t.Fatalf("the claim %s was not granted; %s stands", nonce, r.Nonce)
	}
	return r
}

// ended is r after a success with that result.
func ended(r ledger.Record, result string) ledger.Record {
	r.State, r.Result, r.Finished = ledger.StateSucceeded, []byte(result), time.Now().UTC()
	return r
}

// notDone is r after a failure that did nothing.
func notDone(r ledger.Record) ledger.Record {
	r.State, r.Error, r.Finished = ledger.StateFailed, &ledger.Failure{Message: "declined", Class: ledger.ClassNotDone}, time.Now().UTC()
	return r
}

func finish(t *testing.T, s ledger.Store, r ledger.Record) {
	t.Helper()
	if err := s.Finish(t.Context(), r); err != nil {
		t.Fatalf("finish: %v", err)
	}
}
