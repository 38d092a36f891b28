package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger"
)

// replayTwice runs a tool with this value, then asks again here and from another worker.
func replayTwice[T any](t *testing.T, what string, value T) {
	t.Helper()
	m := ledger.NewMemory()
	policy := withPolicy(ledger.Policy{Replay: true})
	g := newGuard(t, m.Session(), policy)
	for i, g := range []*ledger.Guard{g, g, newGuard(t, m.Session(), policy)} {
		res, err := ledger.Do(t.Context(), g, charge, func(context.Context) (T, error) { return value, nil })
		if err != nil || !reflect.DeepEqual(res.Value, value) || res.Replayed != (i > 0) {
			t.Errorf("%s, call %d: got %#v, replayed %v, %v; want %#v", what, i, res.Value, res.Replayed, err, value)
		}
	}
}

func TestReplay(t *testing.T) {
	type receipt struct {
		ID    string
		Lines []string `json:"lines,omitempty"`
	}
	replayTwice(t, "null", (*receipt)(nil))
	replayTwice(t, "zero", 0)
	replayTwice(t, "false", false)
	replayTwice(t, "empty string", "")
	replayTwice(t, "empty slice", []int{})
	replayTwice(t, "nil slice", []int(nil))
	replayTwice(t, "struct", receipt{"r-1", []string{"a", "b"}})
	replayTwice(t, "pointer", &receipt{ID: "r-1"})
	replayTwice(t, "empty struct", struct{}{})
	replayTwice(t, "nil any", any(nil))
	replayTwice(t, "bytes", []byte{0, 255, '"'})
	replayTwice(t, "raw", json.RawMessage(`{ "b":1, "a":1.50, "b":2 }`)) // its very bytes
	replayTwice(t, "raw null", json.RawMessage(`null`))

	// nil and empty raw messages are no JSON; they replay as null.
	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Replay: true}))
	for i, raw := range []json.RawMessage{nil, {}} {
		call := ledger.Call{Tool: "t", Args: i}
		run := func(context.Context) (json.RawMessage, error) { return raw, nil }
		_, err := ledger.Do(t.Context(), g, call, run)
		wantErr(t, err)
		res, err := ledger.Do(t.Context(), g, call, run)
		if err != nil || string(res.Value) != "null" || !res.Replayed {
			t.Errorf("%#v replays as %q, %v", raw, res.Value, err)
		}
	}
	call := ledger.Call{Tool: "nothing"}
	for i := range 2 {
		res, err := ledger.DoErr(t.Context(), g, call, func(context.Context) error { return nil })
		if err != nil || res.Replayed != (i > 0) {
			t.Errorf("DoErr: replayed %v, %v", res.Replayed, err)
		}
	}
}

// A caller can not reach into what is remembered through the bytes it gets.
func TestReplayIsACopy(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Replay: true}))
	own := json.RawMessage(`"abc"`)
	run := func(context.Context) (json.RawMessage, error) { return own, nil }
	for range 3 {
		res, err := ledger.Do(t.Context(), g, charge, run)
		if err != nil || string(res.Value) != `"abc"` {
			t.Fatalf("got %s, %v", res.Value, err)
		}
		res.Value[1] = 'X'
		own = json.RawMessage(`"abc"`)
	}
}

type lopsided struct{ n int }

func (l lopsided) MarshalJSON() ([]byte, error) { return []byte(`"odd"`), nil }
func (l *lopsided) UnmarshalJSON([]byte) error  { return errors.New("one way only") }

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("boom") }

// omitted runs a tool whose result can not be recorded.
func omitted[T any](t *testing.T, what string, value T) {
	t.Helper()
	m, effects := ledger.NewMemory(), 0
	g := newGuard(t, m, &ledger.Options{MaxResult: 100, Default: ledger.Policy{Replay: true}})
	run := func(context.Context) (T, error) { effects++; return value, nil }
	res, err := ledger.Do(t.Context(), g, charge, run)
	if err != nil || reflect.ValueOf(&res.Value).Elem().IsZero() != reflect.ValueOf(&value).Elem().IsZero() || !res.Record.ResultOmitted {
		t.Errorf("%s: got %v, %v, omitted %v; want the value", what, res.Value, err, res.Record.ResultOmitted)
	}
	_, err = ledger.Do(t.Context(), g, charge, run)
	blocked(t, err, ledger.ErrResultOmitted)
	if r := stored(t, m, g, charge); effects != 1 || r.State != ledger.StateSucceeded || !r.ResultOmitted {
		t.Errorf("%s: %d effects, %s, omitted %v", what, effects, r.State, r.ResultOmitted)
	}
}

