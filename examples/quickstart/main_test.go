package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestChargesOnceOverTwoRuns(t *testing.T) {
	db := filepath.Join(t.TempDir(), "ledger.db")
	for _, want := range []string{
		"  charging cus_42 9900 cents\ntry 1: receipt r-1\ntry 2: receipt r-1\ntry 3: receipt r-1\nasked 3 times, charged 1 time\n",
		"try 1: receipt r-1\ntry 2: receipt r-1\ntry 3: receipt r-1\nasked 6 times, charged 1 time\n", // the process came back
	} {
		var out strings.Builder
		if err := run(t.Context(), &out, db); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}
