package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// leasers is a store whose claims have a lease each.
type leasers struct {
	Store
	lost map[string]chan struct{} // by session; guarded by its test
}

func (s *leasers) LeaseLost(session string) <-chan struct{} { return s.lost[session] }

func (t *flights) watchedLeases() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.leases.watched)
}

// The loss of a lease reaches the tools that run under it, and no other; whether it is watched
// already, or was lost before anybody watched.
func TestLeaseReachesItsTools(t *testing.T) {
	gone := make(chan struct{})
	close(gone)
	s := &leasers{NewMemory(), map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{}), "gone": gone}}
	g, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c := g.core
	type tool struct {
		ctx      context.Context
		returned func()
	}
	starts := func(session string) tool {
		ctx, cancel := context.WithCancelCause(t.Context())
		f := c.flights.detached(ID{})
		c.flights.stand(f, &Record{Owner: Owner{Session: session}}, cancel)
		return tool{ctx, c.underLease(f, session)}
	}
	first, other, over, second := starts("a"), starts("b"), starts("a"), starts("a")
	over.returned()
	close(s.lost["a"])
	late := starts("gone")
	for _, tool := range []tool{first, second, late} {
		<-tool.ctx.Done()
		if cause := context.Cause(tool.ctx); !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the cause is %v, want ErrLeaseLost", cause)
		}
	}
	for name, tool := range map[string]tool{"whose tool had returned": over, "of another lease": other} {
		if tool.ctx.Err() != nil {
			t.Errorf("the call %s was cancelled: %v", name, context.Cause(tool.ctx))
		}
	}
	again := starts("a") // the session does not come back
	<-again.ctx.Done()
}

// A store may have a lease for each claim: the watches of those under which nothing runs are bounded.
func TestIdleLeasesAreBounded(t *testing.T) {
	s := &leasers{NewMemory(), map[string]chan struct{}{}}
	g, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := g.core
	for i := range 10 * maxIdleLeases {
		session := fmt.Sprint(i)
		s.lost[session] = make(chan struct{}) // nobody reads the map now: the channel is asked for at once
		f := c.flights.detached(ID{})
		c.underLease(f, session)()
	}
	if n := c.flights.watchedLeases(); n > maxIdleLeases {
		t.Errorf("%d leases are watched, want at most %d", n, maxIdleLeases)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
