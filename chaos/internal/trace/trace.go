// Package trace is what a chaos run writes down, and what its checkers read: the
// histories of the workers, the journal of the world, the log of faults, and the writes of the store.
// All of it is JSON, one line each, so that a run can be checked again
// long after, by another program, or by eye.
//
// A run's directory holds
//
//	run.json               what was run: a Run
//	history/wNN.K.jsonl    of worker NN's K-th process: Lines
//	world.jsonl            what the downstream did: Effects, each with fsync before its answer
//	faults.jsonl           what was done to processes, connections and members: Faults
//	store.jsonl            each write of a record, in the store's order, where the store can tell: Writes
//	final.jsonl            the records in the end: Snapshots
//	summary.json           what the checkers found
//	report.html            the same for people
package trace

import "time"

// Now is CLOCK_MONOTONIC in nanoseconds, which the processes of one machine
// share. Elsewhere than on Linux it is the time since 1970, which is not as good.
func Now() int64 { return now() }

// Schema is the version of these files. A reader refuses a greater one.
const Schema = 1

// A Run says what was run. It is run.json.
type Run struct {
	Schema   int           `json:"schema"`
	Layer    string        `json:"layer"` // "soak", "points", "mutants"
	Seed     uint64        `json:"seed"`
	Store    string        `json:"store"`   // "etcd", "sqlite", or the name of a store of somebody else's
	Members  int           `json:"members"` // of etcd
	Workers  int           `json:"workers"`
	Duration time.Duration `json:"duration_ns"`
	TTL      time.Duration `json:"ttl_ns"` // of leases, as asked for
	// CallTimeout is the deadline that each operation of a guard has; 0: none that a checker could hold it to.
	CallTimeout time.Duration `json:"call_timeout_ns,omitempty"`
	Tools       []Tool        `json:"tools"`
	Cell        *Cell         `json:"cell,omitempty"`   // of layer "points" and "mutants"
	Mutant      string        `json:"mutant,omitempty"` // that was switched on
	Started     time.Time     `json:"started"`
	From        int64         `json:"from"` // Now at the start and at the end
	To          int64         `json:"to"`
	Versions    Versions      `json:"versions"`
}

// Versions of what took part.
type Versions struct {
	Go, Ledger, Etcd, SQLite, OS string
}

// A Tool is one kind of call in the workload. Its world and policy are fixed for a run.
type Tool struct {
	Name    string        `json:"name"`
	InDoubt string        `json:"in_doubt"` // "retry", "block", "reconcile"
	World   string        `json:"world"`    // see the constants World...
	Replay  bool          `json:"replay,omitempty"`
	Wait    time.Duration `json:"wait_ns,omitempty"`
	Max     int           `json:"max,omitempty"` // successes; 0 stands for 1
	Timeout time.Duration `json:"timeout_ns,omitempty"`
}

// What the downstream does with a request.
const (
	WorldPlain = "plain" // each request is an effect
	WorldToken = "token" // a token that is known gets the first answer again, and is no effect
	WorldFence = "fence" // refuses fences lower than the greatest that asked or acted; each other request is an effect
	WorldHold  = "hold"  // plain, and holds its answers for a time
)

// A Cell is one combination of layer 2: a fault at a point.
type Cell struct {
	Store   string `json:"store"` // "etcd" or "sqlite"
	Members int    `json:"members,omitempty"`
	Point   string `json:"point"`
	Fault   string `json:"fault"`
	InDoubt string `json:"in_doubt"`
	World   string `json:"world"`
}

// String is the cell's name, of which its counter goes by: store/point/fault/in_doubt/world.
func (c Cell) String() string {
	store := c.Store
	if c.Members > 0 {
		store += string(rune('0' + c.Members))
	}
	return store + "/" + c.Point + "/" + c.Fault + "/" + c.InDoubt + "/" + c.World
}

// A Kind says what an operation is.
type Kind string

// The kinds of operations: of the guard, of the store below it, and the tool's.
const (
	Do      Kind = "do"      // ledger.Do
	Force   Kind = "force"   // ledger.Force
	Forget  Kind = "forget"  // Guard.Retry
	Resolve Kind = "resolve" // Guard.Resolve

	Claim  Kind = "claim"
	Finish Kind = "finish"
	Delete Kind = "delete"
	Get    Kind = "get"

	Attempt Kind = "attempt" // one start of the tool, from its start to its return
	Query   Kind = "query"   // one call of Policy.Reconcile
)

