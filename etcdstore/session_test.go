package etcdstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(runner{m}) }

// A runner runs the tests, and then ends what the examples share, before goroutines are looked for.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	defer func() { AfterTests() }()
	return r.m.Run()
}

// usable is for how long a lease of 15 s can be relied upon.
const usable = 15*time.Second - 15*time.Second/8

func TestSessionIsRenewedOnTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		b.wantCalls("renew", 0, 0)
		time.Sleep(10 * time.Minute)
		b.wantLost(x, false)
		b.wantCalls("renew", 600/5, 600*4/15+1)
		b.wantCalls("grant", 1, 1)
		b.wantCalls("get", 0, 0)
		if y := b.acquire(); y != x {
			b.Error("a second claim got another session")
		}
		b.wantWarnings(0)
	})
}

func TestSessionBelievesTheServersTTL(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.f.ttl = 40 * time.Second
		x := b.acquire()
		time.Sleep(9 * time.Second)
		b.wantCalls("renew", 0, 0)
		b.f.setFault(down)
		b.within("lost after", b.lostAfter(x), 29*time.Second, 0) // 40 s without 9, and the greatest margin
	})
}

func TestSessionIsValidFromSendTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			if method == "renew" {
				return errDown
			}
			if method == "grant" {
				time.Sleep(2 * time.Second)
			}
			apply()
			return nil
		})
		x := b.acquire()
		b.within("lost after", b.lostAfter(x), usable-2*time.Second, 0)
		b.wantWarnings(1)
		b.wantCalls("renew", 10, 60) // no busy loop
		b.wantCalls("revoke", 0, 0)  // tools may still be at work
	})
}

func TestSessionCountsARenewalFromSendTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		var sent time.Time
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			switch {
			case method != "renew":
				apply()
			case sent.IsZero():
				sent = time.Now()
				apply()
				time.Sleep(2 * time.Second) // the answer is slow
			default:
				return errDown
			}
			return nil
		})
		x := b.acquire()
		b.lostAfter(x)
		b.within("lost after the renewal was sent", time.Since(sent), usable, 0)
	})
}

// The cluster hears the renewals, but we do not hear it.
func TestSessionWithLostAnswers(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		b.f.setFault(func(ctx context.Context, method string, apply func()) error {
			apply()
			if method == "renew" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		b.within("lost after", b.lostAfter(x), usable, 0)
		b.wantCalls("renew", 3, 6)
		y := b.acquire()
		if y == x || b.modOf(x) == 0 {
			b.Error("the next claim got the lost session, or that one was taken from its tools")
		}
		b.wantWarnings(1)
	})
}

// stopped is about a process that was stopped: it sees the loss with the first look, whatever its timers do.
func stopped(t *testing.T, look func(b *bench, x *session)) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		other := b.m.lost(x.name)
		cont := make(chan struct{})
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			if method == "renew" {
				<-cont // the loop stands still, deadlines notwithstanding
				return errDown
			}
			apply()
			return nil
		})
		time.Sleep(usable - time.Millisecond)
		b.wantLost(x, false)
		time.Sleep(time.Millisecond)
		if x.isLost() {
			b.Fatal("the loop was to stand still")
		}
		look(b, x)
		select {
		case <-other:
		default:
			b.Fatal("the loss was not seen at once")
		}
		if y := b.acquire(); y == x {
			b.Error("the next claim got the lost session")
		}
		close(cont)
	})
}

func TestSessionOfAStoppedProcess(t *testing.T) {
	for name, look := range map[string]func(b *bench, x *session){
		"LeaseLost": func(b *bench, x *session) { b.m.lost(x.name) },
		"acquire":   func(b *bench, x *session) { b.acquire() },
	} {
		t.Run(name, func(t *testing.T) { stopped(t, look) })
	}
}

