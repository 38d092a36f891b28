package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// The races and bugs of the ancestor. Each test first shows that the naive way
// has the bug, so that the test can fail, and then that the guard has not.

// naive guards calls the way the ancestor's README describes: four store
// operations, each atomic by itself, strung together without a condition.
type naive struct {
	mu      sync.Mutex
	records map[string]naiveRecord
	stale   time.Duration     // after which a running record counts as crashed
	max     int               // successes
	ttl     time.Duration     // 0: none
	replay  bool              // blocked callers get the result
	at      func(spot string) // called between two operations, where others may act
}

type naiveRecord struct {
	state                       string // running, success, failed
	at                          time.Time
	result                      []byte
	attempts, executed, blocked int
}

func newNaive() *naive {
	return &naive{records: map[string]naiveRecord{}, stale: 300 * time.Second, max: 1, at: func(string) {}}
}

func (n *naive) get(id string) (naiveRecord, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.records[id]
	return r, ok
}

func (n *naive) put(id string, r naiveRecord) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[id] = r
}

func (n *naive) delete(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.records, id)
}

// claim is INSERT OR IGNORE.
func (n *naive) claim(id string, r naiveRecord) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.records[id]; ok {
		return false
	}
	n.records[id] = r
	return true
}

// call returns fn's value, the recorded one, or nil if it is blocked.
func (n *naive) call(id string, fn func() (any, error)) (any, error) {
	r, ok := n.get(id)
	n.at("after get")
	next := naiveRecord{state: "running", at: time.Now(), attempts: 1}
	if ok {
		switch {
		case r.state == "running" && time.Since(r.at) > n.stale, // crashed
			r.state == "failed", // failed records auto-clear
			r.state == "success" && n.ttl > 0 && time.Since(r.at) >= n.ttl:
			n.delete(id)
		case r.state == "success" && r.executed < n.max:
			next.executed, next.attempts = r.executed, r.attempts+1
			n.delete(id)
		default:
			return n.blockedBy(id, r)
		}
	}
	if !n.claim(id, next) {
		r, _ := n.get(id)
		return n.blockedBy(id, r)
	}
	value, err := fn()
	if err == nil {
		next.result, err = json.Marshal(value)
	}
	if next.state, next.at = "success", time.Now(); err != nil {
		next.state = "failed"
	} else {
		next.executed++
	}
	n.put(id, next)
	return value, err
}

func (n *naive) blockedBy(id string, r naiveRecord) (any, error) {
	r.attempts, r.blocked, r.at = r.attempts+1, r.blocked+1, time.Now()
	n.put(id, r)
	if n.replay && r.result != nil {
		var value any
		err := json.Unmarshal(r.result, &value)
		return value, err
	}
	return nil, nil
}

var charge = ledger.Call{Tool: "charge_card", Args: map[string]int{"cents": 4200}}

// The ancestor reads a stale record, deletes it, claims anew: two workers that
// both have read it both run.
func TestStaleRecordRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		effects, n := 0, newNaive()
		n.put("c", naiveRecord{state: "running", at: time.Now()})
		time.Sleep(n.stale + time.Second)
		run := func() (any, error) { effects++; return 1, nil }
		n.at = func(string) { // the first worker has read it; now the second does the whole call
			n.at = func(string) {}
			_, _ = n.call("c", run)
		}
		_, _ = n.call("c", run)
		wantCount(t, "naive: effects", effects, 2)
	})

	m, c := ledger.NewMemory(), &counter{}
	slow := newScripted(m.Session())
	first, second := newGuard(t, slow, nil), newGuard(t, m.Session(), nil)
	abandon(t, m, first, charge, ledger.DoubtRetry)
	reached, may := make(chan struct{}), make(chan struct{})
	pass := func(ctx context.Context, do func(context.Context) error) error { return do(ctx) }
	slow.on("claim", pass, gate(reached, may)) // the first claim finds the record, the second takes it over
	late := make(chan error)
	go func() {
		_, err := ledger.Do(t.Context(), first, charge, c.run)
		late <- err
	}()
	<-reached
	_, err := ledger.Do(t.Context(), second, charge, c.run)
	wantErr(t, err)
	close(may)
	blocked(t, <-late, ledger.ErrDuplicate)
	wantCount(t, "effects", c.count(), 1)
	wantCount(t, "takeovers", stored(t, m, first, charge).Takeovers, 1)
}

