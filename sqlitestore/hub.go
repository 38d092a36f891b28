package sqlitestore

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// A hub tells those who wait in this process what was written: at once if it was
// written here, and by looking every few milliseconds if elsewhere. It looks only while somebody waits.
type hub struct {
	mu      sync.Mutex
	users   int           // who wait
	eager   int           // those of them who wait for more than notices
	hurry   chan struct{} // holds one: somebody eager came
	version int64         // what they have been told of
	heard   bool          // since the last look a commit of this store proved that there was none by others
	changed chan struct{} // closed and replaced with every change
	notices *bell         // rung and replaced with every change that is a notice
	waiters map[*waiter]struct{}
	cancel  context.CancelFunc // of the poller; nil while it does not run
	poller  sync.WaitGroup
	stopped bool
}

// A bell is for those who want notices only: most commits have none, and need
// not be read by them.
type bell struct {
	rung   chan struct{}
	before int64 // once rung: up to this version there was no notice since the bell was hung up
}

// A waiter waits for one record.
type waiter struct {
	rec   int64
	owner string // that must live
	woken chan struct{}
	once  sync.Once
}

func (w *waiter) wake() { w.once.Do(func() { close(w.woken) }) }

// deathPause is the time between two looks whether the owners that somebody waits for live: a death moves no data.
const deathPause = 100 * time.Millisecond

// join counts a user in. When it returns, every later change will be told, to one that wants notices only perhaps later than to the others.
func (s *Store) join(ctx context.Context, notices bool) error {
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	version := int64(-1)
	for !h.stopped && h.users == 0 && version < 0 {
		var err error
		h.mu.Unlock() // the leader needs it before it answers
		version, err = s.lastVersion(ctx)
		h.mu.Lock()
		if err != nil {
			return err
		}
	}
	if h.stopped {
		return ledger.ErrClosed
	}
	if h.users == 0 { // what was committed since version was read is told again
		h.version, h.changed = version, make(chan struct{})
		h.heard = false
		h.notices = &bell{rung: make(chan struct{})}
		life, cancel := context.WithCancel(context.Background())
		h.cancel = cancel
		hurry := make(chan struct{}, 1) // of this poller: one that ends at the same time must not take what is in it
		h.hurry = hurry
		h.poller.Go(func() { s.poll(life, hurry) })
	}
	h.users++
	if !notices {
		if h.eager++; h.eager == 1 {
			select {
			case h.hurry <- struct{}{}:
			default:
			}
		}
	}
	return nil
}

func (h *hub) leave(notices bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !notices {
		h.eager--
	}
	if h.users--; h.users == 0 {
		h.cancel()
		h.cancel = nil
	}
}

// stop ends the poller. Those who wait see the store's closing.
func (h *hub) stop() {
	h.mu.Lock()
	h.stopped = true
	if h.cancel != nil {
		h.cancel()
	}
	h.mu.Unlock()
	h.poller.Wait()
}

// changes returns a channel that the next change closes.
func (h *hub) changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// bell returns the bell that the next notice rings.
func (h *hub) bell() *bell {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.notices
}

// committed tells of a commit of this store.
func (h *hub) committed(w *written) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == 0 {
		return
	}
	before := h.version
	if h.version == w.base { // else others wrote before, and the poller tells of it all
		h.version, h.heard = w.version, true
	} else {
		h.heard = false
	}
	h.tell(w.recs)
	if w.notices {
		h.ring(before)
	}
}

func (h *hub) ring(before int64) {
	h.notices.before = before
	close(h.notices.rung)
	h.notices = &bell{rung: make(chan struct{})}
}

// tell wakes those who wait for one of recs, all if recs is nil.
func (h *hub) tell(recs []int64) {
	close(h.changed)
	h.changed = make(chan struct{})
	if len(h.waiters) == 0 {
		return
	}
	wrote := make(map[int64]bool, len(recs))
	for _, rec := range recs {
		wrote[rec] = true
	}
	for w := range h.waiters {
		if recs == nil || wrote[w.rec] {
			w.wake()
		}
	}
}

