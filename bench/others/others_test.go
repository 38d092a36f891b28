package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// The tool of a call runs once, whoever else makes the call, and also if it comes again after a restart; or the library is
// listed as one that runs a finished call again.
func TestOnce(t *testing.T) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "once.db")
			var effects atomic.Int64
			charge := func(_ context.Context, in rounds.ChargeArgs) (rounds.Receipt, error) {
				effects.Add(1)
				return rounds.Receipt{ID: in.ID, Status: "succeeded"}, nil
			}
			id, callers, want := rounds.RandomID(), 4, int64(1)
			if l.again {
				callers, want = 1, 2
			}
			for range 2 {
				way, err := l.open(t.Context(), path, charge)
				if err != nil {
					t.Fatal(err)
				}
				end := func() error { return nil }
				if way.Begin != nil {
					if end, err = way.Begin(); err != nil {
						t.Fatal(err)
					}
				}
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						if err := way.Call(t.Context(), id); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if err := errors.Join(end(), way.Close()); err != nil {
					t.Error(err)
				}
			}
			if n := effects.Load(); n != want {
				t.Errorf("one call had %d effects, want %d", n, want)
			}
		})
	}
}

func TestDurability(t *testing.T) {
	db, err := openFull(filepath.Join(t.TempDir(), "full.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var mode string
	var synchronous int
	if err := errors.Join(db.QueryRow("PRAGMA journal_mode").Scan(&mode), db.QueryRow("PRAGMA synchronous").Scan(&synchronous)); err != nil {
		t.Fatal(err)
	}
	if mode != "wal" || synchronous != 2 {
		t.Errorf("got journal_mode %s and synchronous %d, want wal and 2, which is FULL", mode, synchronous)
	}
}

func TestServe(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--list"}, nil, &out); err != nil {
		t.Fatal(err)
	}
	for _, l := range libraries {
		if !strings.Contains(out.String(), l.name+"\t"+l.title) {
			t.Errorf("the list lacks %s:\n%s", l.name, &out)
		}
		var answers bytes.Buffer
		if err := run(t.Context(), []string{l.name, filepath.Join(t.TempDir(), "served.db")}, strings.NewReader("measure 2 20ms\n"), &answers); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
		if lines := strings.Count(answers.String(), "\n"); lines != 2 {
			t.Errorf("%s answered with %d lines, want 2:\n%s", l.name, lines, &answers)
		}
	}
	if err := run(t.Context(), []string{"nothing", "nowhere"}, nil, &out); err == nil {
		t.Error("a library that there is not was opened")
	}
}
