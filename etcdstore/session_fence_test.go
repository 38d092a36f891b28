package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestFenceMovesTheMark(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		before := x.fence()
		suspectOne(x)
		b.f.setFault(func(_ context.Context, _ string, apply func()) error {
			time.Sleep(time.Millisecond)
			apply()
			return nil
		})
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				y, err := b.m.acquire(b.Context(), "suspect")
				if err != nil || y != x {
					b.Errorf("acquire: another session, or %v", err)
				}
				if got := x.fence(); got.mark <= before.mark || got.mark != b.modOf(x) {
					b.Errorf("the mark is %d after %d; the key has %d", got.mark, before.mark, b.modOf(x))
				}
			})
		}
		group.Wait()
		b.wantCalls("put", 2, 2) // to open, and to fence
		b.acquire()
		b.wantCalls("put", 2, 2)
		b.wantCalls("grant", 1, 1)
	})
}

func TestFenceIsSentUntilItIsAnswered(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		suspectOne(x)
		var late func()
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			if method == "put" && late == nil {
				late = apply // lands when everything is over
				return errDown
			}
			apply()
			return nil
		})
		b.reacquire()
		fenced := x.fence().mark
		late()
		synctest.Wait() // the watch tells of it
		if got := x.fence().mark; got <= fenced || got != b.modOf(x) {
			b.Errorf("the mark is %d after %d; the key has %d", got, fenced, b.modOf(x))
		}
		b.wantLost(x, false)
	})
}

func TestFenceThatIsRefused(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		mark := x.fence().mark
		suspectOne(x)
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			if method == "put" {
				return rpctypes.ErrPermissionDenied
			}
			apply()
			return nil
		})
		for range 3 {
			if _, err := b.m.acquire(b.Context(), "suspect"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
				b.Fatalf("acquire: %v; want the refusal", err)
			}
		}
		b.f.setFault(nil)
		if b.reacquire() != x || x.fence().mark <= mark {
			b.Error("the session was handed out without a fence")
		}
	})
}

func TestFenceOfALostSession(t *testing.T) {
	for _, when := range []string{"suspected first", "lost first", "lost while fencing"} {
		t.Run(when, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				x := b.acquire()
				b.f.setFault(func(_ context.Context, method string, apply func()) error {
					if method == "renew" {
						return errDown
					}
					if method == "put" && when == "lost while fencing" {
						b.m.lose(x, "test", false)
						return errDown
					}
					if method == "remove" && b.f.count("remove") < 3 {
						return errDown
					}
					if method == "grant" && b.modOf(x) != 0 {
						b.Error("a session is opened while copies of claims under the lost one may land")
					}
					apply()
					return nil
				})
				switch when {
				case "suspected first":
					suspectOne(x)
					b.lostAfter(x)
				case "lost first":
					b.lostAfter(x)
					suspectOne(x)
				case "lost while fencing":
					suspectOne(x)
					ctx, cancel := context.WithTimeout(b.Context(), time.Second)
					_, _ = b.m.acquire(ctx, "suspect") // the new session can not be opened with this fault
					cancel()
					b.wantLost(x, true)
				}
				if when != "lost while fencing" {
					if y := b.reacquire(); y == x {
						b.Error("the lost session was handed out")
					}
				}
				b.wantCalls("remove", 3, 3)
				if b.modOf(x) != 0 {
					b.Error("the key of the lost session still stands")
				}
			})
		})
	}
}

// A loss alone has nothing to be fenced, and its tools go on until the lease expires.
func TestLostSessionKeepsItsKey(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		b.m.lose(x, "test", false)
		b.acquire()
		b.wantCalls("remove", 0, 0)
		if b.modOf(x) == 0 {
			b.Error("the key of the lost session is gone")
		}
		suspectOne(x) // a copy of a claim under the lost session, after the new one was opened
		b.reacquire()
		b.wantCalls("remove", 1, 1)
	})
}

func TestLearn(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		mark := x.fence().mark
		kv := func(mod int64) []*mvccpb.KeyValue {
			return []*mvccpb.KeyValue{{CreateRevision: x.created, ModRevision: mod, Value: []byte(x.value)}}
		}
		for _, step := range []struct{ mod, want int64 }{{mark, mark}, {mark + 2, mark + 2}, {mark + 1, mark + 2}, {mark + 9, mark + 9}} {
			x.learn(kv(step.mod))
			if got := x.fence().mark; got != step.want {
				b.Errorf("after %d the mark is %d, want %d", step.mod, got, step.want)
			}
		}
		suspectOne(x)
		x.learn(kv(mark + 10)) // shows that the copy can not land any more
		b.reacquire()
		b.wantCalls("put", 1, 1)
		x.learn(nil)
		b.wantLost(x, true)
	})
}

// What one claim is waiting for stalls no other, and is waited for by whoever sends it again.
func TestFenceIsForItsClaimAlone(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		old := x.fence().mark
		suspectOne(x)
		x.suspect("second", old)
		for range 10 {
			if b.acquire() != x {
				b.Error("the dirty session was not handed out")
			}
		}
		b.wantCalls("put", 1, 1)
		b.f.setFault(func(_ context.Context, _ string, apply func()) error {
			apply()
			if x.suspect("while fencing", old); x.fence().mark == old {
				x.suspect("third", old)
			}
			return nil
		})
		b.reacquire()
		b.wantCalls("put", 2, 2)
		for _, nonce := range []string{"second", "third", "while fencing"} { // all was over with the one fence
			b.acquireFor(nonce)
		}
		x.suspect("late", old) // of a copy that the fence has seen to
		b.acquireFor("late")
		b.wantCalls("put", 2, 2)
	})
}

