// Package chaos tries to make a call happen twice, or not at all, and to lose what was acknowledged.
//
// Chaos can only falsify: it proves nothing of what it did not try. So there are layers, each of which checks the next:
//
//   - the explorer visits every interleaving of a small model of the protocol, with the guard's own decisions in it;
//   - named points: real worker processes are killed, stopped and cut off at each dangerous place of a
//     call, on SQLite and on etcd clusters whose members are processes too;
//   - the soak: a long random run, whose histories are checked for linearizability;
//   - mutants: guards and stores with one rule broken, which the layers above have to catch.
//
// What they look for are the invariants I1 to I14 of chaos/README.md.
//
// [Run] runs them. Workers and members are processes, started from the same binary, so a program
// that runs chaos calls [Enter] first thing in main (a test: in TestMain):
//
//	func open(ctx context.Context, path string) (ledger.Store, error) { return mine.Open(ctx, path) }
//
//	func main() {
//		chaos.Enter(&chaos.Registry{Stores: map[string]chaos.Open{"mine": open}})
//		report, err := chaos.Run(context.Background(), &chaos.Options{Store: "mine", Path: "/tmp/mine", Layers: []string{chaos.Soak}})
//		...
//	}
//
// With a [Registry] it is a harness for a store, or for the code of a tool, of one's own. What it can not do for
// them: it knows no points inside of a foreign store, and cuts no connections to it.
//
// It needs Linux: SIGSTOP, /proc, a death signal for children, and a clock that processes share.
package chaos
