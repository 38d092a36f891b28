package ledger

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	if err := Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
