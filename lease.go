package ledger

// maxIdleLeases is how many leases are watched while no tool runs under them. A busy guard has one
// or two, and would start a goroutine for each call otherwise.
const maxIdleLeases = 64

// leases are those under which tools run here. Guarded by flights.mu.
type leases struct {
	watched map[string]*leaseWatch // by session
}

type leaseWatch struct {
	tools map[*flight]struct{} // that run under it
	stop  chan struct{}
}

// begins adds a flight whose tool starts under the lease of that session; fresh is true if nobody watches it yet.
func (l *leases) begins(f *flight, session string) (w *leaseWatch, fresh bool) {
	w = l.watched[session]
	if fresh = w == nil; fresh {
		w = &leaseWatch{tools: make(map[*flight]struct{}), stop: make(chan struct{})}
		if l.watched == nil {
			l.watched = make(map[string]*leaseWatch)
		}
		l.watched[session] = w
	}
	w.tools[f] = struct{}{}
	return w, fresh
}

// returned is told that the tool of f has returned.
func (l *leases) returned(f *flight, session string, w *leaseWatch) {
	delete(w.tools, f)
	if len(w.tools) == 0 && len(l.watched) > maxIdleLeases && l.watched[session] == w {
		delete(l.watched, session)
		close(w.stop)
	}
}

// underLease has the tool of f cancelled once the lease of that session is lost, until the
// function returned is called: after that it is not. f stands with its cancel.
func (c *core) underLease(f *flight, session string) (returned func()) {
	if c.leaser == nil {
		return func() {}
	}
	t := &c.flights
	t.mu.Lock()
	w, fresh := t.leases.begins(f, session)
	t.mu.Unlock()
	if fresh {
		lost := c.leaser.LeaseLost(session)
		// A guard that is closed for good has cancelled its tools.
		c.goBackground(func() {
			select {
			case <-lost:
				t.loseLease(session, w)
			case <-w.stop:
			case <-c.life.Done():
			}
		})
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leases.returned(f, session, w)
	}
}

func (t *flights) loseLease(session string, w *leaseWatch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leases.watched[session] == w {
		delete(t.leases.watched, session)
	}
	for f := range w.tools {
		if f.cancel != nil {
			f.cancel(ErrLeaseLost)
		}
	}
}
