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
	sum fingerprint.Sum
	id  ID

	// Guarded by flights.mu. The channels are made for the first local duplicate: most calls have none.
	done    chan struct{}           // closed at the end
	known   chan struct{}           // closed when standing, unsure or the end is known
	opened  bool                    // known is closed, or to be
	stands  *Record                 // the running record, here or elsewhere; or the outcome that waits to be recorded
	unsure  bool                    // a claim's answer is unknown: it is being settled
	nonces  [2]string               // of the claim sent last, and of the one before
	cancel  context.CancelCauseFunc // of the tool's context; nil while no tool runs
	fenced  Version                 // claims below it were stolen
	looking bool                    // the record is being read, to see whether the claim was stolen
	again   bool                    // and has to be read once more
	outcome *Record                 // what stood at the end; nil: nothing known
	ended   bool
}

type flights struct {
	mu     sync.Mutex
	all    map[fingerprint.Sum]*flight
	leases leases
}

func (t *flights) init() { t.all = make(map[fingerprint.Sum]*flight) }

// join returns the flight of sum, and whether it is the caller's own, new one.
func (t *flights) join(sum fingerprint.Sum, id ID) (*flight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.all[sum]; ok {
		f.joined()
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

// restore puts old back in the place of f, which did not get to run.
func (t *flights) restore(f, old *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old != nil && !old.ended && t.all[f.sum] == f {
		t.all[f.sum] = old
	}
}

func (t *flights) add(sum fingerprint.Sum, id ID) *flight {
	f := &flight{sum: sum, id: id}
	t.all[sum] = f
	return f
}

// detached returns a flight that nobody joins: of a write that is no call.
func (t *flights) detached(id ID) *flight {
	return &flight{id: id}
}

// stand tells local duplicates what they are duplicates of.
func (t *flights) stand(f *flight, r *Record, cancel context.CancelCauseFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.stands, f.cancel = r, cancel
	if cancel != nil && r.Fence < f.fenced {
		cancel(ErrFenced)
	}
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
	if !f.opened && f.known != nil {
		close(f.known)
	}
	f.opened = true
}

// joined makes the channels of a flight that has not ended.
func (f *flight) joined() {
	if f.known != nil {
		return
	}
	f.known, f.done = make(chan struct{}), make(chan struct{})
	if f.opened {
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
	f.outcome, f.cancel, f.ended = outcome, nil, true
	if t.all[f.sum] == f {
		delete(t.all, f.sum)
	}
	f.open()
	if f.done != nil {
		close(f.done)
	}
}

func (t *flights) look(f *flight) (stands *Record, unsure bool, outcome *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.stands, f.unsure, f.outcome
}

// isFenced reports whether the claim with that fence was stolen.
func (t *flights) isFenced(f *flight, claim Version) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return claim < f.fenced
}

// suspect returns the flight of a tool that runs here if the record's write at
// version v (0: any) can have stolen its claim. The caller looks until cleared says so.
func (t *flights) suspect(id ID, v Version, nonce string) *flight {
	sum, err := fingerprint.ParseSum(id.Fingerprint)
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.all[sum]
	if f == nil || f.cancel == nil || v != 0 && v <= f.stands.Fence || nonce != "" && f.owns(nonce) {
		return nil
	}
	if f.looking {
		f.again = true
		return nil
	}
	f.looking = true
	return f
}

// cleared reports whether no other notice came while the caller looked.
func (t *flights) cleared(f *flight) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.looking, f.again = f.again, false
	return !f.looking
}

// seen tells what a look at the record showed: r, or that there is none. was is
// the fence under which the tool ran before the look.
func (t *flights) seen(f *flight, r *Record, was Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stolen := was + 1
	if r != nil {
		if stolen = r.Fence; f.owns(r.Nonce) {
			return
		}
	}
	f.fenced = max(f.fenced, stolen)
	if f.cancel != nil && f.stands.Fence < stolen {
		f.cancel(ErrFenced)
	}
}

func (t *flights) fenceOf(f *flight) Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.stands == nil {
		return 0
	}
	return f.stands.Fence
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
func (f *flight) owns(nonce string) bool { return nonce == f.nonces[0] || nonce == f.nonces[1] }

// cache remembers finished records. A stale entry can only block, never run a
// call twice: a call that may run is decided by the store's compare and swap.
type cache struct {
	entries *lru.Cache[fingerprint.Sum, *cached]
	mu      sync.Mutex
	epoch   uint64 // grows with every notice
	synced  bool   // notices arrive: entries stay until one tells of them
}

type cached struct {
	record *Record
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

// add remembers a finished record that was read, or written, after mark. Nobody writes to it any more.
func (m *cache) add(sum fingerprint.Sum, r *Record, mark uint64) {
	if r == nil || r.State != StateSucceeded && r.State != StateFailed || len(r.Args)+len(r.Result) > maxCachedBytes {
		m.entries.Remove(sum)
		return
	}
	e := &cached{record: r}
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
	return e.record
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
	nonce := ""
	if change.Record != nil {
		nonce = change.Record.Nonce
	}
	f := c.flights.suspect(change.ID, change.Version, nonce)
	if f == nil {
		return
	}
	// On a goroutine of its own: one slow read must not hold up the other notices.
	c.goBackground(func() {
		for over := false; !over; over = c.flights.cleared(f) {
			was := c.flights.fenceOf(f)
			r, err := c.get(c.life, change.ID)
			switch {
			case err == nil:
				c.flights.seen(f, &r, was)
			case errors.Is(err, ErrNotFound):
				c.flights.seen(f, nil, was)
			} // with any other error the tool's outcome meets the fence
		}
	})
}
