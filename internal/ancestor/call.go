package ancestor

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
)

// A Call is a row of the ancestor's file.
type Call struct {
	ID       string // the ancestor's fingerprint
	Tool     string // module.function
	Workflow string
	Status   string // "success", "failed", "running"

	args, created, touched  string
	failure, caller         string
	result                  sql.NullString
	attempts, runs, blocked int64
}

// The ancestor's states.
const (
	success = "success"
	failed  = "failed"
	running = "running"
)

// Options say how calls become records. nil works.
type Options struct {
	// Tool returns the name that a tool has here. Defaults to its name there.
	Tool func(name string) string
	// Running makes records in doubt, blocked until they are resolved, of calls that
	// were running, instead of leaving them out. Defaults to false.
	Running bool
}

// Bounds of what a record keeps, as the guard has them.
const (
	maxStoredArgs = 64 << 10
	maxResult     = 256 << 10
	maxMessage    = 4 << 10
)

// A Carried is what a call becomes here.
type Carried struct {
	Record ledger.Record // finished or in doubt; without Fence, Nonce and Log
	Counts ledger.Tally  // what to tally beside it
}

// LeftOut says why a call can not be carried over.
type LeftOut string

func (l LeftOut) Error() string { return string(l) }

// The reasons for which calls are left out. HadKey is that of a call whose id is not that of its arguments; besides one with
// a key this can be one with a dict whose keys were no strings.
const (
	HadKey     LeftOut = "it had a key, which was not stored"
	WasRunning LeftOut = "nobody knows whether it happened"
	NoArgs     LeftOut = "its arguments are missing"
	NoName     LeftOut = "its tool or workflow is missing"
)

// Carry returns what c becomes here, as of now. Its error is a [LeftOut].
func (c *Call) Carry(h *fingerprint.Hasher, o *Options, now time.Time) (Carried, error) {
	if o == nil {
		o = &Options{}
	}
	switch {
	case c.Tool == "" || c.Workflow == "":
		return Carried{}, NoName
	case c.args == "":
		return Carried{}, NoArgs
	}
	was, err := fingerprint32(c.Tool, c.Workflow, []byte(c.args))
	switch {
	case err != nil:
		return Carried{}, LeftOut("its arguments are no JSON: " + err.Error())
	case was != c.ID:
		return Carried{}, HadKey
	}
	r := ledger.Record{ID: ledger.ID{Workflow: c.Workflow, Tool: c.Tool}}
	if o.Tool != nil {
		r.ID.Tool = o.Tool(c.Tool)
	}
	if err := r.ID.Validate(); err != nil {
		return Carried{}, LeftOut(err.Error())
	}
	raw := json.RawMessage(c.args)
	canon, _, err := h.Canon(nil, raw)
	if err != nil {
		return Carried{}, LeftOut("its arguments have no fingerprint here: " + err.Error())
	}
	r.ID.Fingerprint = h.Sum(r.ID.Workflow, r.ID.Tool, "", canon).String()
	r.ArgsDigest = h.Digest(canon).String()
	stored, err := h.Stored(nil, raw)
	if err != nil {
		return Carried{}, LeftOut("its arguments have no fingerprint here: " + err.Error())
	}
	if len(stored) <= maxStoredArgs {
		r.Args = stored
	}
	return c.state(r, o, now)
}

// state completes r, of which the identity is known, by what became of the call.
func (c *Call) state(r ledger.Record, o *Options, now time.Time) (Carried, error) {
	// The ancestor kept no time of the finish; touched is that of the last write, and so never before
	// it: a TTL that counts from there forgets no call too early.
	r.Started, r.Finished = moment(c.created, now), moment(c.touched, now)
	if r.Finished.Before(r.Started) {
		r.Finished = r.Started
	}
	r.Created = r.Started
	r.Owner = ledger.Owner{Caller: bounded(c.caller, ledger.MaxNameBytes)}
	r.Starts = max(c.runs, c.attempts-c.blocked, 1)
	r.Attempt = 1
	switch c.Status {
	case success:
		r.State, r.Succeeded = ledger.StateSucceeded, r.Finished
		r.Executed = max(c.runs, 1)
		r.Spent = int(min(r.Executed, math.MaxInt32))
		r.Result, r.ResultOmitted = c.recorded()
	case failed:
		r.State, r.Doubted, r.InDoubt = ledger.StateInDoubt, true, ledger.DoubtRetry
		r.Error = &ledger.Failure{Message: bounded(c.failure, maxMessage), Class: ledger.ClassUncertain}
		r.Executed = c.runs
	case running:
		if !o.Running {
			return Carried{}, WasRunning
		}
		r.State, r.Doubted, r.InDoubt = ledger.StateInDoubt, true, ledger.DoubtBlock
		r.Error = &ledger.Failure{Message: "it was running in the ancestor's file", Class: ledger.ClassUncertain}
		r.Executed, r.Spent = c.runs, int(min(c.runs, math.MaxInt32))
	default:
		return Carried{}, LeftOut(fmt.Sprintf("its status is %q, which the ancestor did not have", bounded(c.Status, 40)))
	}
	counts := ledger.Tally{ID: r.ID, Attempts: max(0, c.attempts-r.Starts), Blocked: c.blocked}
	return Carried{r, counts}, nil
}

// recorded is the result of a success. The ancestor wrote no result for None.
func (c *Call) recorded() (result []byte, omitted bool) {
	switch {
	case !c.result.Valid:
		return []byte("null"), false
	case len(c.result.String) > maxResult || !utf8.ValidString(c.result.String) || !json.Valid([]byte(c.result.String)):
		return nil, true
	}
	return []byte(c.result.String), false
}

// moment reads a time as Python's isoformat wrote it; now where it can not be read.
func moment(s string, now time.Time) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Microsecond)
		}
	}
	return now.UTC().Truncate(time.Microsecond)
}

// bounded returns s as valid UTF-8 of at most n bytes.
func bounded(s string, n int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
