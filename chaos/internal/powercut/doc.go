// Package powercut shows what a power cut leaves of an SQLite ledger. SIGKILL can not: what a killed process
// wrote is in the kernel's cache, synced or not. So a worker makes guarded calls under strace(1), which writes down each of
// its writes and fsyncs and, in the same order, each claim and outcome that its store acknowledged.
// From that the files are built again as they may be on a disk whose power went at some moment, the ledger is
// opened from them, and what had been acknowledged by that moment has to be there (invariant I6).
//
// # What is modelled
//
// A cut may come between any two system calls, and within one. What is certainly on the disk then, is:
//
//   - of a file, each write and truncation that had returned before an fsync or fdatasync of that file was called which
//     had returned before the cut;
//   - of a directory, each creation, renaming and removal of a name that had returned before such an fsync of the directory
//     itself. That is POSIX; ext4 and XFS promise more, and with a file sync the name of a new file too.
//
// Of what came later, a [Variant] of a cut keeps nothing, everything, or something at random: of each page of 4096 bytes (torn:
// of each sector of 512) what it was at some moment between the sync and the cut, whatever became of the pages
// beside it; a size from any such moment, with zeros where nothing was kept; and of the changes of directories, in all
// directories together, those up to some moment, because file systems keep them in a journal. The index of SQLite's log
// (-shm) is left out, as SQLite makes it anew whenever nobody has the database open.
//
// # What is not
//
// Disks that lie about a flush, sectors that are destroyed by a write beside them or torn below 512 bytes, bit rot, and
// writes of two processes at once. Lost is only what an fsync that returned did not cover: errors of fsync are not played.
//
// Each run proves that its replay is faithful: with everything kept, the files built are, byte by byte,
// those that the worker left.
//
// # Why strace
//
// It needs no kernel module (dm-log-writes, dm-flakey), no root, no FUSE, and sees the real driver with its real
// options. A VFS of our own below SQLite would see SQLite's writes, and neither the store's own nor the order in which the
// caller is answered; and a tracer of our own would be several hundred lines of ptrace(2) to keep, for what a Debian package does.
package powercut
