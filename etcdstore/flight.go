package etcdstore

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// A flight fences sessions and opens a new one, for all that wait for it.
type flight struct {
	done    chan struct{}
	waiters int
	err     error // of the last try; nil if it went well
}

// fly tries until it succeeds, a person is needed, or nobody waits any more.
func (m *sessions) fly(f *flight) {
	retry := newRetry()
	for {
		err := m.prepare(m.ctx)
		v := verdictOf(err)
		m.mu.Lock()
		f.err = err
		ends := err == nil || m.closed || f.waiters == 0 || v == denied || v == tooMany || v == tooLarge
		if ends {
			m.flight = nil
			close(f.done)
		}
		m.mu.Unlock()
		if ends {
			return
		}
		pause(m.ctx, retry)
	}
}

func (m *sessions) prepare(ctx context.Context) error {
	m.mu.Lock()
	var dirty []*session
	for x := range m.dirty {
		dirty = append(dirty, x)
	}
	m.mu.Unlock()
	for _, x := range dirty {
		if err := m.clean(ctx, x); err != nil {
			return err
		}
	}
	m.mu.Lock()
	enough := m.roomy(nil) != nil || len(m.live) >= maxSessions
	m.mu.Unlock()
	if enough {
		return nil
	}
	return m.open(ctx)
}

// request bounds one request to the cluster.
func (m *sessions) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(clientv3.WithRequireLeader(ctx), m.s.opts.RequestTimeout)
}

// open opens one more session. A lease that could not be used is kept for the
// next try, so that tries in vain do not pile leases up.
func (m *sessions) open(ctx context.Context) error {
	if failpoint.On {
		failpoint.Hit(failpoint.EtcdSessionOpening)
	}
	g := m.spare
	if g == nil || g.left(m.now()) < g.ttl/2 {
		var err error
		if g, err = m.grant(ctx); err != nil {
			return err
		}
		m.spare = g
	}
	name := fmt.Sprintf("%016x", int64(g.lease))
	key := m.s.keys.session(name)
	rctx, cancel := m.request(ctx)
	kv, err := m.lessor.put(rctx, key, g.value, g.lease, 0)
	cancel()
	if err != nil {
		if verdictOf(err) == noLease {
			m.spare = nil
		}
		return err
	}
	if kv == nil || string(kv.Value) != g.value { // only with the hands in the database
		m.spare = nil
		return fmt.Errorf("the key %q of a new session was taken", key)
	}
	x := newSession(m, name, key, g, kv)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ledger.ErrClosed // close revokes the spare lease
	}
	m.spare = nil
	m.live = append(m.live, x)
	m.group.Go(x.keep)
	m.group.Go(x.watch)
	return nil
}

func (m *sessions) grant(ctx context.Context) (*grant, error) {
	value, err := m.sessionValue()
	if err != nil {
		return nil, err
	}
	ctx, cancel := m.request(ctx)
	defer cancel()
	sent := m.now()
	lease, ttl, err := m.lessor.grant(ctx, m.s.opts.TTL)
	if err == nil && ttl <= 0 {
		err = errors.New("the cluster granted a lease that has no time to live")
	}
	return &grant{lease, ttl, sent, value}, err
}

// clean makes sure that no copy of a claim under x that was sent before can land any more.
func (m *sessions) clean(ctx context.Context, x *session) error {
	if failpoint.On {
		failpoint.Hit(failpoint.EtcdSessionCleaning)
	}
	ctx, cancel := m.request(ctx)
	defer cancel()
	if x.isLost() {
		err := m.lessor.remove(ctx, x.key)
		if err == nil {
			m.lose(x, "", true)
		}
		return err
	}
	kv, err := m.lessor.put(ctx, x.key, x.value, x.lease, x.created)
	switch {
	case err == nil:
		x.learned(kv)
	case verdictOf(err) == noLease:
		m.lose(x, "its lease is gone", true)
		return nil
	}
	return err
}
