package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
)

// env is what a case works with: one store of its own, and checks that read
// like sentences. Its methods that take no error fail the case at once; call
// those on the case's goroutine only.
type env struct {
	testing.TB
	ctx  context.Context // of the case, like that of a testing.T
	open Opener
	opts Options
	dir  string
	test string // the test that called Run, for worker processes to run
}

func newEnv(t testing.TB, test string, open Opener, opts Options) *env {
	// Far beyond what any case takes: it turns a hanging store into a failing one.
	ctx, cancel := context.WithTimeout(t.Context(), 4*opts.Patience)
	t.Cleanup(cancel)
	return &env{TB: t, ctx: ctx, open: open, opts: opts, dir: t.TempDir(), test: test}
}

// owner opens another owner on the case's store.
func (e *env) owner() ledger.Store {
	e.Helper()
	s := e.open(e.TB, e.dir)
	if c, ok := s.(io.Closer); ok {
		e.Cleanup(func() {
			if err := c.Close(); err != nil {
				e.Errorf("close: %v", err)
			}
		})
	}
	return s
}

// elsewhere is the same case on a store of its own.
func (e *env) elsewhere() *env {
	other := *e
	other.dir = e.TempDir()
	return &other
}

// end closes an owner: its claims are dead from then on.
func (e *env) end(s ledger.Store) {
	e.Helper()
	c, ok := s.(io.Closer)
	if !ok {
		e.Skip("the store is no io.Closer: its owners can not end")
	}
	if err := c.Close(); err != nil {
		e.Fatalf("close: %v", err)
	}
}

// id returns an ID of the workflow w and the tool t with a fingerprint that name decides.
func id(name string) ledger.ID { return idIn("w", "t", name) }

func idIn(workflow, tool, name string) ledger.ID {
	sum := sha256.Sum256([]byte(name))
	return ledger.ID{Workflow: workflow, Tool: tool, Fingerprint: hex.EncodeToString(sum[:16])}
}

// claimOf returns a plain claim with a nonce of its own.
func claimOf(id ledger.ID, seen ledger.Version) ledger.Claim {
	now := time.Now()
	return ledger.Claim{Seen: seen, Next: ledger.Record{
		ID: id, State: ledger.StateRunning, Token: uuid.NewString(), Nonce: uuid.NewString(), Attempt: 1, Starts: 1,
		Owner: ledger.Owner{Caller: "storetest"}, Args: []byte(`{"n":1}`), ArgsDigest: "digest", Created: now, Started: now,
	}}
}

func stealOf(id ledger.ID, seen ledger.Version) ledger.Claim {
	c := claimOf(id, seen)
	c.Steal = true
	return c
}

// ended returns what a finish of the claim r writes.
func ended(r ledger.Record, state ledger.State) ledger.Record {
	r.State, r.Finished = state, time.Now()
	switch state {
	case ledger.StateSucceeded:
		r.Result = []byte(`{"ok":true}`)
	case ledger.StateFailed:
		r.Error = &ledger.Failure{Message: "declined", Class: ledger.ClassPermanent}
	}
	return r
}

// claim claims and wants to win.
func (e *env) claim(s ledger.Store, c ledger.Claim) ledger.Record {
	e.Helper()
	r, won, err := s.Claim(e.ctx, c)
	if err != nil || !won {
		e.Fatalf("claim of %s with seen %d: won %t, error %v; want it granted. Standing: %s", c.Next.ID, c.Seen, won, err, brief(r))
	}
	if r.State != ledger.StateRunning || r.Nonce != c.Next.Nonce || r.Version == 0 || r.Fence != r.Version || !r.Alive {
		e.Fatalf("the claim was granted, and returned %s; want a living running record with nonce %s and fence = version > 0", brief(r), c.Next.Nonce)
	}
	got := e.get(s, c.Next.ID)
	r.Attempts, r.Blocked, r.Executed = got.Attempts, got.Blocked, got.Executed // a granted claim may leave out tallies
	e.same("after the claim there is", got, r)
	return got
}

func (e *env) claimNew(s ledger.Store, id ledger.ID) ledger.Record {
	e.Helper()
	return e.claim(s, claimOf(id, 0))
}

// refused claims, wants not to win, and wants to be told what stands.
func (e *env) refused(s ledger.Store, c ledger.Claim, standing ledger.Record) {
	e.Helper()
	r, won, err := s.Claim(e.ctx, c)
	if err != nil || won {
		e.Fatalf("claim of %s with seen %d, steal %t over %s: won %t, error %v; want it refused without an error", c.Next.ID, c.Seen, c.Steal, brief(standing), won, err)
	}
	e.same("the refused claim returned", r, standing)
	e.stands(s, standing)
}

