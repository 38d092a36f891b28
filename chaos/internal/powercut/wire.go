package powercut

import (
	"encoding/json"
	"fmt"
)

// Role names the worker to a program that takes roles.
const Role = "powercut"

// A spec tells the worker what to do. It travels as JSON.
type spec struct {
	Path       string `json:"path"` // of the ledger
	Mutant     string `json:"mutant,omitempty"`
	Seed       uint64 `json:"seed"`
	Ops        int    `json:"ops"`
	Callers    int    `json:"callers"`
	Checkpoint int    `json:"checkpoint"` // sqlitestore.Options.CheckpointPages
}

// What a say is about.
const (
	opClaim  = "claim"
	opFinish = "finish"
	opRemove = "remove" // a deletion, or a claim that was given back
	opEnd    = "end"    // all was done
)

// A say is a line of the worker: one before each write to its store (Asked), and one once it was acknowledged.
type say struct {
	Op     string `json:"op"`
	Asked  bool   `json:"asked,omitempty"`
	ID     string `json:"id,omitempty"`
	Nonce  string `json:"nonce,omitempty"` // of the claim
	At     int64  `json:"at,omitempty"`    // the fence; of a deletion, the version that is deleted
	State  string `json:"state,omitempty"` // of a finish, what was recorded, with the result
	Result string `json:"result,omitempty"`
}

func (s say) String() string {
	switch s.Op {
	case opFinish:
		return fmt.Sprintf("finish of %s as %s, fence %d", s.ID, s.State, s.At)
	case opRemove:
		return fmt.Sprintf("removal of %s at version %d", s.ID, s.At)
	}
	return fmt.Sprintf("claim of %s, fence %d", s.ID, s.At)
}

// after reports whether the write came after that of t, of the same call: versions grow, a finish
// follows the claim of its fence, and what a deletion deletes is newer than both.
func (s say) after(t say) bool {
	order := map[string]int{opClaim: 0, opFinish: 1, opRemove: 2}
	if s.At != t.At {
		return s.At > t.At
	}
	return order[s.Op] > order[t.Op]
}

// A heard is a say with the line of the trace in which it began to be written.
type heard struct {
	say
	line int
}

func hear(lines []line) ([]heard, error) {
	var all []heard
	for _, l := range lines {
		var s say
		if err := json.Unmarshal([]byte(l.text), &s); err != nil {
			return nil, fmt.Errorf("the worker said %q: %w", l.text, err)
		}
		all = append(all, heard{s, l.start})
	}
	if len(all) == 0 || all[len(all)-1].Op != opEnd {
		return nil, fmt.Errorf("the worker did not come to its end")
	}
	return all, nil
}
