package ledger_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// The error of a result that does not decode quotes it: it stays out of the log.
func TestLogOfUndecodableResult(t *testing.T) {
	text := &logs{}
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{Logger: text.logger(), Default: ledger.Policy{Replay: true}})
	_, err := ledger.Do(t.Context(), g, charge, func(context.Context) (string, error) { return "result-secret", nil })
	wantErr(t, err)
	_, err = ledger.Do(t.Context(), g, charge, func(context.Context) (time.Time, error) { return time.Now(), nil })
	blocked(t, err, ledger.ErrResultOmitted)
	if strings.Contains(text.String(), "result-secret") {
		t.Errorf("the result is in the log:\n%s", text)
	}
}
