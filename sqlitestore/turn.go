package sqlitestore

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
)

// A turn is the right to write, for one store among the processes and
// stores that share a database. SQLite's own lock keeps writers apart as well, but
// polls for it, and starves some: see docs/adr/0002-sqlite.md. So nothing breaks where somebody
// deletes the lock file, and each store finds the new one with its next turn.
//
// At most one goroutine of a store asks for the turn at a time: the leader.
type turn struct {
	path     string
	f        *os.File
	id       stamp          // of f
	acquired chan error     // from the goroutine that waits in the kernel
	waiter   sync.WaitGroup // that goroutine

	mu      sync.Mutex
	waiting bool // a goroutine waits in the kernel
	wanted  bool // and somebody waits for it
}

func openTurn(path string) (*turn, error) {
	t := &turn{path: path, acquired: make(chan error, 1)}
	return t, t.open()
}

func (t *turn) open() error {
	f, err := openPrivate(t.path)
	if err != nil {
		return err
	}
	id, err := stampOf(t.path)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if t.f != nil {
		_ = t.f.Close()
	}
	t.f, t.id = f, id
	return nil
}

// renew opens the file that the others use by now, if somebody deleted or replaced the one that is open. It costs
// a microsecond. Without success the old one will do: see turn.
func (t *turn) renew() {
	if runtime.GOOS == "windows" { // which lets nobody delete an open file
		return
	}
	if st, err := stampOf(t.path); err != nil || !st.same(t.id) {
		_ = t.open()
	}
}

// take waits for the turn until ctx or stop ends. The kernel's wait goes
// on without the caller: the next one inherits it, or the turn is given back on arrival.
func (t *turn) take(ctx context.Context, stop <-chan struct{}) error {
	t.mu.Lock()
	if !t.waiting {
		t.renew()
		ok, err := tryLock(t.f, true)
		if ok || err != nil {
			t.mu.Unlock()
			return err
		}
		t.waiting = true
		t.waiter.Go(t.wait)
	}
	t.wanted = true
	t.mu.Unlock()

	select {
	case err := <-t.acquired:
		return err
	case <-ctx.Done():
	case <-stop:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = false
	select {
	case err := <-t.acquired: // it came at the same time
		return err
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errStopped
}

func (t *turn) wait() {
	err := waitLock(t.f)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = false
	if t.wanted {
		t.wanted = false
		t.acquired <- err
	} else if err == nil {
		_ = unlock(t.f) // can not fail for a lock that is held
	}
}

// give ends the turn.
func (t *turn) give() { _ = unlock(t.f) }

// close must not be called while somebody takes the turn. If the kernel still
// waits for another process, the file is closed as soon as that ends.
func (t *turn) close() {
	t.mu.Lock()
	waiting := t.waiting
	t.mu.Unlock()
	if !waiting {
		_ = t.f.Close()
		return
	}
	go func() {
		t.waiter.Wait()
		_ = t.f.Close()
	}()
}
