package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

const (
	// maxKeys is how many running keys a lease holds: to revoke one, and to check who may, costs etcd O(keys).
	maxKeys = 512
	// maxSessions bounds what one store can run at a time: 32,768 calls.
	maxSessions = 64
	// maxUnanswered is how many claims without an answer are remembered before
	// all others wait until they can not land any more.
	maxUnanswered = 10_000
)

// sessions are the leases of one store. The first is opened by the first claim,
// since a tool that only looks needs none; another when all are full, or one is lost.
type sessions struct {
	s      *Store
	lessor lessor
	wall   func(now time.Time) time.Time // the wall clock: now without its monotonic reading
	ctx    context.Context               // of everything in the background; ends with close
	cancel context.CancelFunc
	group  sync.WaitGroup // all goroutines; added to only with mu held, while open

	spare *grant // of a lease without a session's key; of the flight's goroutine, then of close

	mu     sync.Mutex
	closed bool
	live   []*session            // neither lost nor retired; in the order of their opening
	dirty  map[*session]struct{} // live or lost; see session.unanswered
	flight *flight
}

func newSessions(s *Store) *sessions {
	m := &sessions{
		s: s, lessor: etcdLessor{s.client, s.watches}, dirty: make(map[*session]struct{}),
		wall: func(now time.Time) time.Time { return now.Round(0) },
	}
	m.ctx, m.cancel = context.WithCancel(s.life)
	return m
}

// acquire returns a session for one more copy of the claim with that nonce, which
// release gives back. It waits until no earlier copy of the same claim can land any
// more; see session.unanswered. An error tells why none could be had; it sent no claim.
func (m *sessions) acquire(ctx context.Context, nonce string) (*session, error) {
	for {
		m.expire()
		x, f, err := m.take(nonce)
		if x != nil || err != nil {
			return x, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		m.mu.Lock()
		f.waiters--
		err = f.err
		closed := m.closed
		m.mu.Unlock()
		switch {
		case closed:
			return nil, ledger.ErrClosed
		case ctx.Err() != nil && err != nil:
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
	}
}

// take returns a session, or the flight to wait for.
func (m *sessions) take(nonce string) (*session, *flight, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, ledger.ErrClosed
	}
	if !m.mayLand(nonce) {
		if x := m.roomy(nil); x != nil {
			x.keys++
			return x, nil, nil
		}
		if len(m.live) >= maxSessions {
			return nil, nil, fmt.Errorf("%w: %d sessions hold %d running calls each, the most of one store; open another store, or run fewer calls at a time",
				ledger.ErrUnavailable, maxSessions, maxKeys)
		}
	}
	if m.flight == nil {
		f := &flight{done: make(chan struct{})}
		m.flight = f
		m.group.Go(func() { m.fly(f) })
	}
	m.flight.waiters++
	return nil, m.flight, nil
}

// mayLand reports whether an earlier copy of the claim with that nonce may still
// land, as far as that is known: of any claim, if too many have no answer. It is called with mu held.
func (m *sessions) mayLand(nonce string) bool {
	n := 0
	for x := range m.dirty {
		if _, ok := x.unanswered[nonce]; ok {
			return true
		}
		n += len(x.unanswered)
	}
	return n >= maxUnanswered
}

// roomy returns the oldest session, other than x, that takes one more claim. It is called with mu held.
func (m *sessions) roomy(x *session) *session {
	for _, y := range m.live {
		if y != x && !y.retiring && y.keys < maxKeys {
			return y
		}
	}
	return nil
}

// find returns the live session of that name. It is called with mu held.
func (m *sessions) find(name string) *session {
	for _, x := range m.live {
		if x.name == name {
			return x
		}
	}
	return nil
}

// lost returns a channel that is closed once the session of that name holds
// its claims no more; a closed one if it is not known.
func (m *sessions) lost(name string) <-chan struct{} {
	m.expire()
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.find(name); x != nil {
		return x.over
	}
	lost := make(chan struct{})
	close(lost)
	return lost
}

// expire looks at the clocks: a process that was stopped may get here before any timer fires.
func (m *sessions) expire() {
	var expired []*session
	m.mu.Lock()
	if len(m.live) > 0 {
		now := m.now()
		for _, x := range m.live {
			if x.left(now) <= 0 {
				expired = append(expired, x)
			}
		}
	}
	m.mu.Unlock()
	for _, x := range expired {
		m.lose(x, "it was not renewed in time", false)
	}
}

// lose ends x for good; gone says that its key can not come back with a mod
// revision that any claim knows. The lease is not revoked: tools that were told just
// now may still be at work, and others have to wait until it expires.
func (m *sessions) lose(x *session, why string, gone bool) {
	m.mu.Lock()
	if gone {
		x.gone = true
		x.settled()
	}
	first := m.end(x) && !m.closed && !x.retiring
	keys, last := x.keys, x.failure
	m.mu.Unlock()
	if first {
		attrs := []any{"session", x.name, "why", why, "running", keys}
		if !gone && last != nil {
			attrs = append(attrs, "error", last)
		}
		m.s.opts.Logger.Warn("etcdstore: a session is lost; its running calls are cancelled, the next claim opens a new one", attrs...)
	}
}

// end closes the channel of x, once. It is called with mu held.
func (m *sessions) end(x *session) bool {
	i := slices.Index(m.live, x)
	if i < 0 {
		return false
	}
	m.live = slices.Delete(m.live, i, i+1)
	close(x.over)
	x.cancel()
	return true
}

// close ends all sessions and gives their leases back. It returns an error if
// that could not be done before ctx ended.
func (m *sessions) close(ctx context.Context) error {
	var leases []*grant
	m.mu.Lock()
	m.closed = true
	for len(m.live) > 0 {
		x := m.live[0]
		leases = append(leases, &grant{lease: x.lease, ttl: x.ttl})
		m.end(x) // before the lease is revoked: from then on others may run the calls
	}
	m.mu.Unlock()
	m.cancel()
	m.group.Wait()
	if m.spare != nil {
		leases = append(leases, m.spare)
		m.spare = nil
	}
	errs := make([]error, len(leases))
	var group sync.WaitGroup
	for i, g := range leases {
		group.Go(func() { errs[i] = m.revoke(ctx, g) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (m *sessions) revoke(ctx context.Context, g *grant) error {
	retry := newRetry()
	for {
		rctx, cancel := m.request(ctx)
		err := m.lessor.revoke(rctx, g.lease)
		cancel()
		v := verdictOf(err)
		if err == nil || v == noLease {
			return nil
		}
		if v != denied && ctx.Err() == nil {
			pause(ctx, retry)
		}
		if v == denied || ctx.Err() != nil {
			return fmt.Errorf("the lease could not be given back; the claims that it holds expire in %v: %w", g.ttl, m.s.unavailable(err))
		}
	}
}
