// Package ancestor reads the file of ledger-once, the Python program that this
// library continues, and makes records of the calls in it.
//
// The file is an SQLite database with one table, and a row a call:
//
//	CREATE TABLE ledger (
//		id TEXT PRIMARY KEY, tool TEXT, args TEXT, wf TEXT, created TEXT, touched TEXT, since TEXT,
//		status TEXT, attempts INT, runs INT, blocked INT, result TEXT, error TEXT, caller TEXT)
//
// The id is a fingerprint of tool, arguments and workflow by the ancestor's
// rules, or of tool, key and workflow: a key itself is not stored. So a call
// can be carried over if its id is that of its stored arguments, which says that it had
// no key; then the fingerprint by this library's rules follows from what is stored.
//
// What the ancestor's states mean here:
//
//	success   succeeded, with its result, and as many executions
//	failed    in doubt, under DoubtRetry: its tool raised an error, of which nobody knows
//	          whether the effect came first. The next call runs, as it did there, unless its tool blocks doubt.
//	running   not carried over, or, if that is asked for, in doubt under DoubtBlock: it ran when the file
//	          was read, or its worker died, or its result was no JSON and was lost after the effect
package ancestor