func (h *hub) add(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiters == nil {
		h.waiters = map[*waiter]struct{}{}
	}
	h.waiters[w] = struct{}{}
}

func (h *hub) drop(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters, w)
}

func (s *Store) lastVersion(ctx context.Context) (version int64, err error) {
	err = s.readers.use(ctx, s, func(r *reader) error {
		_, err := r.last.row(func(v []driver.Value) { version, _ = v[0].(int64) })
		return err
	})
	return version, err
}

// poll looks for commits by others, often after a change and ever more seldom without one.
func (s *Store) poll(ctx context.Context, hurry <-chan struct{}) {
	pause, looked := s.opts.PollMax, time.Now() // join has read the version just now
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-hurry:
			if pause > s.opts.PollMin { // once before each look: those who come one after the other must not put it off
				pause = s.opts.PollMin
				timer.Reset(pause)
			}
			continue
		case <-ctx.Done():
			return
		}
		var changed bool
		var err error
		heard, eager := s.hub.takeHeard()
		begun := time.Now()
		if !heard {
			changed, err = s.look(ctx)
		}
		took := time.Since(begun)
		switch {
		case ctx.Err() != nil:
			return
		case heard: // what others wrote since is seen within PollMax all the same
			pause = max(s.opts.PollMin, s.opts.PollMax/2)
		case err != nil:
			// Each of those who wait finds it by itself: wake them to it.
			s.hub.mu.Lock()
			s.hub.tell(nil)
			s.hub.ring(0)
			s.hub.mu.Unlock()
			pause = s.opts.PollMax
		case changed:
			pause = s.opts.PollMin
		default:
			pause = min(pause*5/4, s.opts.PollMax)
		}
		if !heard {
			pause = s.opts.spare(pause, took, eager)
		}
		if time.Since(looked) >= deathPause {
			looked = time.Now()
			s.buryDead()
		}
		timer.Reset(pause)
	}
}

// spare returns the pause after a look that took so long. Many processes that look at each other's writes
// would take the processor from the one whose turn it is: 64 of them had less than a tenth of the throughput of 8. Those who
// wait for a call are told within PollMax; a notice, which seldom comes, can wait for ten times that where looking takes long.
func (o *Options) spare(pause, took time.Duration, eager bool) time.Duration {
	if eager {
		return min(max(pause, 8*took), o.PollMax)
	}
	return max(pause, min(50*took, 10*o.PollMax), o.PollMax)
}

// takeHeard reports whether a look can be spared, as a commit of this store stands for
// one, so that looking costs nothing while this store alone writes; and whether somebody waits for more than notices.
func (h *hub) takeHeard() (heard, eager bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	heard, h.heard = h.heard, false
	return heard, h.eager > 0
}

// look tells of the commits since the last one told.
func (s *Store) look(ctx context.Context) (changed bool, err error) {
	s.hub.mu.Lock()
	known := s.hub.version
	s.hub.mu.Unlock()
	version, err := s.lastVersion(ctx)
	if err != nil || version == known {
		return false, err
	}
	notes, upto, gap, err := s.notesSince(ctx, known)
	if err != nil {
		return false, err
	}
	recs, notices := make([]int64, 0, len(notes)), gap
	for i := range notes {
		recs = append(recs, notes[i].rec)
		notices = notices || notes[i].notice()
	}
	if gap {
		recs = nil
	}
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.version
	h.version = max(h.version, upto)
	h.tell(recs)
	if notices {
		h.ring(min(before, known))
	}
	return true, nil
}

// buryDead wakes those who wait for a record of an owner that died.
func (s *Store) buryDead() {
	h := &s.hub
	h.mu.Lock()
	waiters := make([]*waiter, 0, len(h.waiters))
	for w := range h.waiters {
		waiters = append(waiters, w)
	}
	h.mu.Unlock()
	census := s.census()
	for _, w := range waiters {
		if alive, err := census.alive(w.owner); err != nil || !alive { // the waiter finds the error by itself
			w.wake()
		}
	}
}
