package demo

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// transcript is the log of an agent framework: one chat message a line, in the
// OpenAI tool-call format, with the run that wrote it and the order it is about.
//
//go:embed transcript.jsonl
var transcript []byte

// truth says which calls of the transcript, counted from 1, mean the same
// action, and what goes wrong on the way. Neither the workers nor Ledger see it.
//
//go:embed truth.json
var truth []byte

// A call is one tool call of the transcript.
type call struct {
	N         int    `json:"n"` // its place in the transcript, from 1
	ID        string `json:"id"`
	Tool      string `json:"tool"`
	Arguments string `json:"arguments"` // JSON, as the model spelled it
}

// A step is one message of the agent: its calls are made together.
type step struct {
	Index    int    `json:"index"`
	Run      string `json:"-"` // steps of one run go one after the other
	Workflow string `json:"workflow"`
	Calls    []call `json:"calls"`
}

// An action is something that somebody wanted to happen once.
type action struct {
	Name     string `json:"name"`
	Tool     string `json:"tool"`
	Workflow string `json:"workflow"`
	Calls    []int  `json:"calls"`
}

// faults name calls that meet a fault, the first time they reach the service.
type faults struct {
	Kill   []int `json:"kill"`   // their effects happen, then their worker is killed
	Refuse []int `json:"refuse"` // 503, before any effect
	Lose   []int `json:"lose"`   // 504, after the effect
}

// A script is the transcript with its truth.
type script struct {
	steps   []step
	calls   int
	actions []action
	faults  faults
	meaning map[int]string // the action that a call means; reads have none
}

func loadScript() (*script, error) {
	s := &script{meaning: map[int]string{}}
	if err := s.readTranscript(transcript); err != nil {
		return nil, fmt.Errorf("demo: transcript: %w", err)
	}
	if err := s.readTruth(truth); err != nil {
		return nil, fmt.Errorf("demo: truth: %w", err)
	}
	return s, nil
}

func (s *script) readTranscript(text []byte) error {
	type toolCall struct {
		ID       string
		Type     string
		Function struct{ Name, Arguments string }
	}
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var m struct {
			Run      string
			Workflow string
			Message  struct {
				Role      string
				ToolCalls []toolCall `json:"tool_calls"`
			}
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		if m.Message.Role != "assistant" || len(m.Message.ToolCalls) == 0 {
			continue
		}
		st := step{Index: len(s.steps), Run: m.Run, Workflow: m.Workflow}
		for _, c := range m.Message.ToolCalls {
			if c.Type != "function" || c.ID == "" || c.Function.Name == "" || !json.Valid([]byte(c.Function.Arguments)) {
				return fmt.Errorf("line %d: bad tool call %+v", i+1, c)
			}
			s.calls++
			st.Calls = append(st.Calls, call{N: s.calls, ID: c.ID, Tool: c.Function.Name, Arguments: c.Function.Arguments})
		}
		s.steps = append(s.steps, st)
	}
	return nil
}

func (s *script) readTruth(text []byte) error {
	var t struct {
		Actions []action
		Faults  faults
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return err
	}
	s.actions, s.faults = t.Actions, t.Faults
	for _, a := range s.actions {
		for _, n := range a.Calls {
			if n < 1 || n > s.calls || s.meaning[n] != "" {
				return fmt.Errorf("%s: call %d is unknown, or means another action too", a.Name, n)
			}
			s.meaning[n] = a.Name
		}
	}
	return nil
}

// workflows returns how many orders the transcript is about.
func (s *script) workflows() int {
	seen := map[string]bool{}
	for _, st := range s.steps {
		seen[st.Workflow] = true
	}
	return len(seen)
}

// killStep returns the step whose worker dies.
func (s *script) killStep() step {
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if slices.Contains(s.faults.Kill, c.N) {
				return st
			}
		}
	}
	return step{Index: -1}
}

// tools returns the tools of the transcript, those with actions first.
func (s *script) tools() []string {
	var acting, reading []string
	for _, a := range s.actions {
		if !slices.Contains(acting, a.Tool) {
			acting = append(acting, a.Tool)
		}
	}
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if !slices.Contains(acting, c.Tool) && !slices.Contains(reading, c.Tool) {
				reading = append(reading, c.Tool)
			}
		}
	}
	slices.Sort(acting)
	return append(acting, reading...)
}

func (s *script) workflowOf(n int) string {
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if c.N == n {
				return st.Workflow
			}
		}
	}
	return ""
}

// toolsOf names the tools of a step, for people.
func toolsOf(s step) string {
	var names []string
	for _, c := range s.Calls {
		if !slices.Contains(names, c.Tool) {
			names = append(names, c.Tool)
		}
	}
	return strings.Join(names, " and ")
}
