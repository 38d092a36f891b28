package ledger

import (
	"testing"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestCheck(t *testing.T) {
	if err := Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
