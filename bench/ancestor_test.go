package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAncestor(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	o := tiny(t, "^others")
	o.ancestor = filepath.Join("testdata", "ancestor", "ledger.py")
	o.plan.othersCallers = []int{1, 16, 17}
	if err := measure(t.Context(), o, "", io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	r := load(t, o.out)
	for _, cell := range []string{"others/callers=1", "others/callers=16"} {
		row := r.row(cell, "ledger-once, the Python ancestor")
		if row == nil || row.Value.Median <= 0 || row.P50.Median <= 0 || row.Ratios["guarded call"].Median <= 0 {
			t.Errorf("%s: got %v", cell, row)
		}
	}
	if r.row("others/callers=17", "guarded call") != nil || len(r.Notes) != 1 {
		t.Errorf("of 17 callers it says %q", r.Notes)
	}
}

// What goes wrong in the ancestor is told, and the run goes on.
func TestAncestorFails(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	const api = "import os\nclass G:\n  def __call__(self, fn, key=None, **args):\n"
	for _, tt := range []struct{ name, source, want string }{
		{"missing.py", "", "no such file"},
		{"syntax.py", "guard =", "SyntaxError"},
		{"other.py", "x = 1", "AttributeError"},
		{"raises.py", api + "    raise OSError('the disk is full')\nguard = G()", "OSError: the disk is full"},
		{"blocks.py", api + "    return None\nguard = G()", "ran the tool 0 times"},
		{"twice.py", api + "    fn(**args); return fn(**args)\nguard = G()", "ran the tool"},
		{"dies.py", "os = __import__('os')\nos._exit(3)", "ended without an answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tiny(t, "^others")
			o.ancestor = filepath.Join(t.TempDir(), tt.name)
			if tt.source != "" {
				if err := os.WriteFile(o.ancestor, []byte(tt.source), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := measure(t.Context(), o, "", io.Discard, io.Discard); err != nil {
				t.Fatal(err)
			}
			if notes := load(t, o.out).Notes; !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, tt.want) && strings.Contains(n, "ancestor") }) {
				t.Errorf("got the notes %q, want one with %q", notes, tt.want)
			}
		})
	}
}