// The ancestor's blocked caller writes its count with the state it read: what
// has succeeded since is running again, and runs again once it is stale.
func TestBlockedCallerDoesNotReviveSuccess(t *testing.T) {
	n := newNaive()
	_, _ = n.call("c", func() (any, error) {
		n.at = func(string) { // the blocked caller has read "running"; the tool ends
			n.put("c", naiveRecord{state: "success", at: time.Now(), executed: 1})
		}
		_, _ = n.call("c", nil)
		r, _ := n.get("c")
		if r.state != "running" {
			t.Errorf("naive: state %s, want running again", r.state)
		}
		return nil, nil
	})

	m, c := ledger.NewMemory(), &counter{}
	worker, other := newGuard(t, m.Session(), nil), newGuard(t, m.Session(), nil)
	_, err := ledger.Do(t.Context(), worker, charge, func(ctx context.Context) (int, error) {
		_, err := ledger.Do(context.WithoutCancel(t.Context()), other, charge, c.run)
		blocked(t, err, ledger.ErrInProgress)
		return c.run(ctx)
	})
	wantErr(t, err)
	if _, err := other.Stats(t.Context(), ledger.Filter{}); err != nil { // writes what the blocked caller counted
		t.Fatal(err)
	}
	r := stored(t, m, worker, charge)
	if r.State != ledger.StateSucceeded || r.Blocked != 1 || r.Attempts != 2 {
		t.Errorf("%s, blocked %d, attempts %d; want succeeded, 1, 2", r.State, r.Blocked, r.Attempts)
	}
	_, err = ledger.Do(t.Context(), other, charge, c.run)
	blocked(t, err, ledger.ErrDuplicate)
	wantCount(t, "effects", c.count(), 1)
}

// The ancestor's worker that was taken for dead writes its failure over the
// new owner's claim, and a third worker runs beside it.
func TestZombieFailureLeavesNewClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNaive()
		var together atomic.Int32
		_, _ = n.call("c", func() (any, error) {
			time.Sleep(n.stale + time.Second) // taken for dead
			go func() {
				_, _ = n.call("c", func() (any, error) { // the new owner
					together.Add(1)
					time.Sleep(time.Minute)
					together.Add(-1)
					return nil, nil
				})
			}()
			synctest.Wait()
			return nil, errTool // and now the zombie fails
		})
		_, _ = n.call("c", func() (any, error) {
			if together.Add(1) != 2 {
				t.Error("naive: the third worker does not run beside the new owner")
			}
			return nil, nil
		})
		time.Sleep(2 * time.Minute)
	})

	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		lost := m.Session()
		zombie, owner, third := newGuard(t, lost, nil), newGuard(t, m.Session(), nil), newGuard(t, m.Session(), nil)
		c, ended := &counter{}, make(chan error)
		_, err := ledger.Do(t.Context(), zombie, charge, func(ctx context.Context) (int, error) {
			lost.Expire()
			go func() {
				_, err := ledger.Do(t.Context(), owner, charge, func(ctx context.Context) (int, error) {
					time.Sleep(time.Minute)
					return c.run(ctx)
				})
				ended <- err
			}()
			synctest.Wait()
			return 0, ledger.NotDone(errTool)
		})
		wantErr(t, err, errTool, ledger.ErrUnrecorded, ledger.ErrFenced)
		_, err = ledger.Do(t.Context(), third, charge, c.run)
		blocked(t, err, ledger.ErrInProgress)
		wantErr(t, <-ended)
		_, err = ledger.Do(t.Context(), third, charge, c.run)
		blocked(t, err, ledger.ErrDuplicate)
		wantCount(t, "effects", c.count(), 1)
	})
}

// The ancestor's blocked calls touch the record: asked often enough, a daily report never runs again.
func TestTTLDoesNotSlide(t *testing.T) {
	for _, slides := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, n := &counter{}, newNaive()
			n.ttl = 24 * time.Hour
			g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{TTL: 24 * time.Hour}))
			for range 50 { // every hour
				if slides {
					_, _ = n.call("c", func() (any, error) { return c.run(t.Context()) })
				} else if _, err := ledger.Do(t.Context(), g, charge, c.run); err != nil {
					blocked(t, err, ledger.ErrDuplicate)
				}
				time.Sleep(time.Hour)
			}
			wantCount(t, "effects in 50 hours", c.count(), map[bool]int{true: 1, false: 3}[slides])
		})
	}
}

