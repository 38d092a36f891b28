package etcdstore

import (
	"sync"

	"github.com/ledger-once/ledger"
)

// held are the claims that were granted to this store and are not over: what a
// finish is checked against without a request, and how many running keys a session has.
type held struct {
	mu     sync.Mutex
	claims map[ledger.ID]hold
}

type hold struct {
	fence ledger.Version
	nonce string
	sess  *session
}

func newHeld() *held { return &held{claims: make(map[ledger.ID]hold)} }

// add remembers a granted claim. One that it replaces was stolen by it.
func (h *held) add(r *ledger.Record, sess *session) {
	h.mu.Lock()
	old, stolen := h.claims[r.ID]
	h.claims[r.ID] = hold{r.Fence, r.Nonce, sess}
	h.mu.Unlock()
	if stolen {
		old.sess.release()
	}
}

// nonce returns the nonce of the claim with that fence, if it was granted here.
func (h *held) nonce(id ledger.ID, fence ledger.Version) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.claims[id]
	return c.nonce, ok && c.fence == fence
}

// over forgets the claim with that fence: it was finished, or lost to another.
func (h *held) over(id ledger.ID, fence ledger.Version) {
	h.mu.Lock()
	c, ok := h.claims[id]
	ok = ok && c.fence == fence
	if ok {
		delete(h.claims, id)
	}
	h.mu.Unlock()
	if ok {
		c.sess.release()
	}
}