func TestResultOmitted(t *testing.T) {
	omitted(t, "a channel", make(chan int))
	omitted(t, "a function", func() {})
	omitted(t, "encodes, does not decode", lopsided{1})
	omitted(t, "an encoder that panics", explosive{})
	omitted(t, "an interface", errors.ErrUnsupported)
	omitted(t, "101 bytes", strings.Repeat("x", 99))
	omitted(t, "101 raw bytes", json.RawMessage(`"`+strings.Repeat("x", 99)+`"`))
	omitted(t, "not JSON", json.RawMessage(`{"a":`))
	replayTwice(t, "256 KiB", strings.Repeat("x", 256<<10-2))

	g := newGuard(t, ledger.NewMemory(), &ledger.Options{MaxResult: 100, Default: ledger.Policy{Replay: true}})
	for i := range 2 {
		res, err := ledger.Do(t.Context(), g, charge, func(context.Context) (string, error) { return strings.Repeat("x", 98), nil })
		if err != nil || len(res.Value) != 98 || res.Replayed != (i > 0) {
			t.Errorf("exactly the limit: %d, %v", len(res.Value), err)
		}
	}
	// What another version recorded may not decode any more.
	_, err := ledger.Do(t.Context(), g, charge, (&counter{}).run)
	blocked(t, err, ledger.ErrResultOmitted)
}

// Max holds under a race, counts successes, and is not reset by failures.
func TestMaxRace(t *testing.T) {
	m := ledger.NewMemory()
	var mu sync.Mutex
	ran, done := 0, 0
	var all sync.WaitGroup
	for range 4 {
		g := newGuard(t, m.Session(), withPolicy(ledger.Policy{Max: 3}))
		for range 4 {
			all.Go(func() {
				for range 30 {
					_, _ = ledger.DoErr(t.Context(), g, charge, func(context.Context) error {
						mu.Lock()
						defer mu.Unlock()
						if ran++; ran%2 == 1 {
							return ledger.NotDone(errTool)
						}
						done++
						return nil
					})
				}
			})
		}
	}
	all.Wait()
	wantCount(t, "successes", done, 3)
	wantCount(t, "runs", ran, 6)
}

// The TTL counts from the finish, for successes and permanent failures; each
// run after it may succeed Max times again.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, watched := range []bool{true, false} {
			var m ledger.Store = ledger.NewMemory()
			if !watched {
				m = unwatched{m}
			}
			g, n := newGuard(t, m, withPolicy(ledger.Policy{TTL: time.Hour, Max: 2})), &counter{}
			for round := range 3 {
				for range 4 {
					_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
						time.Sleep(time.Minute)
						return n.run(ctx)
					})
					if err != nil {
						blocked(t, err, ledger.ErrDuplicate)
					}
				}
				wantCount(t, "effects", n.count(), 2*(round+1))
				time.Sleep(time.Hour - time.Microsecond)
				_, err := ledger.Do(t.Context(), g, charge, n.run)
				blocked(t, err, ledger.ErrDuplicate)
				time.Sleep(time.Microsecond)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g, n := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{TTL: time.Hour})), &counter{}
		_, err := ledger.Do(t.Context(), g, charge, n.fails(ledger.Permanent(errTool)))
		wantErr(t, err, errTool)
		time.Sleep(time.Hour - time.Microsecond)
		_, err = ledger.Do(t.Context(), g, charge, n.run)
		blocked(t, err, ledger.ErrFailed)
		time.Sleep(time.Microsecond)
		_, err = ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err)
	})
}