func TestFenceIsForAllWhenTooManyAreWithoutAnAnswer(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		mark := x.fence().mark
		for i := range maxUnanswered - 1 {
			x.suspect(fmt.Sprint("claim ", i), mark)
		}
		b.acquire()
		b.wantCalls("put", 1, 1)
		x.suspect("one more", mark)
		b.acquire()
		b.wantCalls("put", 2, 2)
		b.acquireFor("one more")
		b.wantCalls("put", 2, 2)
	})
}

// TestNoCopyLandsAfterItsFence plays claims of a few records against a cluster that loses
// answers, and carries requests out long after it was asked to.
func TestNoCopyLandsAfterItsFence(t *testing.T) {
	beside := 0
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				m := &copies{bench: b, rng: rand.New(rand.NewPCG(seed, 1)), records: make(map[int]string), holders: make(map[int]string), settled: make(map[string]bool)}
				m.run()
				beside += m.beside
			})
		})
	}
	if beside < 40 {
		t.Errorf("%d claims were granted while the session was dirty; want more", beside)
	}
}

// copies are claims by several callers, each the first of its record. All are settled: the caller
// sends the claim until the answer is definite, and removes the record where it was granted.
type copies struct {
	*bench
	rngMu   sync.Mutex
	rng     *rand.Rand
	lateMu  sync.Mutex // for the group only
	late    sync.WaitGroup
	records map[int]string  // the nonce of the claim that stands; with f.mu held, as are the following
	holders map[int]string  // the nonce of the claim that was granted, and is not being finished
	settled map[string]bool // the nonces of claims that had a definite answer
	beside  int             // claims that were granted under a dirty session
}

func (m *copies) dice(n int) int {
	m.rngMu.Lock()
	defer m.rngMu.Unlock()
	return m.rng.IntN(n)
}

func (m *copies) pause() { time.Sleep(time.Duration(m.dice(20)) * time.Millisecond) }

func (m *copies) later(apply func()) {
	m.lateMu.Lock()
	defer m.lateMu.Unlock()
	d := time.Duration(m.dice(2000)) * time.Millisecond
	m.late.Go(func() { time.Sleep(d); apply() })
}

func (m *copies) run() {
	m.f.setFault(func(_ context.Context, method string, apply func()) error {
		m.pause()
		switch m.dice(10) {
		case 0:
			return errDown
		case 1:
			apply()
			return errDown
		case 2:
			if method == "put" || method == "remove" || method == "grant" {
				m.later(apply)
				return errDown
			}
		}
		apply()
		return nil
	})
	var group sync.WaitGroup
	for caller := range 8 {
		group.Go(func() {
			for n := range 8 {
				m.call(m.dice(3), fmt.Sprintf("claim %d of caller %d", n, caller))
			}
		})
	}
	group.Wait()
	m.late.Wait()
	for id, nonce := range m.records {
		m.Errorf("record %d is left running by %s", id, nonce)
	}
}

// land is what the cluster does with a copy of a claim.
func (m *copies) land(id int, nonce string, with fence) (ok bool, stands string, key []*mvccpb.KeyValue) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if kv := m.f.keys[with.key]; kv != nil {
		key = append(key, kv)
		ok = kv.ModRevision == with.mark && m.records[id] == ""
	}
	if ok {
		m.f.revision++
		m.records[id] = nonce
		if m.settled[nonce] {
			m.Errorf("a copy of %s landed after a definite answer to it", nonce)
		}
	}
	return ok, m.records[id], key
}

// call claims the record, and gives it back if that was granted.
func (m *copies) call(id int, nonce string) {
	for {
		x, err := m.m.acquire(m.Context(), nonce)
		if err != nil {
			m.Errorf("%s: acquire: %v", nonce, err)
			return
		}
		m.m.mu.Lock()
		dirty := len(m.m.dirty) > 0
		m.m.mu.Unlock()
		with := x.fence()
		m.pause()
		switch m.dice(4) {
		case 0: // it was not carried out, yet
			m.later(func() { m.land(id, nonce, with) })
			x.suspect(nonce, with.mark)
		case 1: // it was, without an answer
			m.land(id, nonce, with)
			x.suspect(nonce, with.mark)
		default:
			_, stands, key := m.land(id, nonce, with)
			if stands == "" { // it was the session that did not match
				x.learn(key)
				break
			}
			m.answered(id, nonce, stands == nonce, dirty)
			x.release()
			return
		}
		x.release()
		if m.dice(40) == 0 {
			m.m.lose(x, "test", false)
		}
		m.pause()
	}
}

// answered is a definite answer to the claim, under a session that was handed out while one was dirty, or none.
func (m *copies) answered(id int, nonce string, granted, dirty bool) {
	m.f.mu.Lock()
	m.settled[nonce] = true
	if granted {
		if by := m.holders[id]; by != "" {
			m.Errorf("%s was granted while %s holds record %d", nonce, by, id)
		}
		m.holders[id] = nonce
		if dirty {
			m.beside++
		}
	}
	m.f.mu.Unlock()
	if !granted {
		return
	}
	m.pause()
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if m.records[id] != nonce {
		m.Errorf("record %d of %s is %q before it was given back", id, nonce, m.records[id])
	}
	delete(m.holders, id)
	delete(m.records, id)
}
