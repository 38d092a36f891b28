package ledger

import (
	"context"
	"sync"
	"time"
)

// deadlines makes contexts for outcomes: with a deadline of their own, whatever becomes of the caller's. Those
// that begin at about the same time share one timer, which saves a busy guard a timer and a channel for each call.
type deadlines struct {
	mu     sync.Mutex
	shared context.Context
	cancel context.CancelFunc // frees the timer, which frees itself at the deadline
	until  time.Time          // when the next one begins
}

// deadlineParts is by what fraction of the timeout deadlines may be early.
const deadlineParts = 64

// without returns a context with the values of ctx that ends after timeout, or up to 1/64 of it earlier.
func (d *deadlines) without(ctx context.Context, timeout time.Duration) context.Context {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !now.Before(d.until) {
		d.until = now.Add(timeout / deadlineParts)
		d.shared, d.cancel = context.WithDeadline(context.Background(), now.Add(timeout))
	}
	return outcomeContext{d.shared, ctx}
}

// outcomeContext has the deadline of one context and the values of another.
type outcomeContext struct {
	context.Context
	values context.Context
}

// Value asks the first for what the package context keeps there, which is all it has.
func (o outcomeContext) Value(key any) any {
	if v := o.Context.Value(key); v != nil {
		return v
	}
	return o.values.Value(key)
}

// A timeout is context.WithTimeout for what mostly ends before anybody waits for the context: only the first who does
// makes a timer and a channel.
type timeout struct {
	context.Context // the outer one
	deadline        time.Time

	mu     sync.Mutex
	inner  context.Context // nil: nobody waits
	cancel context.CancelFunc
	over   bool
}

func (t *timeout) Deadline() (time.Time, bool) {
	if outer, ok := t.Context.Deadline(); ok && outer.Before(t.deadline) {
		return outer, true
	}
	return t.deadline, true
}

// waitable returns the context to wait for.
func (t *timeout) waitable() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner == nil {
		t.inner, t.cancel = context.WithDeadline(t.Context, t.deadline)
		if t.over {
			t.cancel()
		}
	}
	return t.inner
}

func (t *timeout) Done() <-chan struct{} { return t.waitable().Done() }

func (t *timeout) Err() error {
	t.mu.Lock()
	quiet := t.inner == nil && !t.over && t.Context.Err() == nil && time.Now().Before(t.deadline)
	t.mu.Unlock()
	if quiet {
		return nil
	}
	return t.waitable().Err()
}

// Value asks the inner context, once there is one: package context looks for its own things there.
func (t *timeout) Value(key any) any {
	t.mu.Lock()
	inner := t.inner
	t.mu.Unlock()
	if inner == nil {
		inner = t.Context
	}
	return inner.Value(key)
}

// end frees what the context holds; it is cancelled then.
func (t *timeout) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.cancel != nil {
		t.cancel()
	}
}
