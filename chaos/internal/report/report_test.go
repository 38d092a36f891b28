package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// To look at the pages: go test ./chaos/internal/report -run TestSamples -samples DIR
var samples = flag.String("samples", "", "directory to leave the sample pages and texts in")

func pageOf(t *testing.T, s *trace.Summary, dir string) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, s, dir); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func textOf(t *testing.T, s *trace.Summary, width int, color bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := Text(&b, s, width, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// threeRuns are the summaries of a run that passed, one that is violated, and one that did too little.
func threeRuns(t *testing.T) map[string]*trace.Summary {
	t.Helper()
	dir := t.TempDir()
	passed, violated := filepath.Join(dir, "passed"), filepath.Join(dir, "violated")
	p := writeSample(t, passed, sampleRun{workers: 8, duration: time.Minute, gap: 60 * time.Millisecond})
	v := writeSample(t, violated, sampleRun{workers: 8, duration: time.Minute, gap: 60 * time.Millisecond, twice: true})
	all := map[string]*trace.Summary{"passed": sampleSummary(p.run, passed), "violated": sampleSummary(v.run, violated)}
	violate(all["violated"], v.killID)
	all["violated"].Findings.Violations[0].Dir = violated
	all["invalid"] = &trace.Summary{
		Schema: trace.Schema, Verdict: "invalid", Why: []string{"worker kills a minute: 0 of at least 20"}, Command: "go run ./cmd/ledger chaos --seed 2", Run: p.run,
		Floors: []trace.Floor{{Name: "worker kills a minute", Want: 20}, {Name: "guarded calls a second", Want: 200, Got: 12.5}},
	}
	all["invalid"].Run.Seed = 2
	return all
}

func TestSamples(t *testing.T) {
	for name, s := range threeRuns(t) {
		html := pageOf(t, s, s.Dir)
		plain := textOf(t, s, 100, false)
		if len(html) > 3<<20 || len(html) < 10_000 || len(plain) < 500 {
			t.Errorf("%s: page of %d bytes, text of %d", name, len(html), len(plain))
		}
		if *samples == "" {
			continue
		}
		for file, content := range map[string]string{name + ".html": html, name + ".txt": plain, name + ".ansi": textOf(t, s, 80, true)} {
			if err := os.WriteFile(filepath.Join(*samples, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
