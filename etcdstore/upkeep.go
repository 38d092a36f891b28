package etcdstore

import (
	"context"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

const (
	// maxChores is how many records may wait for their upkeep; more are left out.
	maxChores = 4096
	// choreWorkers is how many are seen to at the same time; they share requests.
	choreWorkers = 16
	// choreTime bounds the upkeep of one record.
	choreTime = 10 * time.Minute
)

// An upkeep gives counts the lease of their record after it has changed, in the
// background. What is not done when the process dies leaves a key of counts that stays
// until the call is claimed anew, or loses counts: never a record.
type upkeep struct {
	s     *Store
	tasks *tasks

	mu      sync.Mutex
	queue   []chore
	workers int
	idle    chan struct{} // closed when there are no workers
}

// A chore is what is to be done for one record.
type chore struct {
	id    ledger.ID
	relet int64 // put the record of this version under another lease; 0: it has the right one
}

func newUpkeep(s *Store) *upkeep {
	u := &upkeep{s: s, tasks: newTasks(s), idle: make(chan struct{})}
	close(u.idle)
	return u
}

func (u *upkeep) add(c chore) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) >= maxChores {
		u.s.opts.Logger.Warn("etcdstore: a record's counts may not end with it, or end early: too many wait for it", "call", c.id)
		return
	}
	u.queue = append(u.queue, c)
	if u.workers == choreWorkers || !u.tasks.start(u.work) {
		return
	}
	if u.workers++; u.workers == 1 {
		u.idle = make(chan struct{})
	}
}

func (u *upkeep) work() {
	for {
		u.mu.Lock()
		if len(u.queue) == 0 || u.s.life.Err() != nil {
			if u.workers--; u.workers == 0 {
				close(u.idle)
			}
			u.mu.Unlock()
			return
		}
		c := u.queue[0]
		u.queue = u.queue[1:]
		u.mu.Unlock()
		if err := u.do(c); err != nil && u.s.life.Err() == nil {
			u.s.opts.Logger.Warn("etcdstore: a record's counts may not end with it, or end early", "call", c.id, "error", err)
		}
	}
}

func (u *upkeep) do(c chore) error {
	ctx, cancel := context.WithTimeout(u.s.life, choreTime)
	defer cancel()
	if c.relet != 0 {
		if err := u.s.relet(ctx, c.id, c.relet); err != nil {
			return err
		}
	}
	return u.s.tallies.tend(ctx, c.id)
}

// drain returns when everything is done, or ctx ends.
func (u *upkeep) drain(ctx context.Context) {
	u.mu.Lock()
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
