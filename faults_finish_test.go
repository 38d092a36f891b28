package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger"
)

// An outcome that the store did not take is returned with ErrUnrecorded, kept,
// and sent until the store has it, once.
func TestOutcomeUnrecorded(t *testing.T) {
	for fault, st := range map[string]step{"refused": down, "answer lost": answerLost, "hangs": hang, "certainly not written": refuse(ledger.ErrNotWritten)} {
		for _, c := range []struct {
			what  string
			err   error // of the tool
			state ledger.State
			local error // what a local duplicate gets meanwhile; nil: the value
		}{
			{"success", nil, ledger.StateSucceeded, nil},
			{"not done", ledger.NotDone(errTool), ledger.StateFailed, ledger.ErrUnavailable},
			{"permanent", ledger.Permanent(errTool), ledger.StateFailed, ledger.ErrFailed},
			{"in doubt", errTool, ledger.StateInDoubt, ledger.ErrUnavailable},
		} {
			t.Run(fault+"/"+c.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, n := ledger.NewMemory(), &counter{}
					store := newScripted(m.Session())
					g, other := newGuard(t, store, withPolicy(ledger.Policy{Replay: true})), newGuard(t, m.Session(), nil)
					store.on("finish", st)
					store.always("finish", down)

					res, err := ledger.Do(t.Context(), g, charge, n.fails(c.err))
					wantErr(t, err, ledger.ErrUnrecorded)
					if c.err != nil {
						wantErr(t, err, errTool)
					}
					wantCount(t, "value", res.Value, 1)

					res, err = ledger.Do(t.Context(), g, charge, n.run) // answered from the outcome that is kept
					if c.local != nil {
						wantErr(t, err, c.local)
					} else if err != nil || res.Value != 1 || !res.Replayed {
						t.Errorf("local duplicate: %d, replayed %v, %v; want the value replayed", res.Value, res.Replayed, err)
					}
					if fault != "answer lost" {
						_, err = ledger.Do(t.Context(), other, charge, n.run)
						blocked(t, err, ledger.ErrInProgress)
					}
					wantCount(t, "effects", n.count(), 1)

					store.always("finish", nil)
					time.Sleep(settled)
					r := stored(t, m, g, charge)
					if executed := map[bool]int64{true: 1}[c.err == nil]; r.State != c.state || r.Executed != executed || r.Starts != 1 || len(r.Log) != 1 {
						t.Errorf("%s, executed %d, starts %d, log %v; want %s, %d, 1 and one entry", r.State, r.Executed, r.Starts, r.Log, c.state, executed)
					}
					sent := store.called("finish")
					time.Sleep(time.Hour)
					wantCount(t, "finishes once it is recorded", store.called("finish")-sent, 0)
				})
			})
		}
	}
}

// What another worker claimed or changed since can not be recorded: the caller
// is told, and nothing is sent again.
func TestOutcomeFenced(t *testing.T) {
	for _, definite := range []error{ledger.ErrFenced, ledger.ErrNotFound} {
		for _, atFirst := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				text, n := &logs{}, &counter{}
				store := newScripted(ledger.NewMemory())
				g := newGuard(t, store, &ledger.Options{Logger: text.logger()})
				if !atFirst {
					store.on("finish", down)
				}
				store.always("finish", refuse(definite))
				res, err := ledger.Do(t.Context(), g, charge, n.run)
				wantErr(t, err, ledger.ErrUnrecorded)
				if atFirst {
					wantErr(t, err, ledger.ErrFenced)
				}
				wantCount(t, "value", res.Value, 1)
				time.Sleep(settled)
				wantCount(t, "finishes", store.called("finish"), map[bool]int{true: 1, false: 2}[atFirst])
				if !strings.Contains(text.String(), "an outcome can not be recorded") {
					t.Errorf("nothing of it in the log:\n%s", text)
				}
			})
		}
	}
}

// A store may refuse a record as too large: the success counts, without its result.
func TestResultTooLargeForStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, effects := ledger.NewMemory(), 0
		g := newGuard(t, m, &ledger.Options{MaxResult: ledger.MaxRecordBytes, Default: ledger.Policy{Replay: true}})
		const size = ledger.MaxRecordBytes - 2 // with its quotes all that a record holds, without the arguments
		big := func(context.Context) (string, error) { effects++; return strings.Repeat("x", size), nil }
		res, err := ledger.Do(t.Context(), g, charge, big)
		if len(res.Value) != size || err != nil {
			t.Errorf("%d bytes, %v; want the value", len(res.Value), err)
		}
		if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || !r.ResultOmitted || r.Result != nil {
			t.Errorf("%s, omitted %v; want succeeded without the result", r.State, r.ResultOmitted)
		}
		_, err = ledger.Do(t.Context(), g, charge, big)
		blocked(t, err, ledger.ErrResultOmitted)
		wantCount(t, "effects", effects, 1)
	})
}

