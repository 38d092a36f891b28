package dashboard

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/callview"
)

const (
	flushEvery   = 250 * time.Millisecond // changes go out at most so often
	maxChanges   = 100                    // in one message; what is more is counted
	lookEvery    = 5 * time.Second        // at the totals, when nothing happens
	lookSoonest  = time.Second            // at the totals, when something does
	lookShare    = 10                     // looking may take a tenth of the time
	firstPause   = 100 * time.Millisecond // before a watch that broke begins again
	lastPause    = 2 * time.Second
	rateStep     = 10 * time.Second
	maxPoints    = 6 * 360 // of rateStep: 6 hours
	maxKnown     = 10_000  // calls whose last state is remembered
	pendingSends = 16      // messages that a page may be behind
)

// A message is one event of a stream.
type message struct {
	name string
	data []byte
}

// A subscriber is one page that follows.
type subscriber struct {
	events chan message
	mu     sync.Mutex
	missed int // changes that it was too slow for
}

// A feed follows the store for all pages, as long as there is one.
type feed struct {
	d *Dashboard

	mu      sync.Mutex
	subs    map[*subscriber]bool
	stop    context.CancelFunc // of run; nil: it does not run
	stopped chan struct{}
	last    *overview // nil: none yet
	points  []point
	pokes   chan struct{}

	looking chan struct{} // holds one while somebody looks at the totals
	looked  time.Time     // when last was known; guarded by mu

	changed sync.Mutex // guards what follows
	pending []change
	skipped int
	known   map[ledger.ID]ledger.State
	order   []ledger.ID // of known, oldest first
}

// A point of the chart: how many in the rateStep before At.
type point struct {
	At       time.Time `json:"at"`
	Executed int64     `json:"executed"`
	Blocked  int64     `json:"blocked"`
}

// A change is one transition of a call.
type change struct {
	At      time.Time      `json:"at"`
	ID      string         `json:"id"`
	Call    *callview.Call `json:"call,omitempty"` // without arguments and result; nil if it was deleted
	Was     ledger.State   `json:"was,omitempty"`
	Deleted bool           `json:"deleted,omitempty"`
}

func newFeed(d *Dashboard) *feed {
	return &feed{d: d, subs: map[*subscriber]bool{}, pokes: make(chan struct{}, 1), looking: make(chan struct{}, 1), known: map[ledger.ID]ledger.State{}}
}

func (f *feed) subscribe() *subscriber {
	s := &subscriber{events: make(chan message, pendingSends)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[s] = true
	if f.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f.stop, f.stopped = cancel, make(chan struct{})
		go f.run(ctx, f.stopped)
	}
	return s
}

// unsubscribe returns when, after the last subscriber, nothing follows the store any more.
func (f *feed) unsubscribe(s *subscriber) {
	f.mu.Lock()
	delete(f.subs, s)
	if len(f.subs) > 0 {
		f.mu.Unlock()
		return
	}
	stop, stopped := f.stop, f.stopped
	f.stop = nil
	f.mu.Unlock()
	if stop != nil {
		stop()
		<-stopped
	}
}

// poke has the totals looked at soon.
func (f *feed) poke() {
	select {
	case f.pokes <- struct{}{}:
	default:
	}
}

// run follows the store until ctx ends.
func (f *feed) run(ctx context.Context, stopped chan<- struct{}) {
	defer close(stopped)
	var parts sync.WaitGroup
	defer parts.Wait()
	if w, ok := f.d.store.(ledger.Watcher); ok {
		parts.Go(func() { f.watch(ctx, w) })
	}
	parts.Go(func() { f.flush(ctx) })
	f.count(ctx)
}

