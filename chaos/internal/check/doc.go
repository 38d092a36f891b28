// Package check reads what a chaos run wrote down (package trace) and says
// which invariants hold. It needs nothing but the run's directory, so a run can be checked again long after.
//
// It shares no code with the library: what a record may do is written down here a
// second time, from the contract of ledger.Store and from shared words alone. A mistake
// in the state machine is then not repeated by its checker.
//
// # How it reads a history
//
// The lines of all processes are gathered by call (ID). The claims of one nonce are
// one grant, the finishes of one fence with one outcome are one ending. Each has a fate:
// it happened, it never did, or nobody knows. An operation with a definite answer
// decides it; else what was seen later does: a record that shows the nonce or the fence,
// an entry in a record's log, a claim that replaced the version. Where the store's own writes were
// recorded (store.jsonl), they decide everything. What stays undecided and would have
// mattered is counted in trace.Check.Unknown.
//
// # What it takes for granted
//
//   - A wrapper around the Store writes the end of an operation before it hands the answer on. So an
//     attempt of a tool whose grant has no line is an error, whatever was killed.
//   - One attempt of a tool sends one request to the world, with the claim's fence and token.
//   - All calls are made by processes with a history, those after healing too.
//   - What faults.jsonl does not tell did not happen, but for a lease that a starved process
//     lost: the store's own writes show that, where they were recorded.
//
// # What it needs of a run
//
// The session of a running key and the name of a session's key are the same word in store.jsonl.
// A watch of the store with a gap is noticed where somebody has read what it lacks. Without store.jsonl
// three things may stay undecided: whether a deletion without an answer took away what is missing in the end,
// whether an outcome that was sent by a killed worker, and that nobody has read since, was a run's second
// success, and who held a version that was replaced and that nobody is known to have read.
//
// The run is held in memory while it is checked: about four bytes for each byte of its files.
package check
