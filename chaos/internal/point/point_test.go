package point

import (
	"os"
	"strings"
	"testing"
)

// The page that says what becomes of a call at each place where a worker can die has all of them.
func TestFailureModelHasThePoints(t *testing.T) {
	page, err := os.ReadFile("../../../docs/failure-model.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range All {
		if !strings.Contains(string(page), "`"+string(p)+"`") {
			t.Errorf("docs/failure-model.md does not say what happens at %s", p)
		}
	}
	if len(All) < 10 {
		t.Errorf("there are only %d points", len(All))
	}
}
