package snap

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func TestOf(t *testing.T) {
	r := ledger.Record{
		ID: ledger.ID{Workflow: "order/42", Tool: "charge card", Fingerprint: "ab"}, State: ledger.StateFailed,
		Version: 9, Fence: 7, Token: "t", Nonce: "n", InDoubt: ledger.DoubtBlock, Doubted: true,
		Attempt: 2, Spent: 1, Starts: 3, Executed: 4, Takeovers: 5,
		Owner:  ledger.Owner{Session: "s", Host: "h", PID: 6, Caller: "c"},
		Result: []byte(`{"a":1}`), ResultOmitted: true,
		Error:    &ledger.Failure{Message: "no", Class: ledger.ClassPermanent},
		Settled:  &ledger.Settlement{How: "happened", By: "me"},
		Log:      []ledger.Attempt{{Fence: 3, Owner: ledger.Owner{Session: "old"}, Outcome: ledger.OutcomeLost}},
		Attempts: 10, Blocked: 8, Alive: true,
	}
	got := Of(&r)
	want := &trace.Snapshot{
		ID: "order%2F42/charge%20card/ab", State: "failed", Version: 9, Fence: 7, Nonce: "n", Token: "t", InDoubt: "block", Doubted: true,
		Attempt: 2, Starts: 3, Executed: 4, Spent: 1, Takeovers: 5, Session: "s", PID: 6, Caller: "c",
		Result: `{"a":1}`, Omitted: true, Class: "permanent", Settled: "happened", SettledBy: "me", Alive: true,
		Log: []trace.LogEntry{{Fence: 3, Session: "old", Outcome: "lost"}}, Attempts: 10, Blocked: 8,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A field that the snapshot gains must be filled in here as well.
	for v, i := reflect.ValueOf(*got), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not shown", v.Type().Field(i).Name)
		}
	}
}

// No record at all is the empty state, without an ID.
func TestOfNone(t *testing.T) {
	got := Of(&ledger.Record{})
	if want := (&trace.Snapshot{InDoubt: "retry"}); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
