// Package sqlitestore keeps a ledger in one SQLite file: durable, shared by
// many processes of one machine, with nothing to install or to run beside them.
//
//	store, err := sqlitestore.Open(ctx, "ledger.db", nil)
//	if err != nil {
//		return err // the message names the file and says what to do
//	}
//	defer store.Close()
//	guard, err := ledger.New(store, nil)
//
// # What it promises
//
// A claim or finish that returned nil is on the disk: the log is synced before
// the answer (WAL mode, synchronous=FULL). It survives SIGKILL at any point and,
// as far as the disk keeps what it confirmed, a power cut.
//
// Whether an owner lives is the operating system's word, not a clock's. Each open store
// holds a lock on a file of its own in ledger.db.owners, which the kernel
// frees the moment the process ends, however it ends, and keeps while the process
// is merely stopped or slow. There is no lease to lose, and no takeover from a living worker.
//
// Whoever deletes or moves files of ledger.db.owners breaks that promise for a moment: an owner makes its file
// anew with its next write, or within half a second. An owner that missed its own file calls nobody dead for want of one
// for two seconds; one whose own was left alone can not know.
//
// An error says whether something may have been written. All that match
// [ledger.ErrNotWritten] were refused for certain: full disk, deleted file,
// a context that ended in the queue. A COMMIT that fails is settled before the answer, by reading back
// what it would have left; only where that fails too the error is ambiguous.
//
// # What it does not
//
// It is for one machine. The locks of network file systems do not tell reliably who is
// alive: NFS, SMB and their like are refused where that can be told, which is on Linux only. Containers may share the
// file if they share the kernel.
//
// Await and Watch see the writes of other processes by looking, 5 to 50 ms
// later; those of the same store at once. A death is seen within 150 ms or so.
//
// A process that is stopped (SIGSTOP) in the middle of a commit holds up the
// others until it goes on; their calls end with their contexts. A crash there holds up nobody.
//
// Reading by key, time or success looks through all records of the workflow,
// or of all if none is named: some seconds for each 10^6. What is running, in
// doubt or failed has an index.
//
// # The files
//
//	ledger.db               the database; 0600, like all the others
//	ledger.db-wal, -shm     SQLite's log and its index; they belong to the database
//	ledger.db.lock          whose turn it is to write
//	ledger.db.owners/ID     one file for each open store, locked while it lives
//
// A symbolic link to the database is the same store; a hard link is refused. Deleting
// or replacing the database while it is open makes every call fail with
// [ledger.ErrUnavailable], until the store is opened again. If it was renamed, Open refuses the new name until
// all that have it open are closed.
// If the log is deleted under it, closing all stores saves what they wrote; Open refuses until then. If the files are
// replaced, a store that is closed leaves SQLite's handles open until its process ends: closing them would damage the new files.
//
// Run VACUUM only while all stores are closed: an open one takes a database that shrinks for one that was overwritten.
//
// Back it up with `sqlite3 ledger.db ".backup copy.db"` or VACUUM INTO, or copy the database together with its
// -wal file while nobody writes. In a copy all owners are dead: what was running is in doubt. A program that restores an
// old backup forgets the calls since; no store can know that. Close all stores before, and remove ledger.db-wal and ledger.db-shm:
// a copy that is written over an open database is noticed where it is smaller than what was there, and mixed with the log where it is not.
//
// A program that uses a ledger must not open ledger.db itself by other means than
// SQLite: POSIX drops all locks of a process on a file when any descriptor of it is closed, SQLite's among them
// (https://sqlite.org/howtocorrupt.html, 2.2).
package sqlitestore