// A Line is written before an operation and, with the same N and End set, after it.
// An operation without an end, or whose Err is not definite, ended at no known time: it
// may take effect at any time after its start.
type Line struct {
	At   int64  `json:"at"` // Now
	N    uint64 `json:"n"`  // of the operation in its process
	End  bool   `json:"end,omitempty"`
	Kind Kind   `json:"kind"`
	In   uint64 `json:"in,omitempty"` // N of the guard's operation that this one is a part of; 0: of none, or not known

	ID   string `json:"id,omitempty"`   // ledger.ID.String()
	Tool string `json:"tool,omitempty"` // of Do, Force, Forget, Resolve, Attempt
	Key  string `json:"key,omitempty"`

	// Of a call of the store, in its first line.
	Seen  int64     `json:"seen,omitempty"`
	Steal bool      `json:"steal,omitempty"`
	Next  *Snapshot `json:"next,omitempty"` // what is to be written; of a removal, with an empty State

	// Of the end.
	Won      bool      `json:"won,omitempty"`    // of Claim
	Stands   *Snapshot `json:"stands,omitempty"` // of Claim and Get: what the store returned
	Outcome  string    `json:"outcome,omitempty"`
	Err      string    `json:"err,omitempty"`
	Definite bool      `json:"definite,omitempty"` // of an Err: nothing was written, or what Outcome says

	// Of Attempt, Query and of the value of Do.
	Fence   int64  `json:"fence,omitempty"`
	Token   string `json:"token,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Value   string `json:"value,omitempty"` // the result, as the record has it (JSON)
	As      string `json:"as,omitempty"`    // of Resolve: "happened", "did_not_happen", "forget"
}

// Outcomes of the guard's operations, and of Attempt.
const (
	OK         = "ok"          // Do, Force: the tool ran and succeeded; others: done
	Replayed   = "replayed"    // Do: a recorded result
	Duplicate  = "duplicate"   // ErrDuplicate
	InProgress = "in_progress" // ErrInProgress
	InDoubt    = "in_doubt"    // ErrInDoubt
	Failed     = "failed"      // ErrFailed: blocked by a permanent failure
	Omitted    = "omitted"     // ErrResultOmitted
	Running    = "running"     // ErrRunning
	NotFound   = "not_found"   // ErrNotFound
	Invalid    = "invalid"     // ErrInvalid
	Fenced     = "fenced"      // ErrFenced: of Finish and Delete, and of Do where its outcome was not recorded for that
	Unrecorded = "unrecorded"  // ErrUnrecorded, other than by a fence: the tool ran
	NotStarted = "not_started" // the tool was certainly not run: ErrUnavailable, ErrClosed, the context's end
	ToolFailed = "tool_failed" // the tool's error: Value has its class
	Unknown    = "unknown"     // anything else: see Err
)

// A Snapshot is what a checker needs of a ledger.Record.
type Snapshot struct {
	ID        string     `json:"id,omitempty"`
	State     string     `json:"state"` // "": none
	Version   int64      `json:"version,omitempty"`
	Fence     int64      `json:"fence,omitempty"`
	Nonce     string     `json:"nonce,omitempty"`
	Token     string     `json:"token,omitempty"`
	InDoubt   string     `json:"in_doubt,omitempty"`
	Doubted   bool       `json:"doubted,omitempty"` // an attempt of the run ended in doubt
	Attempt   int        `json:"attempt,omitempty"`
	Starts    int64      `json:"starts,omitempty"`
	Executed  int64      `json:"executed,omitempty"`
	Spent     int        `json:"spent,omitempty"`
	Takeovers int        `json:"takeovers,omitempty"`
	Session   string     `json:"session,omitempty"`
	PID       int        `json:"pid,omitempty"`
	Caller    string     `json:"caller,omitempty"`
	Result    string     `json:"result,omitempty"` // the recorded bytes
	Omitted   bool       `json:"omitted,omitempty"`
	Class     string     `json:"class,omitempty"`   // of the recorded error
	Settled   string     `json:"settled,omitempty"` // "happened", "did_not_happen"
	SettledBy string     `json:"settled_by,omitempty"`
	Alive     bool       `json:"alive,omitempty"`
	Log       []LogEntry `json:"log,omitempty"`
	Attempts  int64      `json:"attempts,omitempty"` // with tallies
	Blocked   int64      `json:"blocked,omitempty"`  // of tallies
}

// A LogEntry is one attempt in a record's own log.
type LogEntry struct {
	Fence   int64  `json:"fence"`
	Session string `json:"session,omitempty"`
	Outcome string `json:"outcome"`
}

// Person is the Worker of a query that is not made under a claim: by who resolves a call in doubt.
const Person = "person"

// What the world did with a request.
const (
	Done    = "effect"  // the effect happened
	Known   = "known"   // the token was known: answered again, no effect
	Refused = "refused" // the fence was too old: no effect
	Denied  = "denied"  // the request was refused as asked for by the workload: certainly no effect
	Asked   = "query"   // a reconciliation asked
)

// An Effect is one request to the world, in the order in which it carried them out.
type Effect struct {
	Seq      uint64 `json:"seq"`
	At       int64  `json:"at"` // Now, after the decision and before the fsync
	Did      string `json:"did"`
	ID       string `json:"id"`
	Tool     string `json:"tool"`
	Token    string `json:"token,omitempty"`
	Fence    int64  `json:"fence"`
	Attempt  int    `json:"attempt,omitempty"`
	Worker   string `json:"worker"` // a Process
	PID      int    `json:"pid"`
	Result   string `json:"result,omitempty"`   // what the request was, or would have been, answered with (JSON)
	Happened bool   `json:"happened,omitempty"` // of Asked
	Late     bool   `json:"late,omitempty"`     // the message was delayed by the world's door until after its sender was stopped or killed
	Answer   string `json:"answer,omitempty"`   // "lost": its caller was killed or cut off before the answer; "held"
}

// Kinds of faults, and of what happens to processes.
const (
	FaultStart   = "start"   // a process started
	FaultExit    = "exit"    // it ended by itself, or as it was told
	FaultKill    = "kill"    // SIGKILL
	FaultPause   = "pause"   // SIGSTOP; Until has the SIGCONT
	FaultCut     = "cut"     // a worker's connections to the store; Until has the healing
	FaultCutIn   = "cut-in"  // one way: what the store says is lost
	FaultCutOut  = "cut-out" // one way: what the worker says is lost
	FaultDelay   = "delay"   // messages take longer
	FaultMember  = "member"  // a member of the cluster is killed; Until has its restart
	FaultLeader  = "leader"  // the leader is
	FaultCompact = "compact" // the store's history is compacted
	FaultRevoke  = "revoke"  // a worker's lease is revoked by an operator
	FaultLate    = "late"    // what a worker says is held back, and arrives after Until
)

// A Fault is one thing that was done to the system, or that happened to its processes.
type Fault struct {
	At     int64  `json:"at"`
	Until  int64  `json:"until,omitempty"` // 0: it is over at once, or lasts
	Kind   string `json:"kind"`
	Target string `json:"target"`            // a Process, or "member-1"
	PID    int    `json:"pid,omitempty"`     // of the process
	Point  string `json:"point,omitempty"`   // where it landed, if it was aimed
	Cell   string `json:"cell,omitempty"`    // that it counts for
	Beyond bool   `json:"beyond,omitempty"`  // of a pause or a cut: longer than the lease
	Done   bool   `json:"done,omitempty"`    // of a kill: the process was seen to be gone at Until
	InCall bool   `json:"in_call,omitempty"` // of a kill or pause: a tool was between its effect and its record
	Text   string `json:"text,omitempty"`
}

// Process names a worker's process: "w03.2" is the third process of worker 3, counted from 0.
func Process(worker, incarnation int) string {
	return string([]byte{'w', byte('0' + worker/10%10), byte('0' + worker%10), '.'}) + itoa(incarnation)
}

// A Write is one write of a record or a running key, in the order of the store.
type Write struct {
	Rev     int64     `json:"rev"`
	At      int64     `json:"at"`   // when it was seen
	Key     string    `json:"key"`  // "record", "running" or "session"
	Name    string    `json:"name"` // the ID, or the session
	Gone    bool      `json:"gone,omitempty"`
	Session string    `json:"session,omitempty"` // of a running key: its owner
	Lease   int64     `json:"lease,omitempty"`
	Record  *Snapshot `json:"record,omitempty"`
}
