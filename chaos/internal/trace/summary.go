package trace

import "time"

// Invariants are the names of what is checked, with what each says.
var Invariants = []Named{
	{"I1", "two consecutive grants of one call are separated by a finish, a deletion, the death of the owner, or a force"},
	{"I2", "at most one transition to succeeded per run"},
	{"I3", "a recorded success's bytes never change within its run"},
	{"I4", "after a grant of a greater fence nothing is written by a lesser one, and a downstream that refuses old fences accepts nothing from it"},
	{"I5", "the world sees no more effects of one run than its policy allows"},
	{"I6", "what was acknowledged is there at the end"},
	{"I7", "every call ends within its deadline with a value or a typed error, and becomes terminal once it is called again after healing"},
	{"I8", "a replayed result equals the recorded bytes"},
	{"I9", "every effect follows the grant of its fence"},
	{"I10", "succeeded implies an effect with that result, unless resolved or reconciled"},
	{"I11", "the fences of a call strictly grow, across deletion and restart"},
	{"I12", "blocked and replayed calls cause no effect"},
	{"I13", "an uncertain error stays in doubt where the policy says so, and a record's policy is never loosened"},
	{"I14", "counters equal the journal once flushed, minus what killed processes had not flushed"},
	{"L1", "the store's history is linearizable"},
	{"L2", "the calls' history is linearizable"},
}

// Named is a name with what it stands for.
type Named struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A Violation is a broken invariant, with its evidence.
type Violation struct {
	Invariant string   `json:"invariant"`
	ID        string   `json:"id,omitempty"` // of the call
	Text      string   `json:"text"`
	Evidence  []string `json:"evidence,omitempty"` // lines for people, in order; at most 40
	Dir       string   `json:"dir,omitempty"`      // of the run that shows it
}

// A Check is one invariant's result.
type Check struct {
	Invariant  string `json:"invariant"`
	Checked    int    `json:"checked"`    // how many things it looked at: 0 means that it showed nothing
	Violations int    `json:"violations"` // all of them, of which Findings.Violations keeps some
	Unknown    int    `json:"unknown"`    // of those looked at: how many could not be decided, with Note
	Note       string `json:"note,omitempty"`
}

// Findings are what the checkers say of one run.
type Findings struct {
	Checks     []Check     `json:"checks"`
	Violations []Violation `json:"violations,omitempty"` // at most 100
	// Figures of the run.
	Calls     int            `json:"calls"`    // of the guard, with a definite end
	Outcomes  map[string]int `json:"outcomes"` // of Do and Force, by Outcome
	Open      int            `json:"open"`     // operations without an end
	IDs       int            `json:"ids"`
	Grants    int            `json:"grants"`
	Takeovers int            `json:"takeovers"`
	Effects   map[string]int `json:"effects"` // by what the world did
	// Histogram counts calls by in-doubt policy and world, then by their effects in a run: Histogram["block/plain"][1].
	Histogram map[string]map[int]int `json:"histogram"`
	// Picture is porcupine's page of a history that is not linearizable, within the run's directory; "": none.
	Picture string `json:"picture,omitempty"`
}

// OK reports whether nothing was violated.
func (f *Findings) OK() bool {
	for _, c := range f.Checks {
		if c.Violations > 0 {
			return false
		}
	}
	return len(f.Violations) == 0
}

// A CellCount is one cell's counter.
type CellCount struct {
	Cell    Cell          `json:"cell"`
	Aimed   int           `json:"aimed"`  // runs of it
	Landed  int           `json:"landed"` // of those: the fault landed at its point
	Effects map[int]int   `json:"effects,omitempty"`
	OK      bool          `json:"ok"`
	Took    time.Duration `json:"took_ns,omitempty"`
	Text    string        `json:"text,omitempty"` // why it is not OK
}

// A MutantResult says whether a broken guard was caught.
type MutantResult struct {
	Name     string   `json:"name"`
	Text     string   `json:"text"`
	Want     []string `json:"want"`   // invariants, any of which has to catch it
	Caught   []string `json:"caught"` // those that did
	Runs     int      `json:"runs"`
	Control  bool     `json:"control"` // the same runs with the rule whole violate nothing
	OK       bool     `json:"ok"`
	Evidence string   `json:"evidence,omitempty"`
}

// PowerCuts are those that were played on a SQLite ledger: its files were rebuilt from what had been synced.
type PowerCuts struct {
	Acknowledged int            `json:"acknowledged"` // claims, finishes and removals of the traced run
	Cuts         map[string]int `json:"cuts"`         // by variant
	Lost         int            `json:"lost"`
}

// Summary is summary.json: all of a chaos run, which may have several layers.
type Summary struct {
	Schema    int                      `json:"schema"`
	Verdict   string                   `json:"verdict"` // "passed", "violated" or "invalid"
	Why       []string                 `json:"why,omitempty"`
	Command   string                   `json:"command"` // that repeats it
	Run       Run                      `json:"run"`
	Took      time.Duration            `json:"took_ns"`
	Explorer  any                      `json:"explorer,omitempty"`
	Faults    map[string]int           `json:"faults"`            // by kind
	Beyond    int                      `json:"beyond"`            // pauses beyond the lease
	Windows   map[string]int           `json:"windows,omitempty"` // kills and pauses by the window they landed in
	Floors    []Floor                  `json:"floors,omitempty"`
	Rate      float64                  `json:"calls_per_second,omitempty"`
	Latency   map[string]time.Duration `json:"latency_ns,omitempty"` // "p50", "p99", "max" of Do
	Findings  Findings                 `json:"findings"`
	Cells     []CellCount              `json:"cells,omitempty"`
	Mutants   []MutantResult           `json:"mutants,omitempty"`
	PowerCuts *PowerCuts               `json:"power_cuts,omitempty"`
	Schedule  string                   `json:"schedule,omitempty"` // digest of the workload's and faults' schedule: the same for the same seed and options
	Dir       string                   `json:"dir"`                // with the data
}

// A Floor is something that a run must reach to count.
type Floor struct {
	Name string  `json:"name"`
	Want float64 `json:"want"`
	Got  float64 `json:"got"`
}
