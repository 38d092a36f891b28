package etcdstore

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A grant is a lease as the cluster has granted it.
type grant struct {
	lease clientv3.LeaseID
	ttl   time.Duration
	sent  moment
	value string // of the session's key: it stays the same, so that we know it again
}

// A moment is told by two clocks: the monotonic one stands still while a machine
// is suspended, and the wall clock can be set back.
type moment struct{ mono, wall time.Time }

func (m *sessions) now() moment {
	now := time.Now()
	return moment{now, m.wall(now)}
}

// since is the time from earlier to m by the clock that says more.
func (m moment) since(earlier moment) time.Duration {
	return max(m.mono.Sub(earlier.mono), m.wall.Sub(earlier.wall))
}

// left is how long the lease can be relied upon. It counts from when the
// request for it was sent, not from its answer, and ends a margin before the cluster's own clock runs out.
func (g *grant) left(now moment) time.Duration {
	return g.ttl - margin(g.ttl) - now.since(g.sent)
}

// margin is for the difference of the clocks' rates, and for tools to hear of the loss.
func margin(ttl time.Duration) time.Duration {
	return min(max(ttl/8, 200*time.Millisecond), 2*time.Second)
}