// watch gathers changes.
func (f *feed) watch(ctx context.Context, w ledger.Watcher) {
	pause := firstPause
	for ctx.Err() == nil {
		for c, err := range w.Watch(ctx, ledger.WatchOptions{}) {
			if err != nil {
				break
			}
			pause = firstPause
			if c.Kind != ledger.ChangeSync {
				f.add(&c)
			}
			f.poke()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

func (f *feed) add(c *ledger.Change) {
	f.changed.Lock()
	defer f.changed.Unlock()
	out := change{At: time.Now().UTC(), ID: c.ID.String(), Was: f.known[c.ID], Deleted: c.Kind == ledger.ChangeDelete}
	if c.Kind == ledger.ChangePut && c.Record != nil {
		out.Call = callview.Of(c.Record)
		out.Call.Args, out.Call.Result, out.Call.Log = nil, nil, nil
	}
	if out.Call == nil && !out.Deleted {
		return
	}
	f.remember(c, &out)
	if len(f.pending) == maxChanges {
		copy(f.pending, f.pending[1:])
		f.pending[maxChanges-1] = out
		f.skipped++
		return
	}
	f.pending = append(f.pending, out)
}

func (f *feed) remember(c *ledger.Change, out *change) {
	if out.Deleted {
		delete(f.known, c.ID)
		return
	}
	if _, ok := f.known[c.ID]; !ok {
		f.order = append(f.order, c.ID)
		for len(f.order) > maxKnown {
			delete(f.known, f.order[0])
			f.order = f.order[1:]
		}
	}
	f.known[c.ID] = c.Record.Status()
}

// flush sends what was gathered.
func (f *feed) flush(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		f.changed.Lock()
		changes, skipped := f.pending, f.skipped
		f.pending, f.skipped = nil, 0
		f.changed.Unlock()
		if len(changes) > 0 {
			f.send("changes", changesOut{changes, skipped}, len(changes)+skipped)
		}
	}
}

type changesOut struct {
	Changes []change `json:"changes"`
	Skipped int      `json:"skipped"`
}

// send sends a message to every page; one that is too slow is told later how many changes it missed.
func (f *feed) send(name string, value any, changes int) {
	data, err := json.Marshal(value)
	if err != nil {
		f.d.o.Logger.Error("dashboard: a message has no JSON form", "message", name, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.mu.Lock()
		if s.missed > 0 && len(s.events) < cap(s.events)-1 {
			if late, err := json.Marshal(changesOut{[]change{}, s.missed}); err == nil {
				s.events <- message{"changes", late} // there is room: only this function sends
				s.missed = 0
			}
		}
		select {
		case s.events <- message{name, data}:
		default:
			s.missed += changes
		}
		s.mu.Unlock()
	}
}

// count looks at the totals: soon after a change, and else now and then.
func (f *feed) count(ctx context.Context) {
	ok := true
	var next time.Time // of the chart
	var before *overview
	for ctx.Err() == nil {
		began := time.Now()
		o := f.fresh(ctx)
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		if o.Health.OK != ok {
			ok = o.Health.OK
			f.send("store", map[string]any{"ok": ok, "error": o.Health.Error}, 0)
		}
		f.send("overview", o, 0)
		if o.Summary != nil && !began.Before(next) {
			if before != nil {
				f.plot(began, before.Summary, o.Summary)
			}
			before, next = o, began.Add(rateStep)
		}
		rest := took * lookShare
		if !ok {
			rest = 0 // nothing was counted, and pages wait for the store to come back
		}
		soonest := time.NewTimer(max(lookSoonest, rest))
		latest := time.NewTimer(max(lookEvery, rest))
		select {
		case <-soonest.C:
		case <-ctx.Done():
		}
		select {
		case <-f.pokes:
		case <-latest.C:
		case <-ctx.Done():
		}
		soonest.Stop()
		latest.Stop()
	}
}

// fresh asks the store, and keeps the answer. Who waited while another asked takes that answer.
func (f *feed) fresh(ctx context.Context) *overview {
	asked := time.Now()
	select {
	case f.looking <- struct{}{}:
		defer func() { <-f.looking }()
	case <-ctx.Done():
		return f.d.unanswered(ctx.Err())
	}
	f.mu.Lock()
	last, looked := f.last, f.looked
	f.mu.Unlock()
	if last != nil && looked.After(asked) {
		return last
	}
	lctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	o := f.d.look(lctx)
	if ctx.Err() != nil {
		return o // its page went away: that says nothing of the store
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Summary == nil && f.last != nil { // what was known stays on the page, with its time
		o.Summary, o.Tools, o.LeftOff = f.last.Summary, f.last.Tools, f.last.LeftOff
	}
	f.last, f.looked = o, time.Now()
	return o
}

// overview returns what is known, if that is new enough, and asks the store otherwise.
func (f *feed) overview(ctx context.Context) *overview {
	f.mu.Lock()
	last, looked := f.last, f.looked
	f.mu.Unlock()
	if last != nil && time.Since(looked) < lookSoonest {
		return last
	}
	return f.fresh(ctx)
}

// plot adds a point to the chart. Counts fall when records are deleted: that is no rate.
func (f *feed) plot(at time.Time, before, now *summary) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.points = append(f.points, point{at.UTC(), max(0, now.Executed-before.Executed), max(0, now.Blocked-before.Blocked)})
	if n := len(f.points) - maxPoints; n > 0 {
		f.points = append([]point(nil), f.points[n:]...)
	}
}