func TestSessionSeesTheWallClockJump(t *testing.T) {
	for _, look := range []bool{true, false} {
		inBubble(t, func(b *bench) {
			var jump atomic.Int64
			b.m.wall = func(now time.Time) time.Time { return now.Round(0).Add(time.Duration(jump.Load())) }
			x := b.acquire()
			jump.Store(int64(-time.Hour))
			time.Sleep(time.Minute)
			b.wantLost(x, false)
			if !look { // a clock that is set back does not stretch a lease
				b.f.setFault(down)
				jump.Add(int64(-time.Hour))
				b.within("lost after", b.lostAfter(x), usable-5*time.Second, 5*time.Second)
				b.f.setFault(nil)
				x = b.acquire()
			}
			jump.Add(int64(time.Minute)) // the machine was suspended
			if look {
				<-b.m.lost(x.name)
				return
			}
			b.within("lost after", b.lostAfter(x), 0, time.Second)
		})
	}
}

func TestSessionIsLostAtOnce(t *testing.T) {
	for name, harm := range map[string]func(f *fakeLessor, x *session){
		"revoked":     func(f *fakeLessor, x *session) { f.drop(x.lease) },
		"deleted":     func(f *fakeLessor, x *session) { f.del(x.key) },
		"overwritten": func(f *fakeLessor, x *session) { f.set(x.key, "mine", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				x := b.acquire()
				told := b.m.lost(x.name)
				synctest.Wait()
				b.f.mu.Lock()
				harm(b.f, x)
				b.f.mu.Unlock()
				b.wantLost(x, true)
				<-told
				<-b.m.lost(x.name)
				b.wantWarnings(1)
				suspectOne(x)
				if y := b.reacquire(); y == x {
					b.Error("the next claim got the lost session")
				}
				b.wantCalls("remove", 0, 0) // known to be gone
			})
		})
	}
}

func TestSessionWatchBeginsAnew(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		for range 20 {
			synctest.Wait()
			b.f.endWatches()
			time.Sleep(time.Second)
		}
		b.wantLost(x, false)
		b.wantCalls("watch", 21, 21)
		b.f.setFault(func(_ context.Context, method string, apply func()) error {
			if method == "get" {
				return errDown
			}
			apply()
			return nil
		})
		b.f.endWatches() // and what happens meanwhile is found by reading
		synctest.Wait()
		b.f.mu.Lock()
		b.f.del(x.key)
		b.f.mu.Unlock()
		time.Sleep(3 * time.Second)
		b.wantLost(x, false)
		b.wantCalls("get", 20, 40)
		b.f.setFault(nil)
		b.within("lost after", b.lostAfter(x), 0, time.Second)
	})
}

func TestSessionInDoubt(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		for range 1000 { // requests that were refused for another lease's sake
			x.doubt()
			time.Sleep(time.Millisecond)
		}
		b.wantLost(x, false)
		b.wantCalls("renew", 10, 21)
		b.f.mu.Lock()
		b.f.mute = true // so that nothing but the renewal tells
		b.f.drop(x.lease)
		b.f.mu.Unlock()
		x.doubt()
		b.within("lost after", b.lostAfter(x), 0, minRenewGap)
	})
}

func TestSessionWhileTheClusterIsDown(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		b.f.setFault(down)
		b.within("lost after", b.lostAfter(x), usable-5*time.Second, 5*time.Second)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		_, err := b.m.acquire(ctx, "another")
		if !errors.Is(err, errDown) || !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("acquire: %v; want both what the cluster said, and the end of the context", err)
		}
		b.wantCalls("grant", 100, 500) // several per second, and no more
		n := b.f.count("grant")
		time.Sleep(time.Hour) // nobody waits: nothing is sent
		b.wantCalls("grant", n, n+1)
		b.wantCalls("renew", 10, 60)
		go func() {
			time.Sleep(10 * time.Second)
			b.f.setFault(nil)
		}()
		start := time.Now()
		y := b.acquire()
		b.within("opened after", time.Since(start), 10*time.Second, time.Second)
		if y == x {
			b.Error("the next claim got the lost session")
		}
		b.wantWarnings(1)
	})
}
