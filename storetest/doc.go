// Package storetest is the conformance suite of [ledger.Store]: bring your own
// database, and it tells whether tools that are guarded through it run once.
//
// # Use
//
// A store's test is one call:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB, dir string) ledger.Store {
//			s, err := mystore.Open(filepath.Join(dir, "ledger.db"), nil)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// The [Opener] is called often. With a dir that it has not seen before it opens
// a new, empty store; with the same dir it opens one more owner on the same
// data, in this process or in another. A store on a server uses dir as its
// prefix, schema or database name (hash it if the server bounds names). The suite
// closes what it opens, provided that the store is an io.Closer.
//
// Each case is a subtest, named after the promise that it checks, so that
//
//	go test -run 'TestStore/finish/after_a_takeover'
//
// repeats one. Begin with claim/fresh and work through the groups in their
// order: claim, owner, finish, delete, version, fields, names, list, summary, tally,
// context, close, watch, lease, process, model. [ledger.Memory] is a complete
// store in one file to compare yours with. [RunWith] takes [Options] for stores that order their records
// otherwise, refuse newer schemas, or need longer to notice a death;
// [RunInProcess] leaves out the cases with several processes.
//
// # Processes
//
// The cases of the group process start the test binary again, with -test.run
// set to the calling test. There the call of Run does not return: it opens the store and
// obeys the first process until that one goes away or kills it. What the test does before it
// calls Run happens in each of these processes; a test that starts a server
// asks [IsWorker] first and passes the address through the environment:
//
//	if !storetest.IsWorker() {
//		t.Setenv("MYSTORE_ADDR", startServer(t))
//	}
//	storetest.Run(t, open)
//
// # What it proves, and what not
//
// A suite can only find faults. That this one does find them is tested: its own
// tests break a correct store in some hundred ways, one promise each, and demand that
// a fitting case fails.
//
// It covers the text of [ledger.Store], [ledger.Watcher], [ledger.Leaser], [ledger.Summarizer],
// [ledger.NewestLister] and [ledger.SessionLister]: who wins a claim, alone, against 32 racers and against 8
// processes; that a stale owner can not write; that fences grow across
// deletion and reopening; that each field and odd name survives; that counts are
// exact; that a cancelled or interrupted call leaves either all or nothing; that what a
// killed process was told is still there; and, by random sequences of operations
// against a small oracle, what nobody thought of.
//
// It does not prove durability: a SIGKILL leaves the page cache whole, so a store
// that forgets to sync passes and loses claims in a power cut. Nor does it
// cut networks, stop servers, lose replies or shift clocks. Leases that
// expire while their owner is only slow are seen no further than a pause of
// milliseconds. Nor does it measure: a store that passes may still be slow.
package storetest
