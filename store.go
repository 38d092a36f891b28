package ledger

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"
)

// A Store keeps records. It compares and swaps; it decides nothing but whether
// an owner is alive. One value is one owner (a session): claims made through it
// live as long as it does. All methods are safe for concurrent use and honour
// their context. package storetest checks the whole contract.
//
// Errors: [ErrFenced], [ErrRunning], [ErrNotFound], [ErrInvalid] and
// [ErrClosed] are definite: nothing was written. So is an error that matches
// [ErrNotWritten]. Any other error, among them [ErrUnavailable] and the
// context's, says nothing about whether the write happened, or still will.
type Store interface {
	// Claim writes c.Next if the stored record still has the version c.Seen
	// (0: none is stored) and, where that record is running, its owner is dead
	// or c.Steal is set; all in one atomic step. It returns the record that now
	// stands, and whether it is this claim's; tallies may be missing from a record
	// that is. The store sets Version, Fence (equal to Version) and Owner's
	// Session, Host and PID.
	//
	// Where no record stands, the one returned is zero.
	//
	// A claim sent again (same ID, same Nonce) while its record still stands
	// running is a win, so that a lost answer can be asked for again; unless its
	// owner is dead by then. It writes nothing.
	Claim(ctx context.Context, c Claim) (Record, bool, error)

	// Finish writes done over the running record whose claim has done.Fence and
	// done.Nonce, whoever is alive; done.State must not be running. Owner is written
	// as it is given. The zero state removes the record
	// instead, with its tallies. It returns ErrFenced unless the record still has the claim's
	// version. The same finish sent again, while what it wrote stands, returns nil; a removal
	// does so wherever no record stands.
	Finish(ctx context.Context, done Record) error

	// Tally adds to the counts beside records. It never touches state or version.
	// Counts for an ID without a fingerprint create the counter of that tool:
	// a record of StateNone and version 0. Counts for a record that is not stored are dropped.
	Tally(ctx context.Context, counts []Tally) error

	// Get returns ErrNotFound if no record is stored.
	Get(ctx context.Context, id ID) (Record, error)

	// List yields the records that match f, in pages, ordered by ID unless the
	// store says otherwise. A record that stands unchanged during the listing is
	// yielded exactly once. An error is yielded once, as the last element.
	List(ctx context.Context, f Filter) iter.Seq2[Record, error]

	// Delete removes the record and its tallies if it still has the version seen. It
	// returns ErrRunning while it is running and its owner lives, ErrFenced if the version
	// differs, ErrNotFound if there is none. A counter has version 0.
	Delete(ctx context.Context, id ID, seen Version) error
}

// A Claim asks for the exclusive right to execute.
type Claim struct {
	Seen  Version // the version on which the decision to claim was made; 0: no record
	Next  Record  // the record to write; State is running, Nonce is set
	Steal bool    // claim even while the owner lives
}

// MaxRecordBytes bounds Args and Result of a record, together. A greater record
// is refused by every store with an error matching [ErrInvalid].
const MaxRecordBytes = 1 << 20

// Validate returns an error matching [ErrInvalid] unless c can be put to a
// store: a running record of a valid ID with a fingerprint and a nonce, within
// the bounds of a record. Stores call it before they write.
func (c *Claim) Validate() error {
	switch {
	case c.Next.State != StateRunning:
		return fmt.Errorf("%w: a claim writes a running record, not %q: %w", ErrInvalid, c.Next.State, ErrNotWritten)
	case c.Next.ID.IsCounter():
		return fmt.Errorf("%w: a counter can not be claimed; give the ID a fingerprint: %w", ErrInvalid, ErrNotWritten)
	case c.Next.Nonce == "":
		return fmt.Errorf("%w: the claim has no nonce: %w", ErrInvalid, ErrNotWritten)
	}
	return c.Next.Validate()
}

// Validate returns an error matching [ErrInvalid] unless the ID of r is valid
// and its key, its log, and its arguments and result together keep within
// [MaxKeyBytes], [MaxLog] and [MaxRecordBytes]. Stores call it before they write.
func (r *Record) Validate() error {
	if err := r.ID.Validate(); err != nil {
		return err
	}
	if n := len(r.Args) + len(r.Result); n > MaxRecordBytes {
		return fmt.Errorf("%w: arguments and result have %d bytes; a record holds at most %d: %w", ErrInvalid, n, MaxRecordBytes, ErrNotWritten)
	}
	if len(r.Key) > MaxKeyBytes || len(r.Log) > MaxLog {
		return fmt.Errorf("%w: a key of %d bytes and a log of %d attempts; at most %d and %d are allowed: %w", ErrInvalid, len(r.Key), len(r.Log), MaxKeyBytes, MaxLog, ErrNotWritten)
	}
	return nil
}

