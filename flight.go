package ledger

import (
	"context"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ledger-once/ledger/fingerprint"
)

// A flight is a call that this process is about to claim, runs, or waits for.
// Local duplicates look at it instead of asking the store. It ends when the
// outcome is recorded, or definitely can not be.
type flight struct {
	sum  fingerprint.Sum
	id   ID
	done chan struct{} // closed at the end

	// Guarded by flights.mu.
	known   chan struct{}           // closed when standing, unsure or the end is known
	opened  bool                    // known is closed
	stands  *Record                 // the running record, here or elsewhere; or the outcome that waits to be recorded
	unsure  bool                    // a claim's answer is unknown: it is being settled
	nonces  [2]string               // of the claim sent last, and of the one before
	cancel  context.CancelCauseFunc // of the tool's context; nil while no tool runs
	outcome *Record                 // what stood at the end; nil: nothing known
}

type flights struct {
	mu  sync.Mutex
	all map[fingerprint.Sum]*flight
}

func (t *flights) init() { t.all = make(map[fingerprint.Sum]*flight) }

// join returns the flight of sum, and whether it is the caller's own, new one.
func (t *flights) join(sum fingerprint.Sum, id ID) (*flight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.all[sum]; ok {
		return f, false
	}
	return t.add(sum, id), true
}

// replace returns a new flight in the place of the one that there is.
func (t *flights) replace(sum fingerprint.Sum, id ID) (mine, old *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old = t.all[sum]
	return t.add(sum, id), old
}

func (t *flights) add(sum fingerprint.Sum, id ID) *flight {
	f := &flight{sum: sum, id: id, known: make(chan struct{}), done: make(chan struct{})}
	t.all[sum] = f
	return f
}

// detached returns a flight that nobody joins: of a write that is no call.
func (t *flights) detached() *flight {
	return &flight{known: make(chan struct{}), done: make(chan struct{})}
}

// stand tells local duplicates what they are duplicates of.
func (t *flights) stand(f *flight, r *Record, cancel context.CancelCauseFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.stands, f.cancel = r, cancel
	f.open()
}

// doubt tells local duplicates that nobody knows yet whether the call is claimed.
func (t *flights) doubt(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.stands, f.unsure, f.cancel = nil, true, nil
	f.open()
}

func (f *flight) open() {
	if !f.opened {
		f.opened = true
		close(f.known)
	}
}

func (t *flights) claiming(f *flight, nonce string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.nonces = [2]string{nonce, f.nonces[0]}
}

// end is called once for each flight; outcome is what stands now, nil if that is not known.
func (t *flights) end(f *flight, outcome *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.outcome, f.cancel = outcome, nil
	if t.all[f.sum] == f {
		delete(t.all, f.sum)
	}
	f.open()
	close(f.done)
}

func (t *flights) look(f *flight) (stands *Record, unsure bool, outcome *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.stands, f.unsure, f.outcome
}

// abort cancels the context of the flight's tool, if one runs.
func (t *flights) abort(f *flight, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.cancel != nil {
		f.cancel(cause)
	}
}

func (t *flights) cancelAll(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.all {
		if f.cancel != nil {
			f.cancel(cause)
		}
	}
}

// running returns the flight of a tool that runs here.
func (t *flights) running(id ID) *flight {
	sum, err := fingerprint.ParseSum(id.Fingerprint)
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.all[sum]; f != nil && f.cancel != nil {
		return f
	}
	return nil
}

// underway lists the calls whose tools run here.
func (t *flights) underway() []ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []ID
	for _, f := range t.all {
		if f.cancel != nil {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// owns reports whether nonce is that of a claim of f. While another try is
// being claimed, the record may still show the claim before.
func (t *flights) owns(f *flight, nonce string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return nonce == f.nonces[0] || nonce == f.nonces[1]
}

// cache remembers finished records. A stale entry can only block, never run a
// call twice: a call that may run is decided by the store's compare and swap.
type cache struct {
	entries *lru.Cache[fingerprint.Sum, *cached]
	mu      sync.Mutex
	epoch   uint64 // grows with every notice
	synced  bool   // notices arrive: entries stay until one tells of them
}

type cached struct {
	record Record
	until  time.Time // zero: until a notice
}

func (m *cache) init(size int) {
	m.entries, _ = lru.New[fingerprint.Sum, *cached](size) // fails for sizes below 1 only
}

// mark is taken before a record is read; add compares.
func (m *cache) mark() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epoch
}

// add remembers a finished record that was read, or written, after mark.
func (m *cache) add(sum fingerprint.Sum, r *Record, mark uint64) {
	if r == nil || r.State != StateSucceeded && r.State != StateFailed || len(r.Args)+len(r.Result) > maxCachedBytes {
		m.entries.Remove(sum)
		return
	}
	e := &cached{record: *r}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.synced || m.epoch != mark { // a notice about it may have come before it did
		e.until = time.Now().Add(unwatched)
	}
	m.entries.Add(sum, e)
}

func (m *cache) get(sum fingerprint.Sum, now time.Time) *Record {
	e, ok := m.entries.Get(sum)
	if !ok || !e.until.IsZero() && !now.Before(e.until) {
		return nil
	}
	return &e.record
}

func (m *cache) forget(sum fingerprint.Sum) { m.entries.Remove(sum) }

// noticed forgets what a notice tells of.
func (m *cache) noticed(id ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	if sum, err := fingerprint.ParseSum(id.Fingerprint); err == nil {
		m.entries.Remove(sum)
	}
}

// sync forgets all; from now on notices arrive, or do not.
func (m *cache) sync(arriving bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.synced = arriving
	m.entries.Purge()
}

// watchNotices follows deletions, forces and re-claims by other workers until
// the guard is closed.
func (c *core) watchNotices() {
	retry := newRetry()
	for c.life.Err() == nil {
		for change, err := range c.watcher.Watch(c.life, WatchOptions{Notices: true}) {
			switch {
			case err != nil:
				c.opts.Logger.Debug("ledger: watch of changes ended", "error", err)
			case change.Kind == ChangeSync:
				retry.Reset()
				c.cache.sync(true)
				for _, id := range c.flights.underway() {
					c.checkFence(Change{ID: id})
				}
			default:
				c.cache.noticed(change.ID)
				c.checkFence(change)
			}
		}
		c.cache.sync(false)
		sleep(c.life, retry.NextBackOff())
	}
}

// checkFence cancels a tool of ours whose call was forced or deleted elsewhere.
func (c *core) checkFence(change Change) {
	f := c.flights.running(change.ID)
	if f == nil || change.Record != nil && c.flights.owns(f, change.Record.Nonce) {
		return
	}
	ctx, cancel := context.WithTimeout(c.life, c.opts.StoreTimeout)
	defer cancel()
	r, err := c.store.Get(ctx, change.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return // the tool's outcome will meet the fence
	}
	if err != nil || !c.flights.owns(f, r.Nonce) {
		c.flights.abort(f, ErrFenced)
	}
}
