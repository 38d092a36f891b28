// Package explore searches every interleaving of a small model of the ledger:
// three workers and a person, one call, one store, one world. It is the layer
// of package chaos that can show an absence: where a search ends without a violation, no order of
// these steps, with these budgets of faults, breaks an invariant.
//
// What a worker decides and writes is asked of the pure functions of state.go, the
// same that a guard calls (ledger.StateMachine). What must hold is judged by an
// oracle that shares no code with them and keeps its own account of runs,
// grants and doubts (oracle.go). Invariants have the names of chaos/README.md.
//
// # What is modelled
//
// A worker claims first as if there were no record, decides on what a refusal
// showed it, and claims again: between the two anything can happen. A claim, a finish, a
// giving back, a request for the effect and a query each land in a step of their own, may lose their answer, may
// be held up and land late or never, and may outlive their sender. Workers are killed and start again, are
// paused beyond their lease, are cut off from the store while they run, notice or do not notice it; leases expire at
// any time after that. A claim whose answer is lost is sent again until it is
// settled, and then used or given back. A person looks at a call in doubt under
// DoubtBlock and settles it by what he saw, which may be outdated when it is written.
// A tool that could not connect says NotDone, also where an earlier attempt of the run is in doubt.
// The world is plain, honours the token, or refuses older fences once it was asked.
// After all faults the call is asked for again, and has to end (I7).
//
// # What is not
//
// Time is not: leases expire in any order, and no policy has a TTL. Nor are Max, Force, Retry, Delete,
// Backoff (tries inside a call), Wait, several calls in one process, the cache of
// finished records, sealing, and counts (I14). Late messages are at most two at a time.
// Record.Log and the counters of a record are left out of states, as no
// decision reads them. The guard's own sequence of steps (do.go, run.go, outbox.go) and the stores
// are modelled here, not run: the other layers run them.
//
// # How much
//
// The short run has three workers and three calls (four without faults), and
// in each search two crashes, or a pause and a crash, or two losses: of an answer, a message or
// a lease. The full run (go test -run TestRun -full) has a call more with the crashes, two pauses and a
// crash, or two losses and a crash: 15 times as many states, minutes instead of seconds.
//
// # What is assumed
//
// A takeover, where effects are bounded by their number, is any grant that follows a doubt: of a record whose
// owner died, and of one that its owner left in doubt. A worker that outlives its lease
// can still write "in doubt", and the run that follows is one more all the same.
package explore
