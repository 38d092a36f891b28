package check

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// A history that is not linearizable is drawn.
func TestPicture(t *testing.T) {
	b := newTale(t, "sqlite")
	b.success("w00.0", "retry", `1`)
	b.do("w01.0", "retry").end(trace.Line{Outcome: trace.OK, Value: `1`})
	dir := b.save()
	f, err := Run(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, f.Picture))
	if err != nil || !strings.Contains(string(page), "<html") || !strings.Contains(string(page), "do: ok") {
		t.Errorf("the picture %q has %d bytes: %v", f.Picture, len(page), err)
	}
	if n := len(f.Violations[0].Evidence); n == 0 || n > maxEvidence {
		t.Errorf("%d lines of evidence", n)
	}
}

// A check that is not carried out is no pass.
func TestTooManyOperations(t *testing.T) {
	f := good(t, "sqlite").check(&Options{MaxOps: 1})
	notChecked(t, f, "L1", "not checked: ")
	notChecked(t, f, "L2", "not checked: ")
}

func TestTimedOut(t *testing.T) {
	b := good(t, "sqlite")
	dir := b.save()
	h, err := load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(h, dir, Options{Timeout: time.Millisecond, MaxOps: 100})
	k := h.calls[id("retry")]
	k.derive(h)
	slow := porcupine.Model{
		Init: func() any { return nil },
		StepContext: func(ctx context.Context, _, _, _ any) (bool, any) {
			<-ctx.Done()
			return true, nil
		},
	}
	c.linearizable(t.Context(), "L1", k, slow, k.steps())
	notChecked(t, c.findings(), "L1", "timed out: ")
}

func notChecked(t *testing.T, f *trace.Findings, name, text string) {
	t.Helper()
	found := false
	for _, v := range f.Violations {
		found = found || v.Invariant == name && strings.HasPrefix(v.Text, text)
	}
	if !found || f.OK() {
		t.Errorf("no violation of %s says %q: %v", name, text, broken(f))
	}
	for _, c := range f.Checks {
		if c.Invariant == name && c.Unknown == 0 {
			t.Errorf("%s counts no unknown operations", name)
		}
	}
}
