package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// startLimit bounds a start for callers whose context has no end.
	startLimit = 2 * time.Minute

	// maxMembers is more than a cluster should have, and keeps a slip from
	// filling the disk.
	maxMembers = 9
)

// Servers are the members of a cluster in this process. Its methods may be
// called from any goroutine.
type Servers struct {
	o     *Options
	place *place

	mu      sync.Mutex
	closed  bool
	members []*Server
}

// Cluster starts an etcd of n members (1 to 9) that keep their data below dir,
// which is made if it does not exist. Where an earlier one left its data,
// Cluster resumes with them; n must be the same. It returns once there is a
// leader and all members answer. Its errors are those of Start.
func Cluster(ctx context.Context, n int, dir string, o *Options) (*Servers, error) {
	c, err := start(ctx, n, dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded: start an etcd of %s in %s: %w", members(n), dir, err)
	}
	return c, nil
}

func start(ctx context.Context, n int, dir string, o *Options) (_ *Servers, err error) {
	o = o.copied()
	if err := o.check(); err != nil {
		return nil, err
	}
	if n < 1 || n > maxMembers {
		return nil, fmt.Errorf("a cluster has 1 to %d members", maxMembers)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	p, err := openPlace(dir, n)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !errors.Is(err, errStuck) {
			err = errors.Join(err, p.clear())
			p.close()
		}
	}()
	at, err := p.listen(ctx)
	if err != nil {
		return nil, err
	}
	c := &Servers{o: o, place: p, members: make([]*Server, n)}
	if err := c.up(ctx, c.all(), at); err != nil {
		return nil, err
	}
	if p.note.Ready {
		return c, nil
	}
	p.note.Ready = true
	if err := p.save(); err != nil {
		p.note.Ready = false
		return nil, errors.Join(err, stopAll(kill, c.members))
	}
	return c, nil
}

func (c *Servers) all() []int {
	all := make([]int, len(c.members))
	for i := range all {
		all[i] = i
	}
	return all
}

// up starts members that are down, at these addresses, and waits until they
// answer, or else stops them again.
func (c *Servers) up(ctx context.Context, which []int, at []addresses) error {
	servers, err := c.boot(ctx, which, at)
	for k, s := range servers {
		if err != nil {
			break
		}
		if err = s.ready(ctx); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("it was not ready in time: %w", ctx.Err())
			}
			err = fmt.Errorf("member %d: %w", which[k], err)
		}
	}
	if err != nil {
		return errors.Join(err, stopAll(kill, servers))
	}
	return nil
}

// boot starts members all at once, since the first thing a new one does is to
// ask the others. It returns those that started, even with an error.
func (c *Servers) boot(ctx context.Context, which []int, at []addresses) ([]*Server, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayBoot(which); err != nil {
		closeAll(at)
		return nil, err
	}
	servers, errs := make([]*Server, len(which)), make([]error, len(which))
	var wg sync.WaitGroup
	for k, i := range which {
		wg.Go(func() {
			if servers[k], errs[k] = boot(ctx, c.o, c.place, i, at[k]); errs[k] != nil {
				errs[k] = fmt.Errorf("member %d: %w", i, errs[k])
			}
		})
	}
	wg.Wait()
	var started []*Server
	for k, i := range which {
		if servers[k] != nil {
			c.members[i] = servers[k]
			started = append(started, servers[k])
		}
	}
	return started, errors.Join(errs...)
}

// mayBoot returns an error unless the members are down. The caller holds c.mu.
func (c *Servers) mayBoot(which []int) error {
	if c.closed {
		return errors.New("the cluster was closed")
	}
	for _, i := range which {
		if s := c.members[i]; s != nil && !s.isDone() {
			return fmt.Errorf("member %d runs already", i)
		}
	}
	return nil
}

// Endpoints returns the URLs of all members, running or not, for
// clientv3.Config.Endpoints.
func (c *Servers) Endpoints() []string {
	var all []string
	for _, m := range c.place.note.Members {
		all = append(all, c.o.scheme()+"://"+m.Client)
	}
	return all
}

// Client returns a client of all members; see Server.Client.
func (c *Servers) Client(tlsConfig *tls.Config) (*clientv3.Client, error) {
	return newClient(c.Endpoints(), tlsConfig)
}

// Len returns the number of members, running or not.
func (c *Servers) Len() int { return len(c.members) }

// Member returns member i, counted from 0: the server that was started last, if
// it is down. Like a slice it panics if there is no such member. Restart
// replaces the server, so ask again after one.
func (c *Servers) Member(i int) *Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i]
}

// Leader returns which member leads, or -1 if none knows itself to. Where two
// think they do, one of them does not know yet that it is cut off; the one
// with the later term counts.
func (c *Servers) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	leader, term := -1, uint64(0)
	for i, s := range c.members {
		if s.isStopping() {
			continue
		}
		if e := s.etcd.Server; e.Leader() == e.MemberID() && e.Term() >= term {
			leader, term = i, e.Term()
		}
	}
	return leader
}

// Kill kills the given members, all at once; see Server.Kill. Those that are
// down already stay down.
func (c *Servers) Kill(members ...int) {
	var which []*Server
	for _, i := range members {
		which = append(which, c.Member(i))
	}
	_ = stopAll(kill, which) // a killed server that had failed before is no news
}

// Restart starts the given members again, which must be down, with the data,
// the names and the endpoints they had. It returns when they answer, for which
// a majority must run: so start all at once that it takes. If ctx ends first,
// Restart stops them again and returns an error that matches ctx's.
func (c *Servers) Restart(ctx context.Context, members ...int) error {
	if err := c.restart(ctx, members); err != nil {
		return fmt.Errorf("embedded: restart in %s: %w", c.place.dir, err)
	}
	return nil
}

func (c *Servers) restart(ctx context.Context, members []int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c.mu.Lock()
	err := c.mayBoot(members)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	at, err := c.place.listenAgain(ctx, members)
	if err != nil {
		return err
	}
	return c.up(ctx, members, at)
}

// Close stops all members at once, and waits for them. Requests under way get a
// tenth of a second to end; what was confirmed is on the disk. Close returns
// why members had to stop before, as by Server.Err.
func (c *Servers) Close() error {
	c.mu.Lock()
	c.closed = true
	members := c.members
	c.mu.Unlock()
	err := stopAll(drain, members)
	if !errors.Is(err, errStuck) {
		c.place.close()
	}
	return err
}

// stopAll stops servers at the same time, and waits for them.
func stopAll(h how, servers []*Server) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		if s == nil {
			continue
		}
		wg.Go(func() {
			s.stop(h)
			errs[i] = s.Err()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