// Timeout cancels the tool's context; the claim stays until the tool returns.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		g, other := newGuard(t, m.Session(), withPolicy(ledger.Policy{Timeout: time.Second})), newGuard(t, m.Session(), nil)
		start := time.Now()
		_, err := ledger.DoErr(t.Context(), g, charge, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Hour) // it takes its time
			_, err := ledger.DoErr(t.Context(), other, charge, func(context.Context) error { t.Error("ran beside it"); return nil })
			blocked(t, err, ledger.ErrInProgress)
			return ctx.Err()
		})
		wantErr(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took != time.Hour+time.Second {
			t.Errorf("took %v", took)
		}
		if r := stored(t, m, g, charge); r.State != ledger.StateInDoubt {
			t.Errorf("state %s, want in doubt", r.State)
		}

		unlimited := newGuard(t, m.Session(), withPolicy(ledger.Policy{Timeout: time.Second, Unlimited: true}))
		start = time.Now()
		_, err = ledger.DoErr(t.Context(), unlimited, charge, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("unlimited: %v after %v", err, took)
		}
	})
}

// What an error means, and what becomes of the call.
func TestClasses(t *testing.T) {
	classify := func(err error) ledger.Class {
		switch err.Error() {
		case "409":
			return ledger.ClassNotDone
		case "402":
			return ledger.ClassPermanent
		case "odd":
			return 77
		}
		return ledger.ClassUncertain
	}
	for _, c := range []struct {
		err   error
		state ledger.State
		class ledger.Class
	}{
		{errTool, ledger.StateInDoubt, ledger.ClassUncertain},
		{ledger.NotDone(errTool), ledger.StateFailed, ledger.ClassNotDone},
		{ledger.Permanent(errTool), ledger.StateFailed, ledger.ClassPermanent},
		{errors.Join(errors.New("charge"), ledger.NotDone(errTool)), ledger.StateFailed, ledger.ClassNotDone},
		{ledger.Permanent(ledger.NotDone(errTool)), ledger.StateFailed, ledger.ClassPermanent}, // the outer mark is the later word
		{backoff.Permanent(errTool), ledger.StateFailed, ledger.ClassPermanent},
		{backoff.Permanent(ledger.NotDone(errTool)), ledger.StateFailed, ledger.ClassNotDone},
		{errors.New("409"), ledger.StateFailed, ledger.ClassNotDone},
		{errors.New("402"), ledger.StateFailed, ledger.ClassPermanent},
		{errors.New("odd"), ledger.StateInDoubt, ledger.ClassUncertain},
		{ledger.NotDone(errors.New("402")), ledger.StateFailed, ledger.ClassNotDone}, // marks win over Classify
		{context.DeadlineExceeded, ledger.StateInDoubt, ledger.ClassUncertain},
	} {
		m, n := ledger.NewMemory(), &counter{}
		g := newGuard(t, m, withPolicy(ledger.Policy{Classify: classify}))
		res, err := ledger.Do(t.Context(), g, charge, n.fails(c.err))
		if err != c.err || res.Value != 1 {
			t.Errorf("%v: got %d, %v; want what the tool returned", c.err, res.Value, err)
		}
		r := stored(t, m, g, charge)
		if r.State != c.state || r.Error.Class != c.class || r.Error.Message != c.err.Error() {
			t.Errorf("%v: %s, %+v; want %s, %v", c.err, r.State, r.Error, c.state, c.class)
		}
		_, err = ledger.Do(t.Context(), g, charge, n.run)
		if c.class == ledger.ClassPermanent {
			b := blocked(t, err, ledger.ErrFailed)
			if !strings.Contains(b.Error(), c.err.Error()) {
				t.Errorf("%v does not tell the recorded error", b)
			}
			continue
		}
		wantErr(t, err)
		if same := n.tokens[0] == n.tokens[1]; same != (c.class == ledger.ClassUncertain) {
			t.Errorf("%v: the next call has the same token: %v", c.err, same)
		}
	}
	if ledger.NotDone(nil) != nil || ledger.Permanent(nil) != nil {
		t.Error("nil is no error")
	}
}
