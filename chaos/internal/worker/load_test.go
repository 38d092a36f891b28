package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

var tools = []trace.Tool{{Name: "a"}, {Name: "b"}, {Name: "c"}}

// The n-th operation of a caller is a matter of the seed alone.
func TestStepsRepeat(t *testing.T) {
	digest := func(seed uint64) string {
		h := sha256.New()
		Digest(h, seed, 3, 4, 200, tools)
		return hex.EncodeToString(h.Sum(nil))
	}
	one := digest(1)
	if again := digest(1); again != one {
		t.Error("the same seed gives other operations")
	}
	if digest(2) == one {
		t.Error("another seed gives the same operations")
	}
}

// The workload has all kinds of operations, and only keys that say so have any number of runs.
func TestStepsMix(t *testing.T) {
	kinds, keys, asks := map[trace.Kind]int{}, map[string]int{}, map[string]int{}
	own := map[string]int{}
	for w := range 4 {
		for c := range 4 {
			for n := range uint64(500) {
				s := StepOf(7, w, c, n, tools)
				name, _, _ := strings.Cut(s.Key, "-")
				kinds[s.Kind]++
				keys[name]++
				asks[s.Ask]++
				if s.Kind != trace.Do && name != "free" {
					t.Errorf("%+v would start another run of a key that has one", s)
				}
				if name == "own" {
					own[s.Key]++
				}
			}
		}
	}
	for _, k := range []trace.Kind{trace.Do, trace.Force, trace.Forget, trace.Resolve} {
		if kinds[k] == 0 {
			t.Errorf("there is no %s", k)
		}
	}
	for _, name := range []string{"own", "slot", "hot", "free"} {
		if keys[name] == 0 {
			t.Errorf("there is no key %s", name)
		}
	}
	for _, ask := range []string{"", "deny", "permanent", "fail"} {
		if asks[ask] == 0 {
			t.Errorf("nobody asks for %q", ask)
		}
	}
	for key, n := range own {
		if n > 1 {
			t.Errorf("%s belongs to %d callers", key, n)
		}
	}
}