// A Tally is an increment of the counts beside a record.
type Tally struct {
	ID       ID
	Attempts int64 // calls
	Executed int64 // successes of Unlimited tools
	Blocked  int64 // calls that must not run and did not
}

// A Filter selects records; empty fields select all.
type Filter struct {
	Workflow string
	Tool     string
	Caller   string // of the last claim
	Key      string
	// Fingerprint selects the IDs whose fingerprint begins with it.
	Fingerprint string
	States      []State   // any of these, by Record.Status
	Since       time.Time // started at or after
	Until       time.Time // started before
	After       ID        // only IDs greater than this; to go on with a listing
	Limit       int       // at most so many; 0: all
	All         bool      // says that an otherwise empty filter is meant; see Guard.Reset
}

// Match reports whether r, with Alive filled in, is selected, Limit and order apart.
func (f *Filter) Match(r *Record) bool {
	if f.Workflow != "" && f.Workflow != r.ID.Workflow ||
		f.Tool != "" && f.Tool != r.ID.Tool ||
		f.Caller != "" && f.Caller != r.Owner.Caller ||
		f.Key != "" && f.Key != r.Key ||
		!strings.HasPrefix(r.ID.Fingerprint, f.Fingerprint) ||
		!f.Since.IsZero() && r.Started.Before(f.Since) ||
		!f.Until.IsZero() && !r.Started.Before(f.Until) ||
		f.After != (ID{}) && r.ID.Compare(f.After) <= 0 {
		return false
	}
	if len(f.States) == 0 {
		return true
	}
	status := r.Status()
	for _, s := range f.States {
		if s == status {
			return true
		}
	}
	return false
}

// A Watcher is a Store that can tell of changes. It is optional: without it
// waiters poll and cached records live for a second only.
type Watcher interface {
	// Await returns nil as soon as the record of id no longer stands at version
	// seen under a living owner, wherever that was changed. It may return nil
	// early; the caller reads again.
	Await(ctx context.Context, id ID, seen Version) error

	// Watch yields changes from the moment it yields the first one, which is a
	// ChangeSync. Another ChangeSync follows whenever changes may have been
	// missed: what the watcher remembers may be stale. An error is yielded once, as the last element.
	Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change, error]
}

// WatchOptions select changes.
type WatchOptions struct {
	Filter Filter // by ID and record; Limit and After are not used
	// Notices yields only changes that make a remembered finished record, or a
	// running claim, stale: deletions, forces and claims of stored records.
	// Records may be left out of the changes.
	Notices bool
}

// A ChangeKind says what a Change tells.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangeSync   ChangeKind = iota + 1 // watching; changes before this may have been missed
	ChangePut                          // a record was written
	ChangeDelete                       // a record was removed
)

// A Change is one write of a record.
type Change struct {
	Kind    ChangeKind
	ID      ID
	Version Version // of the write
	Record  *Record // what was written, for ChangePut; may be nil for notices; the latest if several writes were gathered
}

// A Leaser is a Store whose claims depend on a lease that can be lost while
// the process lives.
type Leaser interface {
	// LeaseLost returns a channel that is closed once the session no longer
	// holds its claims, well before anyone else may take them over, provided that the
	// process is scheduled.
	LeaseLost(session string) <-chan struct{}
}

// A SessionLister is a Store that can tell who is alive.
type SessionLister interface {
	Sessions(ctx context.Context) ([]Session, error)
}

// A Session is one owner.
type Session struct {
	ID      string
	Host    string
	PID     int
	Started time.Time
	Alive   bool
}

// A NewestLister is a Store that can list its records newest first. It is optional.
type NewestLister interface {
	// ListNewest yields what List does in another order: the record that was stored last, which is to
	// say claimed for the first time, comes first. Later claims of it do not move it. After is the last record of a listing that goes
	// on; ListNewest yields ErrNotFound if that one was removed meanwhile.
	ListNewest(ctx context.Context, f Filter) iter.Seq2[Record, error]
}
