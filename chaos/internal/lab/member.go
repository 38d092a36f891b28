package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// memberUp bounds the start of a member, and of a new leader.
const memberUp = 60 * time.Second

// KillMember kills a member (-1, or the kind leader: the one that leads), waits for as long as
// down does, and starts it again. It returns once a leader answers. Other members' kills wait for their turn.
func (s *Site) KillMember(ctx context.Context, kind string, member int, down func()) error {
	l := s.lab
	l.memberMu.Lock()
	defer l.memberMu.Unlock()
	if kind == trace.FaultLeader || member < 0 {
		var err error
		if member, err = l.cluster.Leader(ctx); err != nil {
			return fmt.Errorf("who leads: %w", err)
		}
	}
	f := trace.Fault{At: trace.Now(), Kind: kind, Target: fmt.Sprintf("member-%d", member), Done: true}
	if err := l.cluster.Kill(member); err != nil {
		return err
	}
	down()
	up, cancel := context.WithTimeout(l.ctx, memberUp) // also when the run is over: the next one needs it
	defer cancel()
	if err := l.cluster.Restart(up, member); err != nil {
		return fmt.Errorf("member %d does not start again: %w", member, err)
	}
	f.Until = trace.Now()
	s.Fault(f)
	return nil
}

// Compact makes the cluster forget its history.
func (s *Site) Compact(ctx context.Context) error {
	at := trace.Now()
	if err := s.lab.cluster.Compact(ctx, s.recorder); err != nil {
		return err
	}
	s.Fault(trace.Fault{At: at, Until: trace.Now(), Kind: trace.FaultCompact, Target: "cluster"})
	return nil
}

// Heal lets everything that is cut or stopped go on, and waits until the cluster answers.
func (s *Site) Heal(ctx context.Context) error {
	for _, w := range s.all() {
		w.heal()
	}
	if s.lab.cluster == nil {
		return nil
	}
	s.lab.memberMu.Lock() // a member on its way up
	defer s.lab.memberMu.Unlock()
	if _, err := s.lab.cluster.Leader(ctx); err != nil {
		return fmt.Errorf("the cluster after healing: %w", err)
	}
	return nil
}

// Expired returns once the lease of a worker that was killed has ended.
func (s *Site) Expired(ctx context.Context, w *Worker) (err error) {
	store, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if c, ok := store.(interface{ Close() error }); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	lister, ok := store.(ledger.SessionLister)
	if !ok {
		return errors.New("the store does not tell who lives")
	}
	for {
		sessions, err := lister.Sessions(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(sessions, func(o ledger.Session) bool { return o.Alive && o.PID == w.p.PID }) {
			return nil
		}
		select {
		case <-time.After(expiryEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expiryEvery is how often Expired looks.
const expiryEvery = 100 * time.Millisecond
