package etcdstore

import (
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// awaitPoll is about how often a waiter looks for itself, should its watch be
// served by a member that hears nothing.
const awaitPoll = 15 * time.Second

// A vigil watches one running key for all who wait for its record.
type vigil struct {
	from    int64         // the first revision that it tells of
	waiters int           // guarded by watches.mu
	over    chan struct{} // closed at its end
	changed bool          // once over: there was a change
	err     error         // once over: it can not be watched at all
	cancel  context.CancelFunc
}

// Await implements [ledger.Watcher]. It reads the record and watches the key that a living
// owner holds: a finish and the end of the owner's lease both delete it. Those who wait for one record share a watch.
func (s *Store) Await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	err := id.Validate()
	if err == nil {
		err = s.await(ctx, id, seen)
	}
	return wrap(err, "await", id)
}

func (s *Store) await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	retry := newRetry()
	for {
		if err := s.begin(ctx); err != nil {
			return err
		}
		ans, err := s.look(ctx, id, s.readOps(id)[:elseTallies])
		if err != nil {
			return err
		}
		records, running := ans.kvs(elseRecord), ans.kvs(elseRunning)
		if len(records) == 0 || ledger.Version(records[0].ModRevision) != seen || len(running) == 0 {
			return nil
		}
		v, err := s.watches.join(id, ans.revision+1)
		if err != nil {
			return err
		}
		if v == nil { // somebody has read later than we, and watches from there on
			pause(ctx, retry)
			continue
		}
		poll := time.NewTimer(awaitPoll/2 + rand.N(awaitPoll))
		select {
		case <-v.over:
			switch {
			case v.changed:
				err = nil
			case v.err != nil:
				err = s.failure(v.err, true)
			default: // it was cut off: read anew
				pause(ctx, retry)
				err = errAgain
			}
		case <-poll.C:
			err = errAgain
		case <-ctx.Done():
			err = ended(ctx)
		}
		poll.Stop()
		s.watches.leave(id, v)
		if err != errAgain {
			return err
		}
	}
}

// join returns the vigil over id, which tells of all changes from that revision on;
// nil if the one there is began later. Each has to leave it.
func (w *watches) join(id ledger.ID, from int64) (*vigil, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.vigils[id]
	if v == nil {
		ctx, cancel := context.WithCancel(w.s.life)
		v = &vigil{from: from, over: make(chan struct{}), cancel: cancel}
		if !w.tasks.start(func() { w.keep(ctx, id, v) }) {
			cancel()
			return nil, ledger.ErrClosed
		}
		w.vigils[id] = v
	}
	if v.from > from {
		return nil, nil
	}
	v.waiters++
	return v, nil
}

// leave ends the vigil with its last waiter.
func (w *watches) leave(id ledger.ID, v *vigil) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v.waiters--; v.waiters == 0 {
		w.forget(id, v)
		v.cancel()
	}
}

// forget is called with mu held.
func (w *watches) forget(id ledger.ID, v *vigil) {
	if w.vigils[id] == v {
		delete(w.vigils, id)
	}
}

// keep watches until the first change.
func (w *watches) keep(ctx context.Context, id ledger.ID, v *vigil) {
	defer v.cancel()
	err := w.follow(ctx, w.s.keys.running(id), func(r *clientv3.WatchResponse) bool {
		v.changed = len(r.Events) > 0
		return !v.changed
	}, clientv3.WithRev(v.from))
	if lasting(err) {
		v.err = err
	}
	w.mu.Lock()
	w.forget(id, v)
	w.mu.Unlock()
	close(v.over)
}
