package worker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// A call halts once where it was told to, and goes on when it is told to.
func TestHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []Note
		h := newHalts([]Halt{{Point: point.Claimed, Key: "a"}}, func(n Note) { said = append(said, n) })
		if h.at(point.Claimed, "b") || h.at(point.Finished, "a") {
			t.Error("a call halted where nothing was armed")
		}
		passed := false
		go func() { passed = h.at(point.Claimed, "a") }()
		synctest.Wait()
		if len(said) != 1 || said[0].Hit != point.Claimed || passed {
			t.Errorf("said %+v, passed %v; want a halt", said, passed)
		}
		h.release(point.Claimed)
		synctest.Wait()
		if !passed {
			t.Error("it did not go on")
		}
		if h.at(point.Claimed, "a") {
			t.Error("it halted twice")
		}
	})
}

// A halt that nobody has reached when the harness says go is called off: it would hold a later call for good.
func TestHaltsAreCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHalts([]Halt{{Point: point.Claimed}, {Point: point.Finished}}, func(Note) {})
		h.release(point.Claimed)
		halted := make(chan bool, 1)
		go func() { halted <- h.at(point.Claimed, "a") }()
		synctest.Wait()
		select {
		case got := <-halted:
			if got {
				t.Error("it halted")
			}
		default:
			t.Error("it halts, and nobody knows of it")
		}
		if len(h.armed) != 1 {
			t.Errorf("%d points are armed, want the other one", len(h.armed))
		}
		h.releaseAll()
	})
}

// A late request is sent when the harness says go, although its sender's context has ended by then.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []Note
		h := newHalts([]Halt{{Point: point.ClaimSent, Late: true}}, func(n Note) { said = append(said, n) })
		sent := false
		send := func(ctx context.Context) { sent = ctx.Err() == nil }
		ctx, cancel := context.WithCancel(t.Context())
		if !h.late(ctx, point.ClaimSent, send) {
			t.Fatal("it was not taken over")
		}
		if h.late(ctx, point.ClaimSent, send) {
			t.Error("the copy that is sent again was taken over, too")
		}
		cancel()
		synctest.Wait()
		if sent {
			t.Error("it was sent at once")
		}
		h.release(point.ClaimSent)
		h.sending.Wait()
		if !sent {
			t.Error("it was not sent, or under its sender's context")
		}
		if len(said) != 2 || said[0].Hit != point.ClaimSent || said[1].Sent != point.ClaimSent {
			t.Errorf("said %+v", said)
		}
	})
}