// So many outcomes may wait to be recorded; then no further tool runs.
func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, n := newScripted(ledger.NewMemory()), &counter{}
		g := newGuard(t, store, &ledger.Options{MaxUnrecorded: 2})
		store.always("finish", down)
		call := func(i int) error {
			_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "charge_card", Args: i}, n.run)
			return err
		}
		wantErr(t, call(1), ledger.ErrUnrecorded)
		wantErr(t, call(2), ledger.ErrUnrecorded)
		wantErr(t, call(3), ledger.ErrUnavailable)
		wantErr(t, call(1), ledger.ErrDuplicate) // what is known here needs no room
		wantCount(t, "effects", n.count(), 2)
		store.always("finish", nil)
		time.Sleep(settled)
		wantErr(t, call(3))
		wantErr(t, call(1), ledger.ErrDuplicate)
	})
}

func TestCloseReportsUnrecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		store := newScripted(m.Session())
		g, err := ledger.New(store, &ledger.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		store.always("finish", down)
		_, err = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		wantErr(t, err, ledger.ErrUnrecorded)
		id := stored(t, m, g, charge).ID
		err = g.Close(t.Context())
		wantErr(t, err, ledger.ErrUnrecorded)
		if err == nil || !strings.Contains(err.Error(), id.String()) {
			t.Errorf("%v does not name %s", err, id)
		}
		// Its worker is gone: what it did not record is found in doubt.
		wantErr(t, store.Close())
		if r, err := m.Get(t.Context(), id); err != nil || r.Status() != ledger.StateInDoubt {
			t.Errorf("%s, %v; want in doubt", r.Status(), err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a last chance is used
		store := newScripted(ledger.NewMemory())
		g, err := ledger.New(store, &ledger.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		store.on("finish", down, down, down)
		_, err = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		wantErr(t, err, ledger.ErrUnrecorded)
		wantErr(t, g.Close(t.Context()))
	})
}

// A tool that panics while the store is down: the outcome waits like any other.
func TestPanicUnrecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		store := newScripted(m.Session())
		g := newGuard(t, store, nil)
		store.on("finish", down, down)
		func() {
			defer func() { _ = recover() }()
			_, _ = ledger.Do(t.Context(), g, charge, func(context.Context) (int, error) { panic("out of paper") })
		}()
		time.Sleep(settled)
		if r := stored(t, m, g, charge); r.State != ledger.StateInDoubt || !strings.Contains(r.Error.Message, "out of paper") {
			t.Errorf("%s, %v; want in doubt, with the panic", r.State, r.Error)
		}
	})
}

// Between two tries the claim is made anew. Where that fails, the last try's
// failure is what counts, and it is recorded.
func TestNextTryCanNotBeClaimed(t *testing.T) {
	for _, c := range []struct {
		what string
		st   step
		want []error
	}{
		{"down", down, []error{ledger.ErrUnrecorded}},
		{"answer lost", answerLost, []error{ledger.ErrUnrecorded}},
		{"hangs", hang, []error{ledger.ErrUnrecorded}},
		{"certainly not written", refuse(fmt.Errorf("%w: disk full", ledger.ErrNotWritten)), nil},
	} {
		for _, fail := range []error{errTool, ledger.NotDone(errTool)} {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				store := newScripted(m.Session())
				g := newGuard(t, store, withPolicy(ledger.Policy{Backoff: func() ledger.Backoff { return backoff.NewConstantBackOff(time.Second) }}))
				store.on("claim", func(ctx context.Context, do func(context.Context) error) error { return do(ctx) }, c.st)
				_, err := ledger.Do(t.Context(), g, charge, n.fails(fail))
				wantErr(t, err, append(c.want, errTool)...)
				wantCount(t, c.what+": effects", n.count(), 1)
				time.Sleep(settled)
				want := ledger.StateInDoubt
				if fail != errTool {
					want = ledger.StateFailed
				}
				r := stored(t, m, g, charge)
				if r.State != want || r.Starts != 1 {
					t.Errorf("%s: %s, %d starts; want %s, 1", c.what, r.State, r.Starts, want)
				}
				if fail == errTool && r.Token != n.tokens[0] {
					t.Errorf("%s: the token of a call in doubt changed", c.what)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) { // forced by another while it paused
		m, n := ledger.NewMemory(), &counter{}
		g, other := newGuard(t, m.Session(), withPolicy(ledger.Policy{Backoff: func() ledger.Backoff { return backoff.NewConstantBackOff(time.Minute) }})), newGuard(t, m.Session(), nil)
		go func() {
			time.Sleep(30 * time.Second)
			_, err := ledger.Force(t.Context(), other, charge, n.run)
			wantErr(t, err)
		}()
		_, err := ledger.Do(t.Context(), g, charge, n.fails(errTool))
		wantErr(t, err, ledger.ErrFenced, errTool)
		wantCount(t, "effects", n.count(), 2)
	})
}

// Close while the outbox waits for a store that hangs.
func TestCloseWhileStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted(ledger.NewMemory())
		g, err := ledger.New(store, &ledger.Options{Logger: quiet, StoreTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		store.always("finish", hang)
		_, err = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		wantErr(t, err, ledger.ErrUnrecorded)
		start := time.Now()
		wantErr(t, g.Close(t.Context()), ledger.ErrUnrecorded)
		if waited := time.Since(start); waited > 10*time.Second {
			t.Errorf("close took %v, want at most 10s", waited)
		}
	})
}
