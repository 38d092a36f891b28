package etcdstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/ledger-once/ledger"
)

// tasks are goroutines in the background of a store. Close waits for them.
type tasks struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func newTasks(s *Store) *tasks {
	t := &tasks{}
	s.workers.Add(1)
	context.AfterFunc(s.life, func() {
		defer s.workers.Done()
		t.mu.Lock()
		t.closed = true // from here on nothing is added to the group that is waited for
		t.mu.Unlock()
		t.group.Wait()
	})
	return t
}

// start runs f in the background; it has to end with the store's life. It
// reports false, and runs nothing, once that is over.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.group.Go(f)
	return true
}

// ended says why ctx ended, for an operation that wrote nothing.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return fmt.Errorf("%w (%w)", err, ledger.ErrNotWritten)
}
