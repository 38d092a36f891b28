// Package snap shows records as what a chaos run writes down of them.
package snap

import (
	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Of returns what a checker needs of r. The zero record, which stores return
// where none stands, has no State and no ID. Results that are sealed, or not valid
// UTF-8, do not survive being written as JSON: a chaos run has none.
func Of(r *ledger.Record) *trace.Snapshot {
	s := &trace.Snapshot{
		State: string(r.State), Version: int64(r.Version), Fence: int64(r.Fence),
		Nonce: r.Nonce, Token: r.Token, InDoubt: r.InDoubt.String(), Doubted: r.Doubted,
		Attempt: r.Attempt, Starts: r.Starts, Executed: r.Executed, Spent: r.Spent, Takeovers: r.Takeovers,
		Session: r.Owner.Session, PID: r.Owner.PID, Caller: r.Owner.Caller,
		Result: string(r.Result), Omitted: r.ResultOmitted,
		Alive: r.Alive, Attempts: r.Attempts, Blocked: r.Blocked,
	}
	if r.ID != (ledger.ID{}) {
		s.ID = r.ID.String()
	}
	if r.Error != nil {
		s.Class = r.Error.Class.String()
	}
	if r.Settled != nil {
		s.Settled, s.SettledBy = r.Settled.How, r.Settled.By
	}
	for _, a := range r.Log {
		s.Log = append(s.Log, trace.LogEntry{Fence: int64(a.Fence), Session: a.Owner.Session, Outcome: string(a.Outcome)})
	}
	return s
}
