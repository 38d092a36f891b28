package sqlitestore

import (
	"fmt"
	"os"
	"testing"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

// roles are what the test binary does instead of testing, started again by a
// test with ledgerRole set.
var roles = map[string]func() error{}

const roleEnv = "SQLITESTORE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leakcheck.Main(m)
}
