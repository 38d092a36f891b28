package report

import (
	"strings"
	"testing"
	"time"
)

// A soak of 200,000 calls gives a page of a bounded size, with a window of bounded shapes.
func TestPageOfALongSoakIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes and reads 200,000 calls")
	}
	dir := t.TempDir()
	o := sampleRun{workers: 8, duration: 10 * time.Minute, gap: 12 * time.Millisecond}
	s := writeSample(t, dir, o)
	if s.ops < 200_000 {
		t.Fatalf("the sample has %d calls, want 200,000", s.ops)
	}
	began := time.Now()
	html := pageOf(t, sampleSummary(s.run, dir), dir)
	t.Logf("%d calls: a page of %d bytes in %s", s.ops, len(html), time.Since(began).Round(time.Millisecond))
	if len(html) > 3_000_000 {
		t.Errorf("a page of %d bytes", len(html))
	}
	shapes := strings.Count(html, "<path ")
	if shapes < 500 || shapes > maxShapes+300 {
		t.Errorf("%d shapes, want some 2,000 at most", shapes)
	}
}
