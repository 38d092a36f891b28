package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/ledger-once/ledger/etcdstore"
)

// etcd adds what can be told of a cluster.
func (r *Report) etcd(ctx context.Context, s *etcdstore.Store) {
	h, err := s.Health(ctx)
	if err != nil {
		return // ctx has ended
	}
	r.health(h, time.Now())
}

func (r *Report) health(h *etcdstore.Health, now time.Time) {
	switch {
	case h.ReadErr != nil:
		r.add("permissions", Fail, "the records below the prefix can not be read: "+h.ReadErr.Error(), "see what it says")
	case h.CommitErr != nil:
		r.add("permissions", Fail, "nothing can be written below the prefix: "+h.CommitErr.Error(),
			"see what it says; who only looks needs no more than to read")
	default:
		r.add("permissions", OK, fmt.Sprintf("this user may read and write below %s/", h.Prefix), "")
		s := OK
		if h.Commit > slowCommit {
			s = Warn
		}
		r.add("commit", s, fmt.Sprintf("the cluster agrees on a transaction in %s", rounded(h.Commit)),
			"look at the fsync times of the members' disks (etcd_disk_wal_fsync_duration_seconds) and the network between them: each call waits for two commits")
	}
	r.add("schema", OK, fmt.Sprintf("version %d", h.Schema), "")
	for i := range h.Members {
		r.member(&h.Members[i], now)
	}
	if h.Client != nil {
		r.certificate("the client certificate", h.Client, now)
	}
}

func (r *Report) member(m *etcdstore.Member, now time.Time) {
	if m.Err != nil {
		r.add("member", Warn, m.Endpoint+": "+m.Err.Error(), "start it, or leave it out of the endpoints; a majority of the members has to run")
		return
	}
	role := "a follower"
	switch {
	case m.Leader:
		role = "the leader"
	case m.Learner:
		role = "a learner, which can not be read from"
	}
	r.add("member", OK, fmt.Sprintf("%s is %s, and answers in %s", m.Endpoint, role, rounded(m.Answer)), "")
	if m.TooOld {
		r.add("version", Fail, fmt.Sprintf("%s runs etcd %s", m.Endpoint, m.Version), "upgrade it to 3.6.14, 3.7.1 or later; ledger refuses older ones")
	} else {
		r.add("version", OK, fmt.Sprintf("%s runs etcd %s", m.Endpoint, m.Version), "")
	}
	r.quota(m)
	for _, e := range m.Errors {
		if !strings.Contains(e, "NOSPACE") {
			r.add("alarm", Fail, m.Endpoint+": "+e, "see docs/operations.md, and etcdctl alarm list")
		}
	}
	if m.ClockKnown {
		s, found := OK, fmt.Sprintf("%s's agrees with this machine's to some seconds", m.Endpoint)
		if m.Ahead.Abs() > clockOff {
			way := "ahead of"
			if m.Ahead < 0 {
				way = "behind"
			}
			s, found = Warn, fmt.Sprintf("%s's is %s %s this machine's", m.Endpoint, rounded(m.Ahead.Abs()), way)
		}
		r.add("clock", s, found, "set the clocks by NTP: ages, --since and a policy's TTL go by the workers' (who runs a call does not)")
	}
	r.certificate(m.Endpoint+"'s certificate", m.Server, now)
	r.certificate("the authority of "+m.Endpoint+"'s certificate", m.Authority, now)
}

// quota compares the database with its quota.
func (r *Report) quota(m *etcdstore.Member) {
	const do = "delete old calls (ledger prune --older-than 90d), have it compact by itself, defragment it, or raise --quota-backend-bytes: docs/operations.md"
	found := fmt.Sprintf("%s: the database has %s, %s of it in use", m.Endpoint, bytesText(m.DBSize), bytesText(m.DBInUse))
	if m.Quota > 0 {
		found += fmt.Sprintf("; the quota is %s", bytesText(m.Quota))
	}
	switch {
	case m.NoSpace():
		r.add("quota", Fail, found+", and it takes no more writes", do+"; then etcdctl alarm disarm")
	case m.Quota > 0 && m.DBSize > m.Quota/5*4:
		r.add("quota", Warn, found, do)
	default:
		r.add("quota", OK, found, "")
	}
}

// certificate says how long c, which may be nil, can still be used.
func (r *Report) certificate(what string, c *x509.Certificate, now time.Time) {
	if c == nil {
		return
	}
	left := c.NotAfter.Sub(now)
	until := c.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		r.add("TLS", Fail, fmt.Sprintf("%s expired on %s", what, until), "renew it")
	case left < soon:
		r.add("TLS", Warn, fmt.Sprintf("%s expires on %s, in %d days", what, until, int(left.Hours()/24)), "renew it before; new connections are refused afterwards")
	default:
		r.add("TLS", OK, fmt.Sprintf("%s is good until %s", what, until), "")
	}
}