// finish finishes and returns what stands afterwards.
func (e *env) finish(s ledger.Store, done ledger.Record) ledger.Record {
	e.Helper()
	if err := s.Finish(e.ctx, done); err != nil {
		e.Fatalf("finish of %s as %q with fence %d: %v", done.ID, done.State, done.Fence, err)
	}
	if done.State == ledger.StateNone {
		e.absent(s, done.ID)
		return ledger.Record{}
	}
	got := e.get(s, done.ID)
	want := done
	want.Version, want.Alive, want.Attempts, want.Blocked = got.Version, false, got.Attempts, got.Blocked
	e.same("after the finish there is", got, want)
	return got
}

// fenced finishes, wants ErrFenced, and wants nothing to change.
func (e *env) fenced(s ledger.Store, done ledger.Record) {
	e.Helper()
	before, existed := e.lookup(s, done.ID)
	e.want("finish", s.Finish(e.ctx, done), ledger.ErrFenced)
	if existed {
		e.stands(s, before)
	} else {
		e.absent(s, done.ID)
	}
}

func (e *env) succeeded(s ledger.Store, id ledger.ID) ledger.Record {
	e.Helper()
	return e.finish(s, ended(e.claimNew(s, id), ledger.StateSucceeded))
}

// dead claims id through an owner that ends at once, and returns what is left.
func (e *env) dead(s ledger.Store, id ledger.ID) ledger.Record {
	e.Helper()
	owner := e.owner()
	r := e.claimNew(owner, id)
	e.end(owner)
	r.Alive = false
	e.stands(s, r)
	return r
}

func (e *env) remove(s ledger.Store, r ledger.Record) {
	e.Helper()
	if err := s.Delete(e.ctx, r.ID, r.Version); err != nil {
		e.Fatalf("delete of %s: %v", brief(r), err)
	}
	e.absent(s, r.ID)
}

func (e *env) tally(s ledger.Store, counts ...ledger.Tally) {
	e.Helper()
	if err := s.Tally(e.ctx, counts); err != nil {
		e.Fatalf("tally: %v", err)
	}
}

func (e *env) get(s ledger.Store, id ledger.ID) ledger.Record {
	e.Helper()
	r, err := s.Get(e.ctx, id)
	if err != nil {
		e.Fatalf("get %s: %v", id, err)
	}
	return r
}

func (e *env) lookup(s ledger.Store, id ledger.ID) (ledger.Record, bool) {
	e.Helper()
	r, err := s.Get(e.ctx, id)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		e.Fatalf("get %s: %v", id, err)
	}
	return r, err == nil
}

func (e *env) absent(s ledger.Store, id ledger.ID) {
	e.Helper()
	if r, exists := e.lookup(s, id); exists {
		e.Fatalf("there is %s; want no record", brief(r))
	}
}

// stands wants the record of want.ID to be just so.
func (e *env) stands(s ledger.Store, want ledger.Record) {
	e.Helper()
	e.same("there is", e.get(s, want.ID), want)
}

func (e *env) same(what string, got, want ledger.Record) {
	e.Helper()
	if diff := diff(want, got); diff != "" {
		e.Fatalf("%s another record than wanted (-want +got):\n%s", what, diff)
	}
}

// diff tells nil from empty bytes, but not logs without entries. Times are
// those of a store: want is cut to microseconds.
func diff(want, got ledger.Record) string {
	cut := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == reflectTime }, cmp.Comparer(func(a, b time.Time) bool {
		return a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond))
	}))
	log := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Log" }, cmpopts.EquateEmpty())
	whole := cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) })
	return cmp.Diff(want, got, cut, log, whole)
}

func (e *env) want(what string, err, target error) {
	e.Helper()
	if !errors.Is(err, target) {
		e.Fatalf("%s: got error %v, want %q", what, err, target)
	}
}

// list collects a listing.
func (e *env) list(s ledger.Store, f ledger.Filter) []ledger.Record {
	e.Helper()
	var all []ledger.Record
	for r, err := range s.List(e.ctx, f) {
		if err != nil {
			e.Fatalf("list %+v: %v", f, err)
		}
		all = append(all, r)
	}
	return all
}

// eventually polls until cond holds.
func (e *env) eventually(what string, cond func() bool) {
	e.Helper()
	deadline := time.Now().Add(e.opts.Patience)
	for !cond() {
		if time.Now().After(deadline) {
			e.Fatalf("after %v: %s", e.opts.Patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ends wants f to return, and says what hangs otherwise.
func (e *env) ends(what string, f func()) {
	e.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(e.opts.Patience):
		e.Fatalf("%s hangs for %v", what, e.opts.Patience)
	}
}

// together runs f n times at once.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
