// Package callview is the JSON form in which the command and the dashboard show a record.
package callview

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger"
)

// A Call is a record as programs get it: names and meanings stay.
type Call struct {
	ID          string             `json:"id"`
	Workflow    string             `json:"workflow"`
	Tool        string             `json:"tool"`
	Fingerprint string             `json:"fingerprint,omitempty"` // none: the counter of an unlimited tool
	Key         string             `json:"key,omitempty"`
	Status      string             `json:"status"` // as it is shown: a dead owner's running is in_doubt
	State       string             `json:"state"`  // as it is stored
	Alive       bool               `json:"alive,omitempty"`
	Version     int64              `json:"version,omitempty"`
	Fence       int64              `json:"fence,omitempty"`
	Token       string             `json:"token,omitempty"`
	InDoubt     ledger.DoubtPolicy `json:"in_doubt_policy"`
	Doubted     bool               `json:"doubted,omitempty"`
	Attempt     int                `json:"attempt"`
	Attempts    int64              `json:"attempts"`
	Starts      int64              `json:"starts"`
	Executed    int64              `json:"executed"`
	Blocked     int64              `json:"blocked"`
	Spent       int                `json:"spent"`
	Takeovers   int                `json:"takeovers"`
	Owner       *Owner             `json:"owner,omitempty"`
	Args        any                `json:"args,omitempty"`
	ArgsDigest  string             `json:"args_digest,omitempty"`
	Result      any                `json:"result,omitempty"`
	Omitted     bool               `json:"result_omitted,omitempty"`
	Sealed      bool               `json:"sealed,omitempty"` // args and result are encrypted: base64
	Error       *Failure           `json:"error,omitempty"`
	Settled     *Settled           `json:"settled,omitempty"`
	Created     *time.Time         `json:"created,omitempty"`
	Started     *time.Time         `json:"started,omitempty"`
	Finished    *time.Time         `json:"finished,omitempty"`
	Succeeded   *time.Time         `json:"succeeded,omitempty"`
	Log         []Attempt          `json:"log,omitempty"`
}

// An Owner is who holds or held a claim.
type Owner struct {
	Session string `json:"session,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Caller  string `json:"caller,omitempty"`
}

// A Failure is why an attempt did not succeed.
type Failure struct {
	Message string       `json:"message"`
	Class   ledger.Class `json:"class"`
}

// Settled says who settled a call that was in doubt, and why.
type Settled struct {
	How    string     `json:"how"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     *time.Time `json:"at,omitempty"`
}

// An Attempt is one of those that the record remembers.
type Attempt struct {
	Fence   int64      `json:"fence"`
	Owner   *Owner     `json:"owner,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"` // none: nobody saw it end
	Outcome string     `json:"outcome"`
}

// Of returns the form of r. Arguments and results stay as they are stored: redacted, or sealed.
func Of(r *ledger.Record) *Call {
	o := &Call{
		ID: r.ID.String(), Workflow: r.ID.Workflow, Tool: r.ID.Tool, Fingerprint: r.ID.Fingerprint, Key: r.Key,
		Status: StateName(r.Status()), State: StateName(r.State), Alive: r.Alive,
		Version: int64(r.Version), Fence: int64(r.Fence), Token: r.Token, InDoubt: r.InDoubt, Doubted: r.Doubted,
		Attempt: r.Attempt, Attempts: r.Attempts, Starts: r.Starts, Executed: r.Executed, Blocked: r.Blocked, Spent: r.Spent, Takeovers: r.Takeovers,
		Owner: ownerOf(r.Owner), Args: jsonOf(r.Args, r.Sealed), ArgsDigest: r.ArgsDigest,
		Result: jsonOf(r.Result, r.Sealed), Omitted: r.ResultOmitted, Sealed: r.Sealed, Error: (*Failure)(r.Error),
		Created: TimeOf(r.Created), Started: TimeOf(r.Started), Finished: TimeOf(r.Finished), Succeeded: TimeOf(r.Succeeded),
	}
	if s := r.Settled; s != nil {
		o.Settled = &Settled{s.How, s.By, s.Reason, TimeOf(s.At)}
	}
	for _, a := range r.Log {
		o.Log = append(o.Log, Attempt{int64(a.Fence), ownerOf(a.Owner), TimeOf(a.Started), TimeOf(a.Ended), string(a.Outcome)})
	}
	return o
}

// StateName names a state as --status takes it.
func StateName(s ledger.State) string {
	if s == ledger.StateNone {
		return "unlimited"
	}
	return string(s)
}

func ownerOf(o ledger.Owner) *Owner {
	if o == (ledger.Owner{}) {
		return nil
	}
	return &Owner{o.Session, o.Host, o.PID, o.Caller}
}

// TimeOf is t in UTC, nil for none.
func TimeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// jsonOf returns stored JSON as it is, and what is none as a string, or as base64.
func jsonOf(b []byte, sealed bool) any {
	switch {
	case b == nil:
		return nil
	case sealed || !utf8.Valid(b):
		return b
	case json.Valid(b):
		return json.RawMessage(b)
	}
	return string(b)
}
