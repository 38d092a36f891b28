package storetest

import "github.com/ledger-once/ledger"

// An oracle says what a store has to answer. It is written from the contract
// alone, and shares no code with any store: it takes versions from the store's
// answers, and checks only that they grow.
type oracle struct {
	facts map[ledger.ID]*fact
	alive map[int]bool // owners, by number
	high  map[ledger.ID]ledger.Version
}

// A fact is what the oracle knows of one record.
type fact struct {
	state          ledger.State
	version, fence ledger.Version
	nonce, result  string
	owner          int
	blocked        int64
}

func (f *fact) running() bool { return f != nil && f.state == ledger.StateRunning }

// claims says whether a claim is granted, and whether it is so only because it was before.
func (o *oracle) claims(owner int, c ledger.Claim) (won, again bool) {
	f := o.facts[c.Next.ID]
	if f.running() && o.alive[f.owner] && f.nonce == c.Next.Nonce {
		return true, true
	}
	if f == nil {
		return c.Seen == 0, false
	}
	return f.version == c.Seen && (!f.running() || !o.alive[f.owner] || c.Steal), false
}

// claimed notes a granted claim.
func (o *oracle) claimed(owner int, r ledger.Record) {
	f := &fact{state: ledger.StateRunning, version: r.Version, fence: r.Version, nonce: r.Nonce, owner: owner}
	if before := o.facts[r.ID]; before != nil {
		f.blocked = before.blocked
	}
	o.facts[r.ID] = f
}

// finishes says what a finish returns, and whether it writes.
func (o *oracle) finishes(done ledger.Record) (err error, writes bool) {
	f := o.facts[done.ID]
	switch {
	case f == nil && done.State == ledger.StateNone:
		return nil, false
	case f == nil || f.fence != done.Fence || f.nonce != done.Nonce:
		return ledger.ErrFenced, false
	case f.running():
		return nil, true
	case f.state == done.State && f.result == string(done.Result):
		return nil, false
	}
	return ledger.ErrFenced, false
}

// deletes says what a delete may return.
func (o *oracle) deletes(id ledger.ID, seen ledger.Version) []error {
	f := o.facts[id]
	switch {
	case f == nil:
		return []error{ledger.ErrNotFound}
	case f.running() && o.alive[f.owner] && f.version != seen:
		return []error{ledger.ErrRunning, ledger.ErrFenced}
	case f.running() && o.alive[f.owner]:
		return []error{ledger.ErrRunning}
	case f.version != seen:
		return []error{ledger.ErrFenced}
	}
	return []error{nil}
}
