package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger"
)

func TestParseID(t *testing.T) {
	for _, id := range []ledger.ID{
		{Workflow: "default", Tool: "charge_card", Fingerprint: "00112233445566778899aabbccddeeff"},
		{Workflow: "order/42", Tool: "a b%2F/ü", Fingerprint: "f"},
		{Workflow: "..", Tool: "."},
		{Workflow: "w\x00", Tool: "t\n", Fingerprint: "?#"},
	} {
		got, err := ledger.ParseID(id.String())
		if err != nil || got != id || strings.Count(id.String(), "/") != 2 {
			t.Errorf("%q: got %+v, %v; want %+v", id, got, err, id)
		}
		if id.IsCounter() != (id.Fingerprint == "") {
			t.Errorf("%q: counter %v", id, id.IsCounter())
		}
	}
	for _, bad := range []string{"", "a", "a/b", "a/b/c/d", "/b/c", "a//c", "%zz/b/c", "a/%ff/c", strings.Repeat("w", 257) + "/b/c", "a/b/" + strings.Repeat("f", 257)} {
		if id, err := ledger.ParseID(bad); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%q: got %+v, %v; want ErrInvalid", bad, id, err)
		}
	}
}

type explosiveError struct{}

func (explosiveError) Error() string { panic("boom") }

// What a record keeps of an error is bounded, and valid, whatever the error does.
func TestRecordedMessages(t *testing.T) {
	for what, c := range map[string]struct {
		err  error
		want func(string) bool
	}{
		"long":           {errors.New(strings.Repeat("ä", 4<<10)), func(s string) bool { return len(s) <= 4<<10 && len(s) > 4000 }},
		"not UTF-8":      {errors.New("a\xffb"), func(s string) bool { return s == "a\uFFFDb" }},
		"it panics":      {explosiveError{}, func(s string) bool { return s != "" }},
		"a typed nil":    {(*ledger.BlockedError)(nil), func(s string) bool { return s != "" }},
		"an empty one":   {errors.New(""), func(s string) bool { return s == "" }},
		"with a newline": {errors.New("a\nb"), func(s string) bool { return s == "a\nb" }},
	} {
		m := ledger.NewMemory()
		g := newGuard(t, m, nil)
		call := ledger.Call{Tool: "t", Args: what}
		_, err := ledger.Do(t.Context(), g, call, func(context.Context) (int, error) { return 0, c.err })
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		r := stored(t, m, g, call)
		if r.State != ledger.StateInDoubt || r.Error == nil || !c.want(r.Error.Message) || !utf8.ValidString(r.Error.Message) {
			t.Errorf("%s: %s, %+v", what, r.State, r.Error)
		}
	}
}

// Classify and Backoff are the user's: their panics cost no outcome.
func TestPolicyFunctionsPanic(t *testing.T) {
	for what, p := range map[string]ledger.Policy{
		"Classify": {Classify: func(error) ledger.Class { panic("boom") }},
		"Backoff":  {Backoff: func() ledger.Backoff { panic("boom") }},
		"pause":    {Backoff: func() ledger.Backoff { return explosivePause{} }},
	} {
		m := ledger.NewMemory()
		g, n := newGuard(t, m, withPolicy(p)), &counter{}
		_, err := ledger.Do(t.Context(), g, charge, n.fails(errTool))
		wantErr(t, err, errTool)
		if r := stored(t, m, g, charge); r.State != ledger.StateInDoubt || n.count() != 1 {
			t.Errorf("%s: %s after %d runs; want in doubt after 1", what, r.State, n.count())
		}
	}
}

type explosivePause struct{}

func (explosivePause) NextBackOff() time.Duration { panic("boom") }
func (explosivePause) Reset()                     {}

// After Close gave up on a tool, its outcome is sent for StoreTimeout, and no longer.
func TestOutcomeAfterClose(t *testing.T) {
	for name, steps := range map[string][]step{
		"down for a moment": {down, down, answerLost, down},
		"down":              nil,
		"closed":            {down, refuse(ledger.ErrClosed)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, n := newScripted(ledger.NewMemory()), &counter{}
				g, err := ledger.New(store, &ledger.Options{Logger: quiet})
				wantErr(t, err)
				id, err := g.ID(t.Context(), charge)
				wantErr(t, err)
				ended := make(chan error, 1)
				go func() {
					_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
						time.Sleep(time.Hour)
						return n.run(ctx)
					})
					ended <- err
				}()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				wantErr(t, g.Close(ctx), ledger.ErrRunning)
				if steps == nil {
					store.always("finish", down)
				}
				store.on("finish", steps...)
				wantErr(t, <-ended, ledger.ErrUnrecorded)
				r, err := store.Memory.Get(t.Context(), id)
				want := map[string]ledger.State{"down for a moment": ledger.StateSucceeded}[name]
				if want == "" {
					want = ledger.StateRunning
				}
				if err != nil || r.State != want {
					t.Errorf("%s, %v; want %s", r.State, err, want)
				}
			})
		})
	}
}
