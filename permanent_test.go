package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

func TestPermanentWith(t *testing.T) {
	declined := errors.New("declined")
	for _, tt := range []struct {
		name   string
		policy ledger.Policy
		err    error
		want   string // the result recorded
	}{
		{"with Replay", ledger.Policy{Replay: true}, ledger.PermanentWith(declined, "lost"), `"lost"`},
		{"without", ledger.Policy{}, ledger.PermanentWith(declined, "lost"), ""},
		{"no result", ledger.Policy{Replay: true}, ledger.Permanent(declined), ""},
		{"no JSON form", ledger.Policy{Replay: true}, ledger.PermanentWith(declined, func() {}), ""},
		{"too large", ledger.Policy{Replay: true}, ledger.PermanentWith(declined, strings.Repeat("x", 300)), ""},
		{"NotDone is the outer mark", ledger.Policy{Replay: true}, ledger.NotDone(ledger.PermanentWith(declined, "lost")), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := ledger.NewMemory()
			g := newGuard(t, store, &ledger.Options{Default: tt.policy, MaxResult: 256})
			res, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "charge"}, func(context.Context) (int, error) { return 1, tt.err })
			if !errors.Is(err, declined) {
				t.Fatalf("got %v, want the tool's error", err)
			}
			r, err := store.Get(t.Context(), res.Record.ID)
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Result) != tt.want || r.State != ledger.StateFailed {
				t.Errorf("recorded %s with result %q, want failed with %q", r.State, r.Result, tt.want)
			}
		})
	}
	if ledger.PermanentWith(nil, 1) != nil {
		t.Error("PermanentWith(nil) is not nil")
	}
}

func TestPermanentWithSealed(t *testing.T) {
	store := ledger.NewMemory()
	g := newGuard(t, store, &ledger.Options{Default: ledger.Policy{Replay: true}, Sealer: &aesSealer{}})
	res, _ := ledger.Do(t.Context(), g, ledger.Call{Tool: "charge", Args: "a"}, func(context.Context) (int, error) {
		return 0, ledger.PermanentWith(errors.New("declined"), "lost")
	})
	r, err := store.Get(t.Context(), res.Record.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Sealed || strings.Contains(string(r.Result), "lost") || len(r.Result) == 0 {
		t.Errorf("recorded %q, sealed=%t; want it sealed", r.Result, r.Sealed)
	}
}
