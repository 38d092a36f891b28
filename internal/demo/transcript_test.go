package demo

import (
	"slices"
	"strings"
	"testing"
)

func script0(t *testing.T) *script {
	t.Helper()
	s, err := loadScript()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *script) call(n int) call {
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if c.N == n {
				return c
			}
		}
	}
	return call{}
}

func TestTruthFitsTranscript(t *testing.T) {
	s := script0(t)
	if s.calls != 41 || len(s.actions) != 20 || s.workflows() != 9 {
		t.Errorf("got %d calls, %d actions, %d workflows; want 41, 20, 9", s.calls, len(s.actions), s.workflows())
	}
	var acting []string
	for _, a := range s.actions {
		acting = append(acting, a.Tool)
		if len(a.Calls) == 0 || !slices.IsSorted(a.Calls) {
			t.Errorf("%s: calls %v", a.Name, a.Calls)
		}
		for _, n := range a.Calls {
			if c := s.call(n); c.Tool != a.Tool || s.workflowOf(n) != a.Workflow {
				t.Errorf("%s: call %d is of %s in %s", a.Name, n, c.Tool, s.workflowOf(n))
			}
		}
	}
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if slices.Contains(acting, c.Tool) != (s.meaning[c.N] != "") {
				t.Errorf("call %d of %s means %q", c.N, c.Tool, s.meaning[c.N])
			}
		}
	}
}

func TestFaultsFitTranscript(t *testing.T) {
	s := script0(t)
	var killed []int
	for _, c := range s.killStep().Calls {
		killed = append(killed, c.N)
	}
	if len(killed) == 0 || !slices.Equal(killed, s.faults.Kill) {
		t.Errorf("the worker dies in calls %v, but its step has %v: those between would be delivered again too", s.faults.Kill, killed)
	}
	for _, n := range slices.Concat(s.faults.Kill, s.faults.Refuse, s.faults.Lose) {
		first := slices.ContainsFunc(s.actions, func(a action) bool { return a.Calls[0] == n })
		if !first {
			t.Errorf("call %d is not the first of its action: with Ledger it would not reach the service", n)
		}
	}
}

// The transcript must keep what makes it worth running.
func TestTranscriptHasWhatAgentsDo(t *testing.T) {
	s := script0(t)
	text := string(transcript)
	for _, want := range []string{"99.9900000001", "1e2", "42.50", "49.51", `"agent-5-restarted"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is gone from the transcript", want)
		}
	}
	ids := map[string]int{}
	respelled, together := 0, 0
	for _, st := range s.steps {
		seen := map[string]bool{}
		for _, c := range st.Calls {
			ids[c.ID]++
			if m := s.meaning[c.N]; m != "" && seen[m] {
				together++
			}
			seen[s.meaning[c.N]] = true
		}
	}
	for _, a := range s.actions {
		for _, n := range a.Calls[1:] {
			if s.call(n).Arguments != s.call(a.Calls[0]).Arguments {
				respelled++
			}
		}
	}
	repeated := 0
	for _, n := range ids {
		if n > 1 {
			repeated++
		}
	}
	if respelled < 8 || together < 1 || repeated < 1 {
		t.Errorf("got %d retries spelled otherwise, %d duplicates in one message, %d ids sent twice; want 8, 1, 1 at least", respelled, together, repeated)
	}
}

func TestBadScripts(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":      `{"run":`,
		"no type":       `{"run":"a","message":{"role":"assistant","tool_calls":[{"id":"x","function":{"name":"t","arguments":"{}"}}]}}`,
		"bad arguments": `{"run":"a","message":{"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"t","arguments":"{"}}]}}`,
	} {
		if err := (&script{}).readTranscript([]byte(text)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: got error %v, want one that names line 1", name, err)
		}
	}
	for name, text := range map[string]string{
		"not JSON":      `{`,
		"unknown field": `{"action":[]}`,
		"unknown call":  `{"actions":[{"name":"a","calls":[2]}]}`,
		"two meanings":  `{"actions":[{"name":"a","calls":[1]},{"name":"b","calls":[1]}]}`,
	} {
		if err := (&script{calls: 1, meaning: map[int]string{}}).readTruth([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
