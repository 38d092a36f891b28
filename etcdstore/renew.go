package etcdstore

import (
	"context"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/internal/failpoint"
)

const (
	// minTryTimeout is the least that one renewal is given.
	minTryTimeout = 250 * time.Millisecond
	// minRenewGap keeps doubts that come in a storm from becoming renewals in a storm.
	minRenewGap = 50 * time.Millisecond
	// maxCheckGap bounds how late a jump of the wall clock is seen.
	maxCheckGap = time.Second
	// idleTTLs is how many TTLs a session is empty before it is closed, if there is another one.
	idleTTLs = 4
)

// keep renews the lease, several times per TTL, until the session is lost.
func (x *session) keep() {
	retry := newRetry()
	line := x.m.lessor.renewer(clientv3.WithRequireLeader(x.ctx), x.lease)
	defer line.close()
	due := x.nextRenewal()
	for {
		now := x.m.now()
		left, ttl := x.remaining(now)
		if left <= 0 {
			x.m.lose(x, "it was not renewed in time", false)
			return
		}
		if wait := due.Sub(now.mono); wait > 0 {
			timer := time.NewTimer(min(wait, left, ttl/8, maxCheckGap))
			select {
			case <-timer.C:
			case <-x.poke:
				if soon := time.Now().Add(minRenewGap); soon.Before(due) {
					due = soon
				}
			case <-x.ctx.Done():
			}
			timer.Stop()
			if x.ctx.Err() != nil || x.retire() {
				return
			}
			continue
		}
		err := x.renew(line, now, min(left, max(ttl/6, minTryTimeout)))
		switch {
		case x.ctx.Err() != nil:
			return
		case err == nil:
			retry.Reset()
			due = x.nextRenewal()
		default:
			due = time.Now().Add(retry.NextBackOff())
		}
	}
}

func (x *session) remaining(now moment) (left, ttl time.Duration) {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return x.left(now), x.ttl
}

// nextRenewal is a quarter to a third of the TTL after the last one.
func (x *session) nextRenewal() time.Time {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return x.sent.mono.Add(x.ttl/4 + rand.N(x.ttl/12+1))
}

// renew sends one renewal.
func (x *session) renew(line renewer, sent moment, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(x.ctx, timeout)
	defer cancel()
	if failpoint.On {
		failpoint.Hit(failpoint.EtcdRenewing)
	}
	ttl, err := line.renew(ctx)
	if failpoint.On {
		failpoint.Hit(failpoint.EtcdRenewed)
	}
	if err == nil && ttl <= 0 || err != nil && verdictOf(err) == noLease {
		x.m.lose(x, "its lease is gone: revoked, or expired", true)
		return err
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	x.failure = err
	if err == nil {
		x.sent, x.ttl = sent, ttl
	}
	return err
}

// watch reports within milliseconds that the key was deleted, with the lease or by itself.
func (x *session) watch() {
	retry := newRetry()
	for from := x.created + 1; ; {
		x.follow(from)
		for {
			if x.ctx.Err() == nil {
				pause(x.ctx, retry)
			}
			if x.ctx.Err() != nil {
				return
			}
			// The watch has missed something, perhaps: what stands now?
			ctx, cancel := x.m.request(x.ctx)
			kv, revision, err := x.m.lessor.get(ctx, x.key)
			cancel()
			if err == nil {
				x.learned(kv)
				from = revision + 1
				break
			}
		}
	}
}

// follow returns when the watch ends, or has told that the session is lost.
func (x *session) follow(from int64) {
	// Why it ended does not matter: what stands is read, and then it begins anew.
	_ = x.m.lessor.follow(x.ctx, x.key, from, func(r *clientv3.WatchResponse) bool {
		for _, e := range r.Events {
			if e.Type == mvccpb.Event_DELETE {
				x.learned(nil)
				return false
			}
			x.learned(e.Kv)
		}
		return true
	})
}

// retire closes a session that has been empty for a while, unless it is the
// first one or the others are full. It reports whether the session is over.
func (x *session) retire() bool {
	m := x.m
	m.mu.Lock()
	if x.keys > 0 || time.Since(x.idle) < idleTTLs*x.ttl || len(m.live) < 2 || m.live[0] == x || m.roomy(x) == nil {
		m.mu.Unlock()
		return false
	}
	dirty := len(x.unanswered) > 0
	x.retiring = !dirty
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(x.ctx), max(x.ttl/6, minTryTimeout))
	defer cancel()
	if dirty {
		_ = m.clean(ctx, x) // and have another look when nothing can land any more
		return false
	}
	// A lease with keys that we have lost count of is not given up: their calls run.
	keys, err := m.lessor.held(ctx, x.lease)
	if err != nil || keys > 1 {
		m.mu.Lock()
		defer m.mu.Unlock()
		x.retiring, x.keys, x.idle = false, max(0, keys-1), time.Now()
		return false
	}
	_ = m.lessor.revoke(ctx, x.lease) // else it expires
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(x)
	return true
}
