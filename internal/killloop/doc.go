// Package killloop kills workers of one SQLite ledger at random, and in the
// window between a tool's effect and the record of it, and checks that nothing
// was done twice and nothing acknowledged was lost. It holds tests only:
//
//	go test ./internal/killloop                # short
//	go test ./internal/killloop -v -run TestKillLoop -args -workers 8 -ops 2000 -kills 200
//
// A failing run prints its seed; -args -seed N repeats the workload and the choice of victims,
// not the interleaving.
package killloop
