package world

import "time"

// Bounds of a request.
const (
	maxBody = 64 << 10 // bytes, of a request or an answer
	// DefaultTimeout bounds a request of a [Client], from its start to the end of its answer.
	DefaultTimeout = 30 * time.Second
)

// What the workload may want of a request, in Request.Ask, beside its effect.
const (
	AskDeny      = "deny"      // certainly no effect by this request: [ErrDenied]
	AskPermanent = "permanent" // the same, for good: [ErrPermanent]
	AskFail      = "fail"      // the effect, and then an answer that tells nothing: an uncertain error
)

// A Request is one message to the world.
type Request struct {
	ID      string `json:"id"`   // of the call: ledger.ID.String()
	Tool    string `json:"tool"` // one of Options.Tools
	Token   string `json:"token"`
	Fence   int64  `json:"fence"`
	Attempt int    `json:"attempt,omitempty"`
	Worker  string `json:"worker"` // the process that asks, "w03.2"; the Client fills it in
	PID     int    `json:"pid"`    // its process id; the Client fills it in
	Ask     string `json:"ask,omitempty"`
	// Query is set by the world for what came by Client.Query.
	Query bool `json:"-"`
}

// answer is the body of an answer with status 200.
type answer struct {
	Happened bool   `json:"happened"`
	Result   string `json:"result"`
}
