package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

const (
	// idleTallies is how many IDs are remembered that nobody counts for at the moment.
	idleTallies = 16384
	// tallyWorkers is how many IDs of one Tally are written at the same time; they share requests.
	tallyWorkers = 128
)

// tallies are the counts that this store has written. Each ID is worked on by one caller at a time.
type tallies struct {
	s    *Store
	mu   sync.Mutex
	busy map[ledger.ID]*talliedSlot // those in use are not forgotten
	idle *lru.Cache[ledger.ID, *talliedSlot]
}

type talliedSlot struct {
	tallied               // of whoever holds the token
	token   chan struct{} // one of them

	users int         // guarded by tallies.mu, as is owed
	owed  []takenBack // is taken from the counts by the next user
}

// A takenBack are counts that were written, and will be sent again.
type takenBack struct {
	run int64
	storedCounts
}

func newTallies(s *Store) *tallies {
	idle, _ := lru.New[ledger.ID, *talliedSlot](idleTallies) // fails for sizes below 1 only
	return &tallies{s: s, busy: make(map[ledger.ID]*talliedSlot), idle: idle}
}

// use returns what is known of id, for this caller alone until release.
func (t *tallies) use(ctx context.Context, id ledger.ID) (*talliedSlot, error) {
	t.mu.Lock()
	slot := t.busy[id]
	if slot == nil {
		var ok bool
		if slot, ok = t.idle.Peek(id); !ok {
			slot = &talliedSlot{token: make(chan struct{}, 1)}
		}
		t.idle.Remove(id)
		t.busy[id] = slot
	}
	slot.users++
	t.mu.Unlock()
	select {
	case slot.token <- struct{}{}:
	case <-ctx.Done():
		t.leave(id, slot)
		return nil, context.Cause(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, owed := range slot.owed {
		if slot.known && slot.run == owed.run {
			slot.counts = slot.counts.minus(owed.storedCounts)
		}
	}
	slot.owed = nil
	return slot, nil
}

func (t *tallies) release(id ledger.ID, slot *talliedSlot) {
	slot.others = nil
	<-slot.token
	t.leave(id, slot)
}

func (t *tallies) leave(id ledger.ID, slot *talliedSlot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot.users--; slot.users == 0 {
		delete(t.busy, id)
		t.idle.Add(id, slot)
	}
}

// takeBack leaves counts that were written out of those that are written next.
func (t *tallies) takeBack(o *one) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := t.busy[o.id]
	if slot == nil {
		slot, _ = t.idle.Peek(o.id)
	}
	if slot != nil {
		slot.owed = append(slot.owed, takenBack{o.run, o.delta})
	}
}

// Tally implements [ledger.Store]. Each writer adds to counts of its own; one ID costs one
// request, many share one.
//
// After an error send the same counts again, through the same store: those that were written are then
// replaced, and counted once. That is not remembered for more than the last 16,384 IDs.
func (s *Store) Tally(ctx context.Context, counts []ledger.Tally) error {
	if err := s.tally(ctx, counts); err != nil {
		return fmt.Errorf("etcdstore: tally: %w", err)
	}
	return nil
}

// one is what becomes of the counts of one ID.
type one struct {
	id      ledger.ID
	delta   storedCounts
	written bool
	run     int64 // of the record that they were written for
	settled bool  // if not written: no copy of them can be
	tend    bool  // there is nothing to count: what was counted gets the lease of the record
	err     error
}

func (s *Store) tally(ctx context.Context, counts []ledger.Tally) error {
	merged := make([]one, 0, len(counts))
	index := make(map[ledger.ID]int, len(counts))
	for _, c := range counts {
		if err := c.ID.Validate(); err != nil {
			return err
		}
		i, ok := index[c.ID]
		if !ok {
			i = len(merged)
			index[c.ID] = i
			merged = append(merged, one{id: c.ID, settled: true})
		}
		merged[i].delta = merged[i].delta.plus(countsOf(c))
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	next := make(chan *one)
	var workers sync.WaitGroup
	for range min(len(merged), tallyWorkers) {
		workers.Go(func() {
			for o := range next {
				s.tallies.add(ctx, o)
			}
		})
	}
	for i := range merged {
		next <- &merged[i]
	}
	close(next)
	workers.Wait()
	return s.tallies.conclude(merged)
}

// maxErrors bounds the errors of one call that are told.
const maxErrors = 4

// conclude makes one error of those of the IDs. The caller sends all counts
// again after it, and so what was written is no longer counted.
func (t *tallies) conclude(all []one) error {
	failed, settled := 0, true
	for i := range all {
		if all[i].err != nil {
			failed++
		}
		settled = settled && !all[i].written && all[i].settled
	}
	if failed == 0 {
		return nil
	}
	var errs []error
	for i := range all {
		switch o := &all[i]; {
		case o.written:
			t.takeBack(o)
		case o.err != nil && len(errs) < maxErrors:
			errs = append(errs, fmt.Errorf("%s: %w", o.id, t.s.failure(o.err, settled)))
		}
	}
	if failed > len(errs) {
		errs = append(errs, fmt.Errorf("and of %d more", failed-len(errs)))
	}
	return errors.Join(errs...)
}

// add writes the counts of one ID.
func (t *tallies) add(ctx context.Context, o *one) {
	if o.delta == (storedCounts{}) && !o.id.IsCounter() && !o.tend {
		return // a counter is created
	}
	slot, err := t.use(ctx, o.id)
	if err != nil {
		o.err = err
		return
	}
	defer t.release(o.id, slot)
	slot.stale = slot.stale || o.tend
	retry := newRetry()
	for {
		err := t.step(ctx, o, &slot.tallied)
		if err == nil {
			return
		}
		if err == errAgain {
			continue
		}
		v := verdictOf(err)
		if v == noLease { // that of the record, which is gone with it
			slot.stale = true
		}
		passes := v == ambiguous && !errors.Is(err, errNotSent) && !errors.Is(err, ledger.ErrUnavailable) || v == again || v == noLease
		if passes && ctx.Err() == nil {
			pause(ctx, retry)
		}
		if !passes || ctx.Err() != nil {
			o.err = err
			return
		}
	}
}

// tend sees that all counts of the record have the lease that it has: they
// end with it, and not before. Counts of a record that has none are not looked for.
func (t *tallies) tend(ctx context.Context, id ledger.ID) error {
	o := &one{id: id, tend: true}
	t.add(ctx, o)
	return o.err
}

// step sends one request for o. It returns errAgain if that only told more of what there is.
func (t *tallies) step(ctx context.Context, o *one, e *tallied) error {
	s := t.s
	if !e.known || e.stale {
		ans, err := s.lookups.do(ctx, &op{id: o.id, then: t.readOps(o.id)})
		if err != nil {
			return err
		}
		return t.learn(o, e, &ans)
	}
	if e.crowded() {
		return t.fold(ctx, o, e)
	}
	if o.tend && (e.mod == 0 || e.under == e.lease) {
		return nil
	}
	want := e.counts.plus(o.delta)
	w, err := t.putOp(o.id, e, want)
	if err != nil {
		return err
	}
	ans, err := s.writes.do(ctx, w)
	switch {
	case err == nil && ans.ok:
		e.mod, e.under, e.rev, e.counts = ans.revision, e.lease, ans.revision, want
		o.written, o.run = true, e.run
		return nil
	case err == nil:
		return t.learn(o, e, &ans)
	case verdictOf(err) == ambiguous && !errors.Is(err, errNotSent):
		o.settled = false
	}
	return err
}

// learn returns errAgain if there is something to count for, and nil if there is not.
func (t *tallies) learn(o *one, e *tallied, ans *answer) error {
	found, err := e.learn(t.s, o.id, ans.revision, ans.kvs(0), ans.kvs(1))
	if err == nil && found {
		return errAgain
	}
	return err
}

// head is the key that tells whether counts for id are those of the same record, or counter.
func (t *tallies) head(id ledger.ID) string {
	if id.IsCounter() {
		return t.s.keys.change(id)
	}
	return t.s.keys.record(id)
}

func (t *tallies) readOps(id ledger.ID) []*pb.RequestOp {
	tallies := t.s.keys.tallies(id)
	return []*pb.RequestOp{
		// Without the value, which is large; but etcd 3.7 leaves out the lease as well, unless it is to sort by value.
		get(t.head(id), "", keysOnly, func(r *pb.RangeRequest) { r.SortTarget, r.SortOrder = pb.RangeRequest_VALUE, pb.RangeRequest_ASCEND }),
		get(tallies, after(tallies)),
	}
}

// putOp writes the own key, if everything still is as e says.
func (t *tallies) putOp(id ledger.ID, e *tallied, counts storedCounts) (*op, error) {
	keys := t.s.keys
	key := keys.tally(id, e.run, t.s.writer)
	value, err := json.Marshal(storedTally{V: 1, storedCounts: counts})
	if err != nil {
		return nil, err
	}
	cmps := append(t.compares(id, e), modified(key, equal, e.mod))
	if e.mod == 0 { // a late copy must not bring back a key that was folded
		cmps = append(cmps, modified(keys.tally(id, e.run, foldedWriter), equal, e.fold))
		if id.IsCounter() { // or removed
			cmps = append(cmps, modified(t.head(id), equal, e.guard))
		}
	}
	return &op{id: id, cmps: cmps, then: []*pb.RequestOp{put(key, value, clientv3.LeaseID(e.lease))}, els: func() []*pb.RequestOp { return t.readOps(id) }}, nil
}

// compares hold while counts of e belong to the record that stands, and end with it.
func (t *tallies) compares(id ledger.ID, e *tallied) []*pb.Compare {
	if id.IsCounter() {
		return nil
	}
	record := t.s.keys.record(id)
	cmps := []*pb.Compare{created(record, equal, e.run)}
	if e.lease != 0 || t.s.retention != nil { // a record's lease changes with its version only
		cmps = append(cmps, modified(record, equal, e.guard))
	}
	return cmps
}
