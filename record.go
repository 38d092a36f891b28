package ledger

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of the names in an ID and of a key, in bytes.
const (
	MaxNameBytes = 256
	MaxKeyBytes  = 1024
)

// An ID identifies one record: the fingerprint of a call within its workflow
// and tool. An ID without a fingerprint names the counter of an [Policy.Unlimited]
// tool in a workflow.
type ID struct {
	Workflow    string
	Tool        string
	Fingerprint string // 32 lower-case hex digits, or "" for a counter
}

// String returns workflow/tool/fingerprint, each segment path-escaped.
// [ParseID] is its inverse.
func (id ID) String() string {
	return url.PathEscape(id.Workflow) + "/" + url.PathEscape(id.Tool) + "/" + url.PathEscape(id.Fingerprint)
}

// IsCounter reports whether id names the counter of an Unlimited tool.
func (id ID) IsCounter() bool { return id.Fingerprint == "" }

// Compare orders IDs by workflow, tool and fingerprint, bytewise.
func (id ID) Compare(other ID) int {
	if c := strings.Compare(id.Workflow, other.Workflow); c != 0 {
		return c
	}
	if c := strings.Compare(id.Tool, other.Tool); c != 0 {
		return c
	}
	return strings.Compare(id.Fingerprint, other.Fingerprint)
}

// Validate returns an error matching [ErrInvalid] unless workflow and tool are
// 1 to [MaxNameBytes] bytes of valid UTF-8 and the fingerprint is at most that.
// Stores call it before they write.
func (id ID) Validate() error {
	if err := checkName("workflow", id.Workflow, MaxNameBytes); err != nil {
		return err
	}
	if err := checkName("tool", id.Tool, MaxNameBytes); err != nil {
		return err
	}
	if id.Fingerprint == "" {
		return nil
	}
	return checkName("fingerprint", id.Fingerprint, MaxNameBytes)
}

func checkName(what, name string, maxBytes int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the %s is empty; give it a name", ErrInvalid, what)
	case len(name) > maxBytes:
		return fmt.Errorf("%w: the %s has %d bytes; at most %d are allowed (hash a longer one)", ErrInvalid, what, len(name), maxBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the %s is not valid UTF-8: %q", ErrInvalid, what, name)
	}
	return nil
}

// ParseID parses the form that [ID.String] writes.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return ID{}, fmt.Errorf("%w: %q is not an ID; it has the form workflow/tool/fingerprint", ErrInvalid, s)
	}
	var errs [3]error
	for i := range parts {
		parts[i], errs[i] = url.PathUnescape(parts[i])
	}
	if err := errors.Join(errs[:]...); err != nil {
		return ID{}, fmt.Errorf("%w: ID %q: %w", ErrInvalid, s, err)
	}
	id := ID{parts[0], parts[1], parts[2]}
	return id, id.Validate()
}

// A Version grows with every write of a record and never returns, not even
// after the record was deleted. Records written together may share one.
// Zero means that no record is stored.
type Version int64

// A State is where a record stands.
type State string

// The states of a record. StateNone is that of a counter, and of no record.
const (
	StateNone      State = ""
	StateRunning   State = "running"
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed" // certainly not done, or failed for good: see Failure.Class
	StateInDoubt   State = "in_doubt"
)

// An Owner is the live worker that holds, or held, a claim.
type Owner struct {
	Session string // the store's name for the worker; set by the store
	Host    string // set by the store
	PID     int    // set by the store
	Caller  string // set by the guard
}

// A Failure is the recorded error of an attempt.
type Failure struct {
	Message string // bounded to 4 KiB
	Class   Class
}

// An Attempt is the log entry of one finished, lost or forced attempt.
type Attempt struct {
	Fence   Version
	Owner   Owner
	Started time.Time
	Ended   time.Time // zero if nobody saw it end
	Outcome Outcome
}

// An Outcome says how an attempt ended.
type Outcome string

// How attempts end.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeInDoubt   Outcome = "in_doubt" // the tool ended without saying whether its effect happened
	OutcomeLost      Outcome = "lost"     // its owner died; a takeover followed
	OutcomeForced    Outcome = "forced"   // its claim was stolen by Force or by another try of its own call
	OutcomeSettled   Outcome = "settled"  // resolved by a person or program, or reconciled
)

// A Settlement says who settled a call in doubt, how and why.
type Settlement struct {
	How    string // "happened", "did_not_happen", "forget"
	By     string
	Reason string
	At     time.Time
}

// MaxLog is how many attempts a record's log keeps; older ones are dropped.
const MaxLog = 8

// A Record is the durable state of one fingerprint. Times are UTC with
// microseconds. Slices are shared: treat a record as read-only.
type Record struct {
	ID      ID
	Key     string // the caller's own identity of the call, or ""
	State   State
	Version Version // of the last write; set by the store
	Fence   Version // the version that the last claim wrote
	Token   string  // idempotency token: the same over all attempts of one run; see Doubted and NotDone
	Nonce   string  // names the claim, so that a repeated write is recognised
	InDoubt DoubtPolicy
	Doubted bool // an attempt of this run ended in doubt: the token is kept until the run ends

	Attempt   int   // starts of the tool in this run
	Spent     int   // successes that count against Policy.Max; a TTL starts anew
	Starts    int64 // starts of the tool in all runs
	Executed  int64 // successes in all runs
	Takeovers int   // claims of this record whose previous owner was dead

	Owner         Owner  // of the last claim
	Args          []byte // JSON, redacted; nil if too large to store; sealed if Sealed
	ArgsDigest    string // of the arguments without ignored fields
	Result        []byte // JSON; nil if none; of a failure only PermanentWith's; sealed if Sealed
	ResultOmitted bool   // the call succeeded and its result was not recorded
	Error         *Failure
	Settled       *Settlement
	Sealed        bool // Args and Result are encrypted by Options.Sealer

	Created  time.Time // when the record was first claimed
	Started  time.Time // of the last claim
	Finished time.Time // zero while running
	// Succeeded is the finish of the last success, from which a TTL counts; zero if there was none.
	Succeeded time.Time
	Log       []Attempt // the last MaxLog attempts before the running one, oldest first

	// Filled in on reading, never written by a claim or a finish.
	Attempts int64 // calls that asked for it: Starts and those blocked, by tallies
	Blocked  int64 // calls that must not run and did not, by tallies
	Alive    bool  // running, and its owner lives
}

// Status is the state as it is shown and filtered: a record whose owner died
// while running is in doubt, although nobody has written that yet.
func (r *Record) Status() State {
	if r.State == StateRunning && !r.Alive {
		return StateInDoubt
	}
	return r.State
}

// AddTally adds what stores keep beside the record. A store calls it once for
// each record that it reads; without tallies with the zero Tally.
func (r *Record) AddTally(t Tally) {
	r.Executed += t.Executed
	r.Attempts = r.Starts + t.Attempts
	r.Blocked = t.Blocked
}
