package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// standIn is the test binary in the place of the program in bench/others.
func standIn(as string) {
	var n atomic.Int64
	way := rounds.Way{Call: func(context.Context, ledger.ID) error {
		if as == "breaks" && n.Add(1) > 100 {
			return errors.New("a hundred is enough")
		}
		return nil
	}}
	switch as {
	case "--list":
		fmt.Print("works\tone that works\nbreaks\tone that breaks\nends\tone that ends\n")
	case "ends":
		os.Exit(1)
	default:
		if err := rounds.Serve(context.Background(), os.Stdin, os.Stdout, way); err != nil {
			os.Exit(1)
		}
	}
}

// Others are measured in the same rounds; those that fail are told and left out.
func TestOthers(t *testing.T) {
	o := tiny(t, "^others")
	o.others, o.othersExe = true, o.exe
	var out bytes.Buffer
	if err := measure(t.Context(), o, "", &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	r := load(t, o.out)
	for _, cell := range []string{"others/callers=1", "others/callers=3"} {
		works := r.row(cell, "one that works")
		if works == nil || works.Ratios["guarded call"].Median <= 0 || r.row(cell, "guarded call") == nil {
			t.Errorf("%s: got %v", cell, works)
		}
		for _, name := range []string{"one that breaks", "one that ends"} {
			if r.row(cell, name) != nil {
				t.Errorf("%s keeps %s", cell, name)
			}
		}
	}
	for _, want := range []string{"one that breaks: a hundred is enough: left out", "one that ends: it ended without an answer"} {
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, want) }) || !strings.Contains(out.String(), want) {
			t.Errorf("it does not tell %q, only %q", want, r.Notes)
		}
	}
	if page := summary(r) + section("others", "plots", r); !strings.Contains(page, "\n> one that ends") || !strings.Contains(page, "(plots/others.svg)") {
		t.Errorf("the page is:\n%s", page)
	}
}

// Where other libraries can not be had, the rest is measured.
func TestOthersMissing(t *testing.T) {
	o := tiny(t, "^others|^accesses|^local")
	o.others, o.othersExe = true, o.exe+"-that-is-not-there"
	if err := measure(t.Context(), o, "", io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	r := load(t, o.out)
	if r.row("local", "duplicate, local cache") == nil || r.row("others/callers=1", "guarded call") != nil {
		t.Error("got other cells than those that can be measured")
	}
	if len(r.Notes) != 3 || !strings.HasPrefix(r.Notes[0], "other libraries were not measured: ") {
		t.Errorf("got the notes %q", r.Notes)
	}
}
