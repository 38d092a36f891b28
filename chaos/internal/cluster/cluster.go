// Package cluster runs an etcd whose members are processes, so that they can be killed
// and stopped for real, and writes down what is written to it.
//
// The program that calls [Start] is started again for each member, in a role in which it
// calls [Serve]. Members are counted from 0.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

const (
	// tryLimit bounds one request, of which a member that is down or stopped knows nothing.
	tryLimit = time.Second
	// tryAgain is between two looks at something.
	tryAgain = 20 * time.Millisecond
)

// Options says what to run.
type Options struct {
	Dir     string       // of the cluster's files; it is made if it does not exist. Required
	Members int          // 1 to 9. Defaults to 1
	Keeper  *proc.Keeper // of the processes. Required

	// Command is the program and its arguments that run a member: that are to call Serve
	// with the value of the environment variable SpecVariable. Required.
	Command      []string
	SpecVariable string // Defaults to "LEDGER_CHAOS_MEMBER"

	// Heartbeat and Election are etcd's. The shortest lease is 3/2 of Election, rounded up to
	// seconds. Default to 20 ms and 200 ms, which allow leases of one second.
	Heartbeat, Election time.Duration

	History    time.Duration // how long etcd keeps its history; negative: for ever. Defaults to a minute
	QuotaBytes int64         // of the database. Defaults to 2 GiB
}

// A Cluster is a running etcd. Its methods may be called from any goroutine, but for those
// that treat the same member, at the same time.
type Cluster struct {
	o         Options
	endpoints []string
	direct    []*clientv3.Client // to one member each

	mu      sync.Mutex
	members []*proc.Proc // the last of each
	killed  []bool       // we have ended it
}

// Name is what a member is called in the files of a run, and in those of its keeper: "member-0".
func Name(member int) string { return "member-" + strconv.Itoa(member) }

// Start starts a cluster, or resumes the one that was stopped in the directory, with as many
// members. It returns once all of them answer. What members write to standard error is in
// files in the directory, "member-0.err".
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Members == 0 {
		o.Members = 1
	}
	if o.SpecVariable == "" {
		o.SpecVariable = "LEDGER_CHAOS_MEMBER"
	}
	if o.Heartbeat == 0 && o.Election == 0 {
		o.Heartbeat, o.Election = 20*time.Millisecond, 200*time.Millisecond
	}
	if o.Dir == "" || o.Keeper == nil || len(o.Command) == 0 {
		return nil, errors.New("cluster: start: Dir, Keeper and Command are required")
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("cluster: start: %w", err)
	}
	endpoints, err := embedded.Prepare(ctx, o.Members, o.data(), o.embedded())
	if err != nil {
		return nil, fmt.Errorf("cluster: start: %w", err)
	}
	c := &Cluster{o: o, endpoints: endpoints, members: make([]*proc.Proc, o.Members), killed: make([]bool, o.Members)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.end())
		}
	}()
	all := make([]int, o.Members)
	for i := range all {
		all[i] = i
		one, err := dial(endpoints[i])
		if err != nil {
			return nil, fmt.Errorf("cluster: start: %w", err)
		}
		c.direct = append(c.direct, one)
	}
	if err := c.start(ctx, all); err != nil {
		return nil, fmt.Errorf("cluster: start: %w", err)
	}
	return c, nil
}

func (o *Options) data() string { return filepath.Join(o.Dir, "data") }

func (o *Options) embedded() *embedded.Options {
	return &embedded.Options{Heartbeat: o.Heartbeat, Election: o.Election, History: o.History, QuotaBytes: o.QuotaBytes}
}

// dial returns a client that logs nothing, sends nothing twice, and comes back soon to who was down.
func dial(endpoints ...string) (*clientv3.Client, error) {
	again := backoff.DefaultConfig
	again.BaseDelay, again.MaxDelay = 50*time.Millisecond, 250*time.Millisecond
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, MaxUnaryRetries: 1, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: tryLimit})},
	})
}

// Endpoints returns the URLs of all members, "http://127.0.0.1:23456", which stay.
func (c *Cluster) Endpoints() []string { return append([]string(nil), c.endpoints...) }

// Client returns a client of all members, for the harness: it comes back soon to a member that was down. The caller closes it.
func (c *Cluster) Client() (*clientv3.Client, error) { return dial(c.endpoints...) }

// PIDs returns the members' process ids; 0 for one that is down.
func (c *Cluster) PIDs() []int {
	pids := make([]int, c.o.Members)
	for i := range pids {
		if p := c.member(i); p != nil && !ended(p) {
			pids[i] = p.PID
		}
	}
	return pids
}

// Err returns an error if a member has ended that nobody has killed.
func (c *Cluster) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for i, p := range c.members {
		if p != nil && !c.killed[i] && ended(p) {
			errs = append(errs, c.died(i))
		}
	}
	return errors.Join(errs...)
}

// died is the error of a member that has ended by itself.
func (c *Cluster) died(i int) error {
	text, _ := os.ReadFile(c.stderr(i)) // as much as there is
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("cluster: %s has ended by itself: %s", Name(i), text)
}

func (c *Cluster) stderr(i int) string { return filepath.Join(c.o.Dir, Name(i)+".err") }

func (c *Cluster) member(i int) *proc.Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i]
}

func ended(p *proc.Proc) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// Close tells the members to stop, and kills those that did not when ctx ends. The files stay.
// It returns Err as it was before.
func (c *Cluster) Close(ctx context.Context) error {
	err := c.Err()
	var group sync.WaitGroup
	for i := range c.o.Members {
		p := c.ending(i)
		if p == nil {
			continue
		}
		group.Go(func() { _ = p.Terminate(ctx) }) // killed at the latest: nothing that was confirmed is lost
	}
	group.Wait()
	return errors.Join(err, c.end())
}

// end kills what still runs.
func (c *Cluster) end() error {
	for i := range c.o.Members {
		if p := c.ending(i); p != nil {
			p.Kill()
			<-p.Done()
		}
	}
	var errs []error
	for _, one := range c.direct {
		errs = append(errs, one.Close())
	}
	c.direct = nil
	return errors.Join(errs...)
}

// ending returns the process of a member that is about to be ended; nil: there is none.
func (c *Cluster) ending(i int) *proc.Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.members[i]; p != nil && !ended(p) {
		c.killed[i] = true
		return p
	}
	return nil
}
