package sqlitestore_test

import (
	"flag"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/bulk"
	"github.com/ledger-once/ledger/sqlitestore"
)

var (
	fillPath = flag.String("fill", "", "make a ledger at this path, for measurements by hand")
	fillSize = flag.Int("fill.records", 1_000_000, "of so many records")
)

// TestFill makes a great ledger to measure on:
//
//	go test ./sqlitestore -run TestFill -fill /tmp/million.db -timeout 30m
func TestFill(t *testing.T) {
	if *fillPath == "" {
		t.Skip("-fill names no file")
	}
	s, err := sqlitestore.Open(t.Context(), *fillPath, &sqlitestore.Options{MaxBatch: 512, CheckpointPages: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := bulk.Fill(t.Context(), s, *fillSize, start); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d records in %v", *fillSize, time.Since(start))
}
