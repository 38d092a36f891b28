package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/point"
)

// halts are the points at which the process is to stop.
type halts struct {
	say     func(Note)
	sending sync.WaitGroup // of late requests

	mu    sync.Mutex
	armed []Halt
	gates map[point.Point]chan struct{} // of those halted
}

func newHalts(armed []Halt, say func(Note)) *halts {
	return &halts{say: say, armed: slices.Clone(armed), gates: map[point.Point]chan struct{}{}}
}

// arm makes the next call that reaches the point halt there, once.
func (h *halts) arm(a Halt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = append(h.armed, a)
}

// at halts if the point is armed, until the harness says go. It reports whether it did.
func (h *halts) at(p point.Point, key string) bool {
	gate := h.reach(p, key, false)
	if gate == nil {
		return false
	}
	h.say(Note{Hit: p})
	<-gate // the harness kills us, stops us, or says go
	return true
}

// lateWithin bounds the sending of a request that was held back.
const lateWithin = 10 * time.Second

// late takes the request over if the point is armed for that: it sends it once the harness says go.
func (h *halts) late(ctx context.Context, p point.Point, send func(context.Context)) bool {
	gate := h.reach(p, "", true)
	if gate == nil {
		return false
	}
	h.sending.Go(func() {
		<-gate
		// What it carries, such as the demand for a leader, counts; that its sender gave up does not.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateWithin)
		defer cancel()
		send(ctx)
		h.say(Note{Sent: p})
	})
	h.say(Note{Hit: p})
	return true
}

func (h *halts) reach(p point.Point, key string, late bool) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.armed, func(a Halt) bool { return a.Point == p && a.Late == late && (a.Key == "" || key == "" || a.Key == key) })
	if i < 0 {
		return nil
	}
	h.armed = slices.Delete(h.armed, i, i+1)
	gate := make(chan struct{})
	h.gates[p] = gate
	return gate
}

// release lets the call that halted at the point go on, and has none halt there any more.
func (h *halts) release(p point.Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = slices.DeleteFunc(h.armed, func(a Halt) bool { return a.Point == p })
	if gate := h.gates[p]; gate != nil {
		close(gate)
		delete(h.gates, p)
	}
}

// releaseAll lets everything go on.
func (h *halts) releaseAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = nil
	for p, gate := range h.gates {
		close(gate)
		delete(h.gates, p)
	}
}
