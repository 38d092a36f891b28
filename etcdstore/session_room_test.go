package etcdstore

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

func TestSessionsOpenAnotherWhenFull(t *testing.T) {
	inBubble(t, func(b *bench) {
		first := b.acquire()
		for range maxKeys - 1 {
			if b.acquire() != first {
				b.Fatal("another session although the first has room")
			}
		}
		second := b.acquire()
		if second == first || second.lease == first.lease {
			b.Fatal("the claim beyond the limit got the full session")
		}
		first.release()
		if b.acquire() != first {
			b.Error("the first session has room again, and was not taken")
		}
		b.wantCalls("grant", 2, 2)

		// What happens to the one does not touch the other.
		b.f.mu.Lock()
		b.f.drop(second.lease)
		b.f.mu.Unlock()
		b.wantLost(second, true)
		b.wantLost(first, false)
	})
}

func TestSessionsAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		var last *session
		for range maxSessions * maxKeys {
			last = b.acquire()
		}
		_, err := b.m.acquire(b.Context(), "another")
		if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrNotWritten) {
			b.Errorf("acquire: %v; want ErrUnavailable, and nothing about an earlier copy of the claim", err)
		}
		last.release()
		b.acquire()
		b.wantCalls("grant", maxSessions, maxSessions)
	})
}

func TestSessionsRetire(t *testing.T) {
	inBubble(t, func(b *bench) {
		first := b.acquire()
		for range maxKeys - 1 {
			b.acquire()
		}
		second := b.acquire()
		second.release()
		time.Sleep(time.Hour)
		b.wantLost(second, false) // the first has no room
		first.release()
		time.Sleep(5 * time.Second)
		b.wantLost(second, true)
		b.wantLost(first, false)
		if b.modOf(second) != 0 {
			b.Error("the lease was not given back")
		}
		<-b.m.lost(second.name)
		time.Sleep(time.Hour)
		b.wantLost(first, false) // empty or not, it stays
		b.wantWarnings(0)
	})
}

// A copy that has no answer, and that nobody sends again, keeps no session for ever.
func TestSessionsRetireWithClaimsThatWereGivenUp(t *testing.T) {
	inBubble(t, func(b *bench) {
		first := b.acquire()
		for range maxKeys - 1 {
			b.acquire()
		}
		second := b.acquire()
		suspectOne(second)
		second.release()
		first.release()
		time.Sleep(10 * time.Minute)
		b.wantLost(second, true)
		b.wantLost(first, false)
		b.wantCalls("put", 3, 3) // two to open, and one so that nothing lands while the keys are counted
	})
}

// A claim whose caller gave up may stand after all.
func TestSessionsDoNotRetireWithKeys(t *testing.T) {
	inBubble(t, func(b *bench) {
		first := b.acquire()
		for range maxKeys - 1 {
			b.acquire()
		}
		second := b.acquire()
		second.release()
		first.release()
		b.f.mu.Lock()
		b.f.set("p/running/x", "", second.lease)
		b.f.mu.Unlock()
		time.Sleep(10 * time.Minute)
		b.wantLost(second, false)
		b.wantCalls("held", 1, 10)
		second.release() // it is over now
		b.f.mu.Lock()
		b.f.del("p/running/x")
		b.f.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.wantLost(second, true)
	})
}
