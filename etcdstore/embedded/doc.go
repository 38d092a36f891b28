// Package embedded runs a real etcd inside the process, one member or a whole
// cluster, for tests, demonstrations, benchmarks and development.
//
//	server, err := embedded.Start(ctx, "ledger-etcd", nil)
//	if err != nil {
//		return err // the message names the directory and says what to do
//	}
//	defer server.Close()
//	client, err := server.Client(nil) // or clientv3.New with server.Endpoints()
//
// # What it is
//
// Etcd's own server: the same log, elections, leases, limits and errors, and
// what it confirms is synced to the disk. It listens on loopback only, at ports
// that were free. It logs nothing. When Start or Cluster return, it answers.
// After Close or Kill nothing of it is left but the directory, from which it can
// be started again.
//
// For tests that wait for leases, make etcd's clock tick faster. Leases then may
// be as short as one second, and an election takes half of one:
//
//	o := &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond}
//
// [Cluster] starts several members. Any of them can be killed and started again:
//
//	c, err := embedded.Cluster(ctx, 3, t.TempDir(), o)
//	...
//	leader := c.Leader()
//	c.Kill(leader)
//	...
//	err = c.Restart(ctx, leader)
//
// # What it is not
//
// It is not for production: all members share one process, one machine and one
// disk, and end together.
//
// It speaks gRPC, as every client of etcd and etcdctl do. There is no page for
// health or metrics, no JSON, and no server-side lock or election service.
//
// Whatever runs on this machine can connect, unless Options.TLS asks clients for
// certificates. The ports between the members of a cluster are open to it even then.
//
// Kill can not be as abrupt as the end of a process. To test that, run Start in
// a process and kill it; or, for a cluster, [Prepare] its directory and run each
// [Member] in a process of its own.
//
// # On the disk
//
// A directory belongs to one running Server or Servers, which hold a lock there,
// or is shared by the processes that run its members, each with a lock of its own:
//
//	ledger-etcd.lock    locked while they run
//	m0.lock, ...        locked while that member runs alone in a process
//	ledger-etcd.json    who the members are, and where they listen
//	m0, m1, ...         a data directory of etcd for each, readable by its owner only
//
// A member takes 130 MB from the start, for a log that is allocated ahead, and
// later up to five segments of 64 MB, and its database. Etcd can not go on once the
// disk is full, and would end the process; here the server stops, and Server.Err
// says why. It may hold its files until the process ends, and then says that too.
package embedded
