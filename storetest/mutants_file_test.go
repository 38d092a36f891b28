package storetest

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// TestFileMutants breaks what only several processes can show. Each subtest is
// the test that its workers run.
func TestFileMutants(t *testing.T) {
	for name, want := range map[string]string{
		"no lock between processes": "process/of 8 one wins each claim",
		"the killed live on":        "process/a killed one is taken over",
		"paused is dead":            "process/that is paused is not dead",
		"":                          "process/fences grow across them", // the control: nothing is broken
	} {
		t.Run(name, func(t *testing.T) {
			if name == "paused is dead" && runtime.GOOS != "linux" {
				t.Skip("it looks into /proc")
			}
			open := func(t testing.TB, dir string) ledger.Store { return openFile(t, dir, name) }
			if IsWorker() {
				work(t, open)
			}
			patience := 30 * time.Second
			if name == "the killed live on" {
				patience = time.Second // it waits in vain
			}
			r := runCase(t, want, open, patience)
			if r.Failed() != (name != "") {
				t.Errorf("a store with %q: the case %q fails: %t", name, want, r.Failed())
			}
			t.Logf("%s: %s", want, r.text())
		})
	}
}

// TestLeak wants a goroutine that outlives its store to be seen: by the last
// subtest of Run, in a process of its own.
func TestLeak(t *testing.T) {
	if IsWorker() {
		stop := make(chan struct{})
		run(t, func(testing.TB, string) ledger.Store {
			go func() { <-stop }()
			return ledger.NewMemory()
		}, (&Options{Patience: time.Second}).withDefaults(), []group{{"leaking", []testCase{{"open", func(e *env) { e.owner() }}}}})
		return
	}
	failsAlone(t, "found unexpected goroutines")
}

// failsAlone runs the calling test in a process of its own and wants it to fail.
func failsAlone(t *testing.T, why string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), workerDir+"=none")
	dieWithParent(cmd)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), why) {
		t.Errorf("got error %v and %s; want it to fail with %q", err, out, why)
	}
}
