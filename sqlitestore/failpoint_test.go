//go:build failpoint

package sqlitestore

import (
	"path/filepath"
	"testing"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// The mutant has the writer commit without a sync, and only the mutant.
func TestMutantSQLiteNormal(t *testing.T) {
	for _, tt := range []struct {
		broken bool
		want   string // https://sqlite.org/pragma.html#pragma_synchronous
	}{{false, "2"}, {true, "1"}} {
		if tt.broken {
			if err := failpoint.Enable(failpoint.MutantSQLiteNormal); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { failpoint.Disable(failpoint.MutantSQLiteNormal) })
		}
		s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
		if got, err := s.writer.c.text("PRAGMA synchronous"); err != nil || got != tt.want {
			t.Errorf("broken %v: synchronous is %q, %v; want %s", tt.broken, got, err, tt.want)
		}
	}
}
