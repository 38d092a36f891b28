package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const advice = "the man pages in docs/man are out of date; run: go generate ./cmd/ledger"

// The pages in docs/man are those of the commands as they are.
func TestPagesAreUpToDate(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join("..", "..", "docs", "man")
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	want, got := names(t, dir), names(t, kept)
	if !slices.Equal(got, want) || !slices.Contains(want, "ledger-show.1") {
		t.Fatalf("%s\nthere are %v, want %v", advice, got, want)
	}
	for _, name := range want {
		a, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(kept, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs: %s", name, advice)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
