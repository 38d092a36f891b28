package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxTallies bounds the IDs whose counts wait in memory.
const maxTallies = 100_000

// tallies gathers the counts of blocked and unlimited calls, and writes them a
// second later, before statistics are read, and on close.
type tallies struct {
	c  *core
	mu sync.Mutex

	counts  map[ID]*Tally
	batch   map[ID]*Tally // those of the flush that is under way: they come back if it fails
	timer   bool          // a flush is due
	dropped atomic.Bool   // counts were dropped, and it was said
	writing chan struct{} // holds one token while a flush is under way
}

func (t *tallies) add(n Tally) {
	t.mu.Lock()
	fits := t.merge(n)
	if !t.timer {
		t.timer = t.c.goBackground(t.flushLater)
	}
	t.mu.Unlock()
	t.drop(fits)
}

// drop says once that counts do not fit.
func (t *tallies) drop(fits bool) {
	if !fits && !t.dropped.Swap(true) {
		t.c.opts.Logger.Warn("ledger: counts are dropped: the store did not take them for too long", "calls", maxTallies)
	}
}

// merge is called with mu held. It reports whether the counts fit.
func (t *tallies) merge(n Tally) bool {
	if t.counts == nil {
		t.counts = make(map[ID]*Tally)
	}
	if sum, ok := t.counts[n.ID]; ok {
		sum.Attempts += n.Attempts
		sum.Executed += n.Executed
		sum.Blocked += n.Blocked
		return true
	}
	if len(t.counts) >= maxTallies {
		return false
	}
	fresh := n // only here does it need memory of its own
	t.counts[n.ID] = &fresh
	return true
}

func (t *tallies) flushLater() {
	for {
		sleep(t.c.life, flushEvery)
		if t.c.life.Err() != nil {
			return // close flushes
		}
		err := t.flush(t.c.life)
		t.mu.Lock()
		if len(t.counts) == 0 {
			t.timer = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if err != nil {
			t.c.opts.Logger.Debug("ledger: counts are not written yet", "error", err)
		}
	}
}

// flush writes what has gathered. Counts whose write has an unknown result are
// sent again: they may then be counted twice, never lost.
func (t *tallies) flush(ctx context.Context) error {
	select {
	case t.writing <- struct{}{}:
		defer func() { <-t.writing }()
	case <-ctx.Done():
		return fmt.Errorf("write counts: %w", context.Cause(ctx))
	}
	t.mu.Lock()
	batch := make([]Tally, 0, len(t.counts))
	for _, n := range t.counts {
		batch = append(batch, *n)
	}
	t.counts, t.batch = nil, t.counts
	t.mu.Unlock()
	for len(batch) > 0 {
		n := min(len(batch), 500)
		wctx, cancel := context.WithTimeout(ctx, t.c.opts.StoreTimeout)
		err := t.c.store.Tally(wctx, batch[:n])
		cancel()
		if err != nil {
			fits := true
			t.mu.Lock()
			for _, n := range batch {
				if _, ok := t.batch[n.ID]; ok { // nobody has deleted it meanwhile
					fits = t.merge(n) && fits
				}
			}
			t.batch = nil
			t.mu.Unlock()
			t.drop(fits)
			return fmt.Errorf("write counts: %w", err)
		}
		batch = batch[n:]
	}
	t.mu.Lock()
	t.batch = nil
	t.mu.Unlock()
	return nil
}

// forget drops what waits of an ID that was deleted: written later it would
// make a counter anew, or count for the call's next record.
func (t *tallies) forget(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, id)
	delete(t.batch, id)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
