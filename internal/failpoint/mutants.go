package failpoint

import "time"

// The mutants. Each comment says how the rule is broken, and what has to happen for it to show.
const (
	// MutantUnconditionalClaim: the store claims whatever stands. It shows when a second worker calls while
	// the first one's tool runs, or after it has succeeded.
	MutantUnconditionalClaim = "unconditional-claim"
	// MutantFinishWithoutFence: the store writes an outcome over whatever stands. It shows when a worker whose claim was
	// taken over (after a pause longer than its lease) or stolen (Force) records its own outcome after the other's.
	MutantFinishWithoutFence = "finish-without-fence"
	// MutantWallClock: a running call's owner counts as dead once StaleAfter has passed since its start, by this
	// machine's wall clock and ClockOffset, whatever the lease or the lock says. It shows when a worker whose clock has jumped calls
	// while another's tool runs.
	MutantWallClock = "wall-clock-staleness"
	// MutantGetDeleteClaim: the claim of a record that stands is carried out as a deletion of whatever stands by then,
	// and a claim of nothing. It shows when two workers have seen the same stale record, and one of them waits at MutantGot until
	// the other's tool runs.
	MutantGetDeleteClaim = "get-delete-claim"
	// MutantSuccessOnLease: the record of a success is bound to the session's lease. It shows when the lease ends after
	// the success.
	MutantSuccessOnLease = "success-on-lease"
	// MutantAmbiguousFinish: an outcome whose recording got no definite answer is recorded as "not done". It shows when a
	// success can not be sent for longer than Options.StoreTimeout, and the call comes again after the store is back.
	MutantAmbiguousFinish = "ambiguous-finish-is-failure"
	// MutantLocalFence: the fence that a tool is told comes from a counter of the process. It shows when a second process
	// runs a call that another one has run before.
	MutantLocalFence = "local-counter-fence"
	// MutantInDoubtLeased: the record of a call that runs or is in doubt is bound to the session's lease. It shows when a
	// worker dies in the middle of a call, its lease ends, and the call comes again under DoubtBlock.
	MutantInDoubtLeased = "in-doubt-leased"
	// MutantAckBeforeCommit: a finish (in SQLite a claim, too) is answered before it is committed. It shows when the worker is killed
	// at SQLiteFinishCommitting, SQLiteClaimCommitting or EtcdWriting after its caller got the answer.
	MutantAckBeforeCommit = "ack-before-commit"
	// MutantReconcileUnsealed: Policy.Reconcile is given the fence of the attempt in doubt instead of the takeover's. It shows
	// when that attempt's effect is still on its way while the downstream, which refuses older fences once it was asked, answers.
	MutantReconcileUnsealed = "reconcile-unsealed"
	// MutantTimeoutIsFailed: a tool's context.DeadlineExceeded is classed as "not done". It shows when a tool obeys
	// Policy.Timeout after its effect was sent, under DoubtBlock or DoubtReconcile, and the call comes again.
	MutantTimeoutIsFailed = "timeout-is-failed"
	// MutantPolicyLoosened: the caller's InDoubt policy replaces the stored one. It shows when a worker with DoubtRetry calls
	// what a worker with DoubtBlock has left in doubt.
	MutantPolicyLoosened = "policy-loosened"
	// MutantLateCopy: a claim does not compare with the session's key, which is not put anew before the claim is sent again. It
	// shows when the first copy is held back on its way, the second is granted, the call ends and its record is removed (Guard.Retry),
	// and the first copy then lands: a grant that nobody asked for any more.
	MutantLateCopy = "late-copy"
	// MutantSQLiteNormal: the database is opened with synchronous=NORMAL. It shows in a power cut that keeps only what was
	// fsynced: an acknowledged commit is gone.
	MutantSQLiteNormal = "sqlite-normal"
)

// Mutants lists all mutants.
func Mutants() []MutantInfo {
	all, both, sqlite, etcd := []string{Memory, SQLite, Etcd}, []string{SQLite, Etcd}, []string{SQLite}, []string{Etcd}
	return []MutantInfo{
		{MutantUnconditionalClaim, "the store claims whatever stands", []string{"I1"}, both},
		{MutantFinishWithoutFence, "the store writes an outcome over whatever stands", []string{"I3", "I4"}, both},
		{MutantWallClock, "an owner's life is judged by a wall clock that jumps", []string{"I1"}, both},
		{MutantGetDeleteClaim, "a takeover gets, deletes, then claims", []string{"I1"}, both},
		{MutantSuccessOnLease, "a success ends with its worker's lease", []string{"I6"}, etcd},
		{MutantAmbiguousFinish, "an outcome without an answer is taken for a failure", []string{"I5"}, all},
		{MutantLocalFence, "the fence is counted by each process", []string{"I11"}, all},
		{MutantInDoubtLeased, "the evidence of a call in doubt ends with its worker's lease", []string{"I5"}, etcd},
		{MutantAckBeforeCommit, "writes are answered before they are committed", []string{"I6"}, both},
		{MutantReconcileUnsealed, "the downstream is asked without the takeover's fence", []string{"I5"}, all},
		{MutantTimeoutIsFailed, "a tool that ran out of time counts as not done", []string{"I13"}, all},
		{MutantPolicyLoosened, "a stored policy is replaced by a looser one", []string{"I13"}, all},
		{MutantLateCopy, "a late copy of a settled claim lands", []string{"I1"}, etcd},
		{MutantSQLiteNormal, "SQLite does not sync its commits", []string{"I6"}, sqlite},
	}
}

// StaleAfter is the age at which MutantWallClock takes a running call for a dead worker's.
const StaleAfter = 30 * time.Second
