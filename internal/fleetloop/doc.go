// Package fleetloop runs guarded calls of several processes on one etcd
// cluster, kills and stops workers and members, and checks that nothing was done twice and
// nothing acknowledged was lost. It holds tests only:
//
//	go test ./internal/fleetloop                # short
//	go test ./internal/fleetloop -v -timeout 30m -args -rounds 1000 -calls 5000 -kills 6 -records 50000
//
// Workers are the test binary started again; the cluster runs inside the test.
// Nothing is judged by how long it took: that a takeover came after the lease is read from the cluster's own history.
package fleetloop
