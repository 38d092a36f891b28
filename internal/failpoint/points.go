package failpoint

// The points of the guard.
const (
	// GuardStarting is between a claim that was won and the start of its tool; of each try.
	GuardStarting = "guard.starting"
	// GuardReturned is between the return of a tool, which neither panicked nor left by
	// runtime.Goexit, and whatever records its outcome.
	GuardReturned = "guard.returned"
	// GuardReconciling is before Policy.Reconcile is called, under the takeover's claim.
	GuardReconciling = "guard.reconciling"
	// GuardReconciled is between the answer of Policy.Reconcile and what records it.
	GuardReconciled = "guard.reconciled"
	// GuardClaimAgain is before the claim of a further try, of a failed tool (Policy.Backoff) or after a
	// reconciliation that says that nothing happened.
	GuardClaimAgain = "guard.claim-again"
	// GuardLetter is before the outbox sends a write again whose answer was not definite.
	GuardLetter = "guard.letter"
	// GuardResolving is between the claim of Guard.Resolve and the write that settles the call.
	GuardResolving = "guard.resolving"
)

// The points of sqlitestore. A batch that holds several kinds of writes hits the points of each,
// once. The turn is held at all of them but the last two: who stops there stops the other writers too.
const (
	// SQLiteClaimCommitting is before the COMMIT of a batch with a claim in it.
	SQLiteClaimCommitting = "sqlite.claim-committing"
	// SQLiteClaimCommitted is after that COMMIT, before the claim is answered.
	SQLiteClaimCommitted = "sqlite.claim-committed"
	// SQLiteFinishCommitting is before the COMMIT of a batch with a finish in it, or a claim given back.
	SQLiteFinishCommitting = "sqlite.finish-committing"
	// SQLiteFinishCommitted is after that COMMIT, before the finish is answered.
	SQLiteFinishCommitted = "sqlite.finish-committed"
	// SQLiteDeleteCommitting is before the COMMIT of a batch with a deletion in it.
	SQLiteDeleteCommitting = "sqlite.delete-committing"
	// SQLiteDeleteCommitted is after that COMMIT, before the deletion is answered.
	SQLiteDeleteCommitted = "sqlite.delete-committed"
	// SQLiteTakeover is between the look that shows a running record's owner dead and the write of the claim
	// that takes the call over; both in one transaction.
	SQLiteTakeover = "sqlite.takeover"
	// SQLiteOwnerLocked is when the file of a new owner is locked, and has no name yet by which others find it.
	SQLiteOwnerLocked = "sqlite.owner-locked"
	// SQLiteOwnerHealing is when a living owner misses its file, and has not made it anew yet: others take it for dead.
	SQLiteOwnerHealing = "sqlite.owner-healing"
)

// The points of etcdstore. A store in etcd sends each write again until its answer is definite: the
// points of a copy are hit by each.
const (
	// EtcdClaimSending is before a copy of a claim is put into the queue of the next request.
	EtcdClaimSending = "etcd.claim-sending"
	// EtcdTakeover is the same for a claim of a record that stands (of a dead owner's call, mostly), a steal
	// apart: after the decision, before it is sent. EtcdClaimSending is hit as well, after it.
	EtcdTakeover = "etcd.takeover"
	// EtcdClaimUnsure is between the verdict that the answer of a claim's copy is lost and everything that is done
	// about it: the next copy, and the session's key put anew before that.
	EtcdClaimUnsure = "etcd.claim-unsure"
	// EtcdSessionCleaning is before a session's key is put anew, so that no claim that was sent before can land any more.
	EtcdSessionCleaning = "etcd.session-cleaning"
	// EtcdFinishSending is before a copy of a finish, or of a claim given back, is put into the queue.
	EtcdFinishSending = "etcd.finish-sending"
	// EtcdDeleteSending is before a copy of a deletion is put into the queue.
	EtcdDeleteSending = "etcd.delete-sending"
	// EtcdWriting is before a request with the writes of one or more callers leaves.
	EtcdWriting = "etcd.writing"
	// EtcdWritten is after the answer of such a request, before its callers are told. The answer may be an error.
	EtcdWritten = "etcd.written"
	// EtcdRenewing is before a renewal of a session's lease is sent.
	EtcdRenewing = "etcd.renewing"
	// EtcdRenewed is after its answer, before the session knows it. The answer may be an error.
	EtcdRenewed = "etcd.renewed"
	// EtcdSessionOpening is before a session is opened: the first one, one more, or one after a loss.
	EtcdSessionOpening = "etcd.session-opening"
)

// The windows of MutantGetDeleteClaim; they are reached only where it is enabled.
const (
	// MutantGot is between the look at what stands and its deletion.
	MutantGot = "mutant.got"
	// MutantDeleted is between that deletion and the claim.
	MutantDeleted = "mutant.deleted"
)

// Points lists all points.
func Points() []PointInfo {
	all, sqlite, etcd := []string{Memory, SQLite, Etcd}, []string{SQLite}, []string{Etcd}
	return []PointInfo{
		{GuardStarting, "a claim is won, its tool not started", all},
		{GuardReturned, "the tool has returned, its outcome is not sent", all},
		{GuardReconciling, "the takeover is claimed, the downstream not asked", all},
		{GuardReconciled, "the downstream has answered, nothing is recorded", all},
		{GuardClaimAgain, "before the claim of a further try", all},
		{GuardLetter, "before the outbox sends a write again", all},
		{GuardResolving, "a call in doubt is claimed to be settled, and not settled", all},
		{SQLiteClaimCommitting, "before the COMMIT of a claim", sqlite},
		{SQLiteClaimCommitted, "after the COMMIT of a claim, before its answer", sqlite},
		{SQLiteFinishCommitting, "before the COMMIT of a finish", sqlite},
		{SQLiteFinishCommitted, "after the COMMIT of a finish, before its answer", sqlite},
		{SQLiteDeleteCommitting, "before the COMMIT of a deletion", sqlite},
		{SQLiteDeleteCommitted, "after the COMMIT of a deletion, before its answer", sqlite},
		{SQLiteTakeover, "a takeover is decided, its claim not written", sqlite},
		{SQLiteOwnerLocked, "a new owner's file is locked, and has no name", sqlite},
		{SQLiteOwnerHealing, "a living owner misses its file, and has not made it anew", sqlite},
		{EtcdClaimSending, "before a copy of a claim is queued", etcd},
		{EtcdTakeover, "a takeover is decided, no copy of its claim queued", etcd},
		{EtcdClaimUnsure, "a claim's answer is lost, and nothing done about it", etcd},
		{EtcdSessionCleaning, "before a session's key is put anew", etcd},
		{EtcdFinishSending, "before a copy of a finish is queued", etcd},
		{EtcdDeleteSending, "before a copy of a deletion is queued", etcd},
		{EtcdWriting, "before a request with writes leaves", etcd},
		{EtcdWritten, "a request with writes is answered, its callers not told", etcd},
		{EtcdRenewing, "before a renewal of the lease is sent", etcd},
		{EtcdRenewed, "a renewal is answered, the session not told", etcd},
		{EtcdSessionOpening, "before a session is opened", etcd},
		{MutantGot, "with get-delete-claim: the stale record is seen, not deleted", []string{SQLite, Etcd}},
		{MutantDeleted, "with get-delete-claim: the stale record is deleted, nothing claimed", []string{SQLite, Etcd}},
	}
}