// The ancestor clears a failed record, and with it the count of successes.
func TestMaxSurvivesFailure(t *testing.T) {
	outcomes := []error{nil, errTool, nil, nil, nil}
	successes, n := 0, newNaive()
	n.max = 2
	for _, outcome := range outcomes {
		_, _ = n.call("c", func() (any, error) {
			if outcome == nil {
				successes++
			}
			return nil, outcome
		})
	}
	wantCount(t, "naive: successes", successes, 3)

	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Max: 2}))
	successes = 0
	for _, outcome := range outcomes {
		_, _ = ledger.DoErr(t.Context(), g, charge, func(context.Context) error {
			if outcome == nil {
				successes++
			}
			return ledger.NotDone(outcome)
		})
	}
	wantCount(t, "successes", successes, 2)
}

// The ancestor's encoding of a result fails after the effect: the call is
// recorded as failed, and runs again.
func TestUnencodableResultKeepsEffect(t *testing.T) {
	effects, n := 0, newNaive()
	handle := func() (any, error) { effects++; return make(chan int), nil }
	_, _ = n.call("c", handle)
	_, _ = n.call("c", handle)
	wantCount(t, "naive: effects", effects, 2)

	m := ledger.NewMemory()
	g := newGuard(t, m, withPolicy(ledger.Policy{Replay: true}))
	effects = 0
	run := func(context.Context) (chan int, error) { effects++; return make(chan int), nil }
	res, err := ledger.Do(t.Context(), g, charge, run)
	if err != nil || res.Value == nil {
		t.Errorf("got %v, %v; want the channel", res.Value, err)
	}
	_, err = ledger.Do(t.Context(), g, charge, run)
	blocked(t, err, ledger.ErrResultOmitted)
	wantCount(t, "effects", effects, 1)
	if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || !r.ResultOmitted {
		t.Errorf("%s, omitted %v; want succeeded, true", r.State, r.ResultOmitted)
	}
}

// The ancestor answers nil for a blocked call, and for a replayed null.
func TestReplayedNullIsNotBlocked(t *testing.T) {
	null := func() (any, error) { return nil, nil }
	isBlocked := func(v any, err error) bool { return v == nil && err == nil }
	n := newNaive()
	n.replay = true
	_, _ = n.call("c", null)
	if !isBlocked(n.call("c", null)) {
		t.Error("naive: a replayed null is told from a blocked call")
	}

	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Replay: true}))
	for i := range 3 {
		res, err := ledger.Do(t.Context(), g, charge, func(context.Context) (*int, error) { return nil, nil })
		if err != nil || res.Value != nil || res.Replayed != (i > 0) {
			t.Errorf("call %d: got %v, replayed %v, %v; want nil, %v, no error", i, res.Value, res.Replayed, err, i > 0)
		}
	}
}

// The ancestor reads counts, adds, and writes them; and drops them with a failed record.
func TestCountsAreNotLost(t *testing.T) {
	n := newNaive()
	_, _ = n.call("c", func() (any, error) { return nil, errors.New("no") })
	_, _ = n.call("c", func() (any, error) { return nil, nil })
	n.at = func(string) { // between one blocked caller's read and write, another is blocked
		n.at = func(string) {}
		_, _ = n.call("c", nil)
	}
	_, _ = n.call("c", nil)
	if r, _ := n.get("c"); r.attempts >= 4 {
		t.Errorf("naive: %d attempts, none lost", r.attempts)
	}

	m := ledger.NewMemory()
	var guards []*ledger.Guard
	for range 4 {
		guards = append(guards, newGuard(t, m.Session(), nil))
	}
	c := &counter{}
	_, err := ledger.Do(t.Context(), guards[0], charge, func(context.Context) (int, error) { return 0, ledger.NotDone(errTool) })
	wantErr(t, err, errTool)
	_, err = ledger.Do(t.Context(), guards[0], charge, c.run)
	wantErr(t, err)
	var all sync.WaitGroup
	for _, g := range guards {
		for range 8 {
			all.Go(func() {
				for range 50 {
					_, err := ledger.Do(t.Context(), g, charge, c.run)
					blocked(t, err, ledger.ErrDuplicate)
				}
			})
		}
		all.Go(func() { // flushes beside them
			for range 20 {
				_, err := g.Stats(t.Context(), ledger.Filter{})
				wantErr(t, err)
			}
		})
	}
	all.Wait()
	var got ledger.Stats
	for _, g := range guards {
		if got, err = g.Stats(t.Context(), ledger.Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := (ledger.Stats{Actions: 1, Attempts: 2 + 4*8*50, Executed: 1, Blocked: 4 * 8 * 50}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
