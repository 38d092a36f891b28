package failpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// traces are what only a program with failpoints holds: the marker, and the names of functions that the hooks call,
// which every Go program keeps for its stack traces, stripped or not.
var traces = []string{
	"ledger-failpoint: ",
	"internal/failpoint.Hit\x00",
	"internal/failpoint.Mutant\x00",
	"internal/failpoint.Stale\x00",
	"sqlitestore.hitKinds\x00",
	"sqlitestore.(*Store).ackThenCommit\x00",
	"etcdstore.(*op).breakClaim\x00",
	"etcdstore.(*op).breakFinish\x00",
	"etcdstore.(*Store).takingOver\x00",
}

// A release holds no point and no mutant; a program that was built with the tag holds them
// all, so that the test can fail.
func TestReleaseHoldsNone(t *testing.T) {
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build with")
	}
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{
		{"release", []string{"-tags="}, false},
		{"stripped release", []string{"-tags=", "-ldflags=-s -w"}, false},
		{"tagged", []string{"-tags=failpoint"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.args) > 1 && testing.Short() {
				t.Skip("one more program to link")
			}
			exe := filepath.Join(t.TempDir(), "ledger")
			if runtime.GOOS == "windows" {
				exe += ".exe"
			}
			build := exec.CommandContext(t.Context(), gocmd, append(append([]string{"build", "-o", exe}, tt.args...), "../../cmd/ledger")...)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", build, err, out)
			}
			program, err := os.ReadFile(exe)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(program, []byte("sqlitestore.(*Store).Claim\x00")) {
				t.Error("the program holds no function that every one does: the test looks at the wrong thing")
			}
			for _, trace := range traces {
				if got := bytes.Contains(program, []byte(trace)); got != tt.want {
					t.Errorf("the program holds %q: %v, want %v", trace, got, tt.want)
				}
			}
		})
	}
}
