package storetest

import (
	"os"

	"github.com/ledger-once/ledger"
)

// leaseCases are about sessions: ledger.Leaser and ledger.SessionLister.
func leaseCases() []testCase {
	return []testCase{
		{"is not lost while its owner lives", func(e *env) {
			s := e.owner()
			l := e.leaser(s)
			r := e.claimNew(s, id("a"))
			other := e.owner()
			e.claimNew(other, id("b"))
			e.end(other)
			select {
			case <-l.LeaseLost(r.Owner.Session):
				e.Error("the lease of a living session is lost")
			default:
			}
			e.finish(s, ended(r, ledger.StateSucceeded))
		}},
		{"is lost with its owner", func(e *env) {
			s := e.owner()
			l := e.leaser(s)
			r := e.claimNew(s, id("a"))
			before := l.LeaseLost(r.Owner.Session)
			e.end(s)
			e.ends("the loss of a closed store's lease", func() { <-before })
			e.ends("the loss of a closed store's lease, asked for afterwards", func() { <-l.LeaseLost(r.Owner.Session) })
		}},
		{"of an unknown session is lost", func(e *env) {
			s := e.owner()
			l := e.leaser(s)
			e.claimNew(s, id("a"))
			e.ends("the loss of an unknown session's lease", func() { <-l.LeaseLost("unknown") })
		}},
		{"sessions are listed", func(e *env) {
			a, b := e.owner(), e.owner()
			l := e.lister(a)
			first, second := e.claimNew(a, id("a")), e.claimNew(b, id("b"))
			for _, r := range []ledger.Record{first, second} {
				got := e.session(l, r.Owner.Session)
				if !got.Alive || got.PID != os.Getpid() || got.Host != r.Owner.Host || got.Started.IsZero() {
					e.Errorf("the session of a living owner is listed as %+v", got)
				}
			}
			e.end(b)
			if got := e.session(l, second.Owner.Session); got.Alive {
				e.Errorf("the session of a closed store is listed as alive: %+v", got)
			}
			if got := e.session(l, first.Owner.Session); !got.Alive {
				e.Errorf("the session of a living owner is listed as %+v", got)
			}
		}},
	}
}

func (e *env) leaser(s ledger.Store) ledger.Leaser {
	e.Helper()
	l, ok := s.(ledger.Leaser)
	if !ok {
		e.Skip("the store is no ledger.Leaser")
	}
	return l
}

func (e *env) lister(s ledger.Store) ledger.SessionLister {
	e.Helper()
	l, ok := s.(ledger.SessionLister)
	if !ok {
		e.Skip("the store is no ledger.SessionLister")
	}
	return l
}

// session returns what is listed of a session; zero if it is not.
func (e *env) session(l ledger.SessionLister, name string) ledger.Session {
	e.Helper()
	all, err := l.Sessions(e.ctx)
	e.noErrors("sessions", []error{err})
	for _, s := range all {
		if s.ID == name {
			return s
		}
	}
	return ledger.Session{}
}
