// Package etcdstore keeps Ledger's records in an etcd cluster, so that workers
// on many machines share them: a call runs on one of them, and a crashed worker's
// claim expires by itself.
//
//	store, err := etcdstore.Open(ctx, []string{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"}, nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close() // after the guard
//	guard, err := ledger.New(store, &ledger.Options{Workflow: "order-42"})
//	if err != nil {
//		return err
//	}
//	defer guard.Close(ctx)
//
// # What is stored
//
// All keys begin with [Options.Prefix]; names are path-escaped, values are JSON.
//
//	ledger/records/order-42/charge_card/0f3c…    the record; it stands until it is deleted
//	ledger/running/order-42/charge_card/0f3c…    its claim: under the lease of a living worker
//	ledger/sessions/694d8c1b2f3a4e5d             a worker: host, process, start; under its lease
//	ledger/tallies/order-42/charge_card/0f3c…/…  counts of blocked calls, one key for each worker that counted
//	ledger/counters/order-42/search_web/…        counts of unlimited tools
//	ledger/changes/order-42/charge_card/0f3c…    notice of a re-claim, or of a counter's removal; gone within minutes
//	ledger/schema                                the version of all this
//
// # A claim
//
// is one transaction: if the record still has the version on which the decision
// was made, nobody alive holds it, and the worker's own session stands, then record and running
// key are written. The revision at which etcd writes them is the claim's fence, and the finish
// is written only if the record still has it. So of many workers one wins, and nothing
// that a slow, paused or cut-off worker sends later overwrites what stands.
//
// A worker holds a lease of [Options.TTL] and renews it several times in that time. It
// counts from when a renewal was sent, by two clocks, and ends a margin before the cluster's does:
// then the contexts of its running tools are cancelled with [ledger.ErrLeaseLost]. When the lease ends
// on the cluster, the running keys go with it, and the calls are in doubt, to be taken
// over by others as their policy says. What is not guaranteed: a process that is stopped (SIGSTOP, a
// suspended machine) can not be cancelled; its tool may go on when it is woken up, after
// another has taken the call over. Its outcome is then refused with [ledger.ErrFenced];
// its effect is not, unless the tool's downstream honours tokens or refuses old fences.
//
// A write whose answer is lost is sent again until there is a definite one. It
// may have been written, or may still be: before a claim is sent again, the session's key is written
// anew, and no copy that compares with the older one can land after that.
//
// # Requests
//
// A claim and a finish are one request each; what arrives while others are in
// flight shares the next request. A call that this process has seen finish costs none. Claims and
// finishes need a majority of the members; without one no tool is run.
//
// The store never compacts, defragments, or disarms alarms: these belong to who runs the cluster.
// docs/operations.md has sizes, roles, TLS, backups, and what to do in each kind of trouble.
//
// Servers older than 3.6.14 and 3.7.1 are refused.
package etcdstore
