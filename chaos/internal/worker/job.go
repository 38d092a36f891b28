// Package worker is the process that chaos kills: a guard on a store, whose every step is
// written down, with a workload of its own or one that it is told.
package worker

import (
	"time"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Role is the name by which a process is told to be a worker.
const Role = "worker"

// A Job is what a worker is told when it starts.
type Job struct {
	Process     string // the name in the traces: trace.Process(Worker, Incarnation)
	Worker      int
	Incarnation int
	Dir         string // of the run; the history goes to its HistoryFile

	Store     string   // "etcd", "sqlite", or a registered name
	Endpoints []string // of etcd
	Prefix    string   // of etcd
	TTL       time.Duration
	Path      string // of SQLite, or the address of a registered store

	Tools []trace.Tool
	World string // URL of the downstream
	Code  string // a registered tool that stands between guard and world; "": none

	Load   *Load  // a workload of its own; nil: it does what it is told
	Mutant string // to be switched on; needs the build tag failpoint
	Halts  []Halt // points at which it halts from the start
}

// A Load is a workload that the worker makes by itself until it is told to stop.
type Load struct {
	Seed    uint64
	Callers int
	Base    []uint64 // by caller: the number of its first operation
	Timeout time.Duration
	Pause   time.Duration // between two operations of a caller; 0: none
}

// A Halt is a point at which a worker stops and reports.
type Halt struct {
	Point point.Point
	Key   string // only for calls with that key; "": any
	Late  bool   // the request that leaves there is held back, and its sender is told that it failed
}

// An Order is one line to a worker.
type Order struct {
	Op    int           `json:"op,omitempty"`    // names a Do
	Do    *Step         `json:"do,omitempty"`    // an operation, beside those under way
	Halt  *Halt         `json:"halt,omitempty"`  // halt once at the point, when it is reached next
	Go    point.Point   `json:"go,omitempty"`    // go on from there
	Stop  bool          `json:"stop,omitempty"`  // make no more operations, close the guard, end
	Clock time.Duration `json:"clock,omitempty"` // how far the wall clock jumps, for mutants that go by it
}

// A Step is one operation of a guard.
type Step struct {
	Kind    trace.Kind // Do, Force, Forget or Resolve
	Tool    string
	Key     string
	Ask     string // what the downstream is to do: "", "deny", "permanent" or "fail"
	As      string // of Resolve: "happened", "did_not_happen", "forget", or "" for what the downstream knows
	Timeout time.Duration
}

// A Note is one line from a worker.
type Note struct {
	Ready    bool        `json:"ready,omitempty"`
	Hit      point.Point `json:"hit,omitempty"`  // it halts there
	Sent     point.Point `json:"sent,omitempty"` // the late request of that point was sent, and answered somehow
	Op       int         `json:"op,omitempty"`   // that Order's operation is over
	Outcome  string      `json:"outcome,omitempty"`
	Value    string      `json:"value,omitempty"`
	Err      string      `json:"err,omitempty"`
	Progress []uint64    `json:"progress,omitempty"` // by caller: the number of its next operation
	Calls    uint64      `json:"calls,omitempty"`    // operations that are over
	Fatal    string      `json:"fatal,omitempty"`    // why it ends
}
