package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/open"
)

// seed is the command ledger-seed URL [hold FILE | many N]: it makes a ledger with a call in each
// state. With hold it claims one call more, writes FILE, and lives until it is interrupted; with many it
// adds N finished calls instead.
func seed() {
	if err := seedAt(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func seedAt(ctx context.Context, url string, args []string) error {
	store, closer, err := open.Store(ctx, url)
	if err != nil {
		return err
	}
	defer closer.Close()
	if len(args) == 2 && args[0] == "many" {
		var n int
		if _, err := fmt.Sscan(args[1], &n); err != nil {
			return err
		}
		for i := range n {
			if _, err := put(ctx, store, seeded(fmt.Sprintf("many-%d", i%7), "charge_card", fmt.Sprintf("%032x", i+1), time.Hour), ledger.StateSucceeded); err != nil {
				return err
			}
		}
		return nil
	}
	if len(args) == 2 && args[0] == "hold" {
		if _, err := put(ctx, store, seeded("order-9", "charge_card", strings.Repeat("9", 32), time.Minute), ledger.StateRunning); err != nil {
			return err
		}
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt)
		if err := os.WriteFile(args[1], nil, 0o600); err != nil {
			return err
		}
		<-stop
		return nil
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		workflow, tool, digits string
		ago                    time.Duration
		state                  ledger.State
		change                 func(r *ledger.Record)
	}{
		{"order-1", "charge_card", "a1b2c3d4", 3*time.Hour + 30*time.Minute, ledger.StateSucceeded, nil},
		{"order-1", "send_email", "b1b2c3d4", 90 * time.Minute, ledger.StateFailed, func(r *ledger.Record) {
			r.Error = &ledger.Failure{Message: "the mail server said:\n\x1b[31m550 no such mailbox, and went on for so long that no line can hold all of it", Class: ledger.ClassPermanent}
		}},
		{"order-2", "charge_card", "c1b2c3d4", 40*day + time.Hour, ledger.StateInDoubt, func(r *ledger.Record) {
			r.InDoubt, r.Doubted = ledger.DoubtBlock, true
			r.Error = &ledger.Failure{Message: "504 from the bank", Class: ledger.ClassUncertain}
		}},
		{"order-2", "notify", "d1b2c3d4", 40*day + time.Hour, ledger.StateSucceeded, nil},
		{"注文-三", "請求書を送信する担当者へ", "e1b2c3d4", 50*day + time.Hour, ledger.StateSucceeded, nil},
		{"order-4", "charge_card", "f1b2c3d4", 2*time.Hour + time.Minute, ledger.StateRunning, nil}, // its worker ends now
	} {
		r := seeded(c.workflow, c.tool, c.digits+strings.Repeat("0", 24), c.ago)
		if c.change != nil {
			c.change(&r)
		}
		if _, err := put(ctx, store, r, c.state); err != nil {
			return err
		}
	}
	return store.Tally(ctx, []ledger.Tally{
		{ID: ledger.ID{Workflow: "order-1", Tool: "charge_card", Fingerprint: "a1b2c3d4" + strings.Repeat("0", 24)}, Attempts: 3, Blocked: 3},
		{ID: ledger.ID{Workflow: "order-1", Tool: "search_web"}, Attempts: 4, Executed: 4},
	})
}

func seeded(workflow, tool, fingerprint string, ago time.Duration) ledger.Record {
	at := time.Now().Add(-ago).UTC().Truncate(time.Microsecond)
	return ledger.Record{
		ID: ledger.ID{Workflow: workflow, Tool: tool, Fingerprint: fingerprint}, State: ledger.StateRunning,
		Key: "key of " + workflow, Token: "token-" + fingerprint[:8], Nonce: "nonce-" + fingerprint[:8] + workflow, Attempt: 1, Starts: 1,
		Args: []byte(`{"amount":4200,"note":"<b>"}`), Created: at, Started: at, Owner: ledger.Owner{Caller: "worker-1"},
	}
}

// put writes r as running, and then as state.
func put(ctx context.Context, store ledger.Store, r ledger.Record, state ledger.State) (ledger.Record, error) {
	claimed, won, err := store.Claim(ctx, ledger.Claim{Next: r})
	if err != nil || !won {
		return r, fmt.Errorf("claim %s: %v, %w", r.ID, won, err)
	}
	if state == ledger.StateRunning {
		return claimed, nil
	}
	done := claimed
	done.State, done.Error, done.Finished = state, r.Error, r.Started.Add(1500*time.Millisecond)
	done.Owner.Host, done.Owner.PID = "node-1", 4711
	if state == ledger.StateSucceeded {
		done.Result, done.Executed, done.Spent, done.Succeeded = []byte(`{"receipt":"ch_17"}`), 1, 1, done.Finished
	}
	done.Log = []ledger.Attempt{{Fence: done.Fence, Owner: done.Owner, Started: done.Started, Ended: done.Finished, Outcome: ledger.Outcome(state)}}
	return done, store.Finish(ctx, done)
}
