// Package point names the places of a call at which a fault can strike.
package point

// A Point is a place in the way of a call. A worker that reaches one at which it was
// told to halt reports it, and goes on once it is told to, if it still lives.
type Point string

// The points, in the order of a call.
const (
	BeforeClaim     Point = "before-claim"     // decided to claim; nothing is sent
	ClaimSent       Point = "claim-sent"       // the claim's request is made, and leaves when the worker goes on
	ClaimCommitted  Point = "claim-committed"  // the store has it; its answer is lost
	Claimed         Point = "claimed"          // the answer is there; the tool has not started
	EffectSent      Point = "effect-sent"      // the message to the downstream is on its way, and lands when it is told to
	EffectDone      Point = "effect-done"      // the effect has happened; its answer is lost
	EffectAnswered  Point = "effect-answered"  // the tool has the answer
	FinishSent      Point = "finish-sent"      // the outcome's request is made, and leaves when the worker goes on
	FinishCommitted Point = "finish-committed" // the store has it; its answer is lost
	Finished        Point = "finished"         // the answer is there; the caller has not got it yet

	Renewal         Point = "renewal"          // a renewal of the lease is about to be sent, while a tool runs
	Takeover        Point = "takeover"         // decided to take over a dead worker's call; nothing is sent
	TakeoverClaimed Point = "takeover-claimed" // has taken it over; nothing is started
	ReconcileQuery  Point = "reconcile-query"  // the downstream has been asked, and has answered
	DeleteSent      Point = "delete-sent"      // a deletion's request is made, and leaves when the worker goes on
	DeleteCommitted Point = "delete-committed" // the store has it; its answer is lost
)

// All are the points in the order of a call.
var All = []Point{
	BeforeClaim, ClaimSent, ClaimCommitted, Claimed, EffectSent, EffectDone, EffectAnswered, FinishSent, FinishCommitted, Finished,
	Renewal, Takeover, TakeoverClaimed, ReconcileQuery, DeleteSent, DeleteCommitted,
}

// LosesAnswer reports whether a worker that goes on from the point is told that its request failed.
func (p Point) LosesAnswer() bool {
	return p == ClaimCommitted || p == FinishCommitted || p == DeleteCommitted
}
