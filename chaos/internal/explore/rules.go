package explore

// A rule can be broken in the model, to see that the oracle notices.
type rule uint8

const (
	keepAll            rule = iota
	unconditionalClaim      // a claim is written whatever stands
	getDeleteClaim          // a dead record is deleted and claimed in two steps
	wallClock               // a living owner is taken for dead
	unfencedFinish          // an outcome is written whatever stands
	localFence              // fences come from a counter of the worker
	leasedSuccess           // a success goes with the lease of its worker
	leasedEvidence          // a running record goes with the lease of its worker
	ackedEarly              // an outcome is acknowledged before it is committed
	ambiguousFailed         // a finish without an answer is taken for a failure
	unsealed                // a reconciliation does not seal its fence
	timeoutFailed           // an error that says nothing is recorded as certainly not done
	loosenedPolicy          // the caller's policy replaces the stored one
	lateCopy                // an older copy of a settled claim can still land
	blockedRuns             // a duplicate runs
)

var ruleNames = [...]string{
	keepAll: "none", unconditionalClaim: "unconditional claim", getDeleteClaim: "get, delete, claim", wallClock: "wall-clock staleness",
	unfencedFinish: "finish without a fence", localFence: "fence from a local counter", leasedSuccess: "success left on the lease",
	leasedEvidence: "in-doubt evidence leased", ackedEarly: "acknowledged before the commit", ambiguousFailed: "ambiguous finish taken for a failure",
	unsealed: "reconcile without the fence sealed", timeoutFailed: "timeout recorded as failed", loosenedPolicy: "stored policy loosened",
	lateCopy: "late copy of a settled claim", blockedRuns: "a duplicate runs",
}
