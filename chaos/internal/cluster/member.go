package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// Role is a name for the role in which a program calls Serve.
const Role = "member"

// spec is what a member is told.
type spec struct {
	Dir     string           `json:"dir"`
	Member  int              `json:"member"`
	Options embedded.Options `json:"options"`
}

// Serve runs one member until ctx ends or the process gets SIGTERM. It is for the processes that Start starts.
// It returns an error if the member could not start, or had to stop.
func Serve(ctx context.Context, told string) error {
	var s spec
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		return fmt.Errorf("cluster: serve: the spec can not be understood: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	server, err := embedded.Member(s.Member, s.Dir, &s.Options)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		server.Kill() // quick: nobody is to take over
	case <-server.Done():
	}
	return server.Err()
}

// start starts members, and waits until they answer.
func (c *Cluster) start(ctx context.Context, members []int) error {
	started := make([]*proc.Proc, len(members))
	for k, i := range members {
		told, err := json.Marshal(spec{c.o.data(), i, *c.o.embedded()})
		if err != nil {
			return err
		}
		started[k], err = c.o.Keeper.Start(proc.Spec{
			Name: Name(i), Argv: c.o.Command, Env: []string{c.o.SpecVariable + "=" + string(told)}, Stderr: c.stderr(i),
		})
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.members[i], c.killed[i] = started[k], false
		c.mu.Unlock()
	}
	for k, i := range members {
		if err := c.answers(ctx, i, started[k]); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until a member answers, with all that was ever confirmed.
func (c *Cluster) answers(ctx context.Context, i int, p *proc.Proc) error {
	for {
		err := c.ask(ctx, i)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return c.died(i)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w (%w)", Name(i), context.Cause(ctx), err)
		case <-time.After(tryAgain):
		}
	}
}

// ask reads something from the member, for which it needs a majority.
func (c *Cluster) ask(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	_, err := c.direct[i].Get(ctx, "k")
	return err
}

// Kill sends SIGKILL to a member, and returns when it is gone. One that is down stays so.
func (c *Cluster) Kill(member int) error {
	if p := c.ending(member); p != nil {
		p.Kill()
		<-p.Done()
	}
	return nil
}

// Restart starts members that are down, with their files and endpoints. It returns when all of
// them answer, for which a majority must run; until ctx ends. They run then all the same.
func (c *Cluster) Restart(ctx context.Context, members ...int) error {
	for _, i := range members {
		if p := c.member(i); !ended(p) {
			return fmt.Errorf("cluster: restart: %s runs", Name(i))
		}
	}
	if err := c.start(ctx, members); err != nil {
		return fmt.Errorf("cluster: restart: %w", err)
	}
	return nil
}

// Pause stops a member (SIGSTOP), and returns when it is stopped. Its connections stay, and are silent.
func (c *Cluster) Pause(member int) error {
	_, err := c.member(member).Stop()
	return err
}

// Resume lets a member go on that was paused. It returns an error that matches proc.ErrGone if it was killed since.
func (c *Cluster) Resume(member int) error { return c.member(member).Cont() }
