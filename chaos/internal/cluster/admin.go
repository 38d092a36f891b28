package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Leader returns which member leads: it has just answered, with a majority behind it. Where
// none does, Leader waits until one does, or ctx ends.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	for {
		leader, err := c.leader(ctx)
		if err == nil {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return -1, fmt.Errorf("cluster: nobody leads: %w (%w)", context.Cause(ctx), errors.Join(err, c.Err()))
		case <-time.After(tryAgain):
		}
	}
}

func (c *Cluster) leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	errs := make([]error, len(c.direct))
	leader := make(chan int, len(c.direct))
	var group sync.WaitGroup
	for i := range c.direct {
		group.Go(func() {
			if errs[i] = c.leads(ctx, i); errs[i] == nil {
				leader <- i
				cancel() // whoever is down need not be waited for
			}
		})
	}
	group.Wait()
	select {
	case i := <-leader:
		return i, nil
	default:
		return -1, errors.Join(errs...)
	}
}

// leads returns nil if the member leads, as a majority has just confirmed: it led
// before and after, in the same term.
func (c *Cluster) leads(ctx context.Context, i int) error {
	before, err := c.direct[i].Status(ctx, c.endpoints[i])
	if err == nil && before.Leader == before.Header.MemberId {
		if err = c.ask(ctx, i); err == nil {
			var after *clientv3.StatusResponse
			after, err = c.direct[i].Status(ctx, c.endpoints[i])
			if err == nil && after.Leader == after.Header.MemberId && after.RaftTerm == before.RaftTerm {
				return nil
			}
		}
	}
	if err == nil {
		return fmt.Errorf("%s does not lead", Name(i))
	}
	return fmt.Errorf("%s: %w", Name(i), err)
}

// Compact makes the cluster forget its history up to now, but what the recorders have not seen yet: a run that
// was not recorded is worth nothing. It tries until ctx ends.
func (c *Cluster) Compact(ctx context.Context, recorders ...*Recorder) error {
	if err := c.anyone(ctx, func(ctx context.Context, one *clientv3.Client) error { return compact(ctx, one, recorders) }); err != nil {
		return fmt.Errorf("cluster: compact: %w", err)
	}
	return nil
}

func compact(ctx context.Context, one *clientv3.Client, recorders []*Recorder) error {
	r, err := one.Get(ctx, "k")
	if err != nil {
		return err
	}
	revision := r.Header.Revision
	for _, rec := range recorders {
		revision = min(revision, rec.Seen())
	}
	if _, err = one.Compact(ctx, revision); errors.Is(err, rpctypes.ErrCompacted) {
		return nil // as much, and more
	}
	return err
}

// anyone calls f for one member after the other until it succeeds, or ctx ends. A stalled disk may be one for all of them.
func (c *Cluster) anyone(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	for {
		var errs []error
		for i, one := range c.direct {
			try, cancel := context.WithTimeout(ctx, tryLimit)
			err := f(try, one)
			cancel()
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", Name(i), err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", context.Cause(ctx), errors.Join(errs...))
		case <-time.After(tryAgain):
		}
	}
}

// Revoke revokes the leases of the sessions that the process with that id has below the prefix, as an operator
// would. It reports whether there were any. It tries until ctx ends; with an error, some may stand.
func (c *Cluster) Revoke(ctx context.Context, prefix string, pid int) (bool, error) {
	found := false
	err := c.anyone(ctx, func(ctx context.Context, one *clientv3.Client) error {
		r, err := one.Get(ctx, root(prefix)+sessions, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			var owner struct {
				PID int `json:"pid"`
			}
			if err := json.Unmarshal(kv.Value, &owner); err != nil {
				return fmt.Errorf("the session %s: %w", kv.Key, err)
			}
			if owner.PID != pid || kv.Lease == 0 {
				continue
			}
			found = true // also where the answer gets lost: the next look would find nothing
			if _, err := one.Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("cluster: revoke the leases of process %d: %w", pid, err)
	}
	return found, err
}

// The kinds of keys that are recorded, as package etcdstore lays them out below its prefix.
const (
	records  = "records/"
	running  = "running/"
	sessions = "sessions/"
)

// root is what all keys of a store with that prefix begin with.
func root(prefix string) string { return strings.TrimRight(prefix, "/") + "/" }
