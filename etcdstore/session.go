package etcdstore

import (
	"context"
	"encoding/json"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// A session is one lease with its key. What a claim writes is bound to the
// lease; that it may write is decided by the key's mod revision, the mark.
type session struct {
	m       *sessions
	name    string
	key     string
	created int64 // create revision of the key
	grant         // its ttl and sent are those of the last renewal that was answered; with m.mu held

	ctx    context.Context // of its goroutines; ends when it is lost
	cancel context.CancelFunc
	over   chan struct{} // closed when it is lost
	poke   chan struct{} // asks for a renewal now

	// With m.mu held:

	failure  error // of the last renewal; nil if it went well
	keys     int   // claims that hold a running key, or may soon
	idle     time.Time
	retiring bool // takes no claims any more
	gone     bool // the key is known to be gone: no copy of a claim can land

	// mark is the greatest mod revision of the key that is known. It only grows:
	// a late copy of our own put may show up with a greater one, never with a smaller.
	mark int64
	// unanswered are the nonces of the claims of which a copy that compares with mark has no
	// answer, so that it may still land. None can any more once an answer of the cluster has shown
	// the key with a greater mod revision, which never returns to a smaller one, or has
	// shown it gone. Until then the session is dirty.
	//
	// The invariant: after a definite answer to a claim no earlier copy of that claim can land.
	// For acquire returns no session for a nonce that is among the unanswered of any. So
	// whoever sends a claim again does so when the earlier copies have landed, or never
	// will; and the answer to the new copy is about all of them.
	//
	// A claim with another nonce does not depend on that, as one of another store never did. If the
	// copy lands first, the other is refused by the version of the record. If the other is
	// granted first, its record refuses the copy. If that record is gone again by then, the copy
	// may land: nobody was told yet what became of its claim, and whoever asks for it finds
	// the record, and gives it back.
	unanswered map[string]struct{}
}

func newSession(m *sessions, name, key string, g *grant, kv *mvccpb.KeyValue) *session {
	x := &session{
		m: m, name: name, key: key, created: kv.CreateRevision, grant: *g,
		over: make(chan struct{}), poke: make(chan struct{}, 1),
		mark: kv.ModRevision, idle: time.Now(),
	}
	x.ctx, x.cancel = context.WithCancel(m.ctx)
	return x
}

// fence is what a claim under the session has to compare with.
func (x *session) fence() fence {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return fence{x.key, x.mark}
}

// learn is told what a claim that was refused has read of the session's key.
func (x *session) learn(kvs []*mvccpb.KeyValue) {
	if len(kvs) == 0 {
		x.learned(nil)
		return
	}
	x.learned(kvs[0])
}

// learned takes the mod revision of the key as it stands, or stood; nil: there is none.
func (x *session) learned(kv *mvccpb.KeyValue) {
	switch {
	case kv == nil:
		x.m.lose(x, "its key is gone: revoked, or expired", true)
	case kv.CreateRevision != x.created || string(kv.Value) != x.value:
		x.m.lose(x, "its key was overwritten by another program", true)
	default:
		x.m.mu.Lock()
		defer x.m.mu.Unlock()
		if kv.ModRevision > x.mark {
			x.mark = kv.ModRevision
			x.settled()
		}
	}
}

// suspect is told that a copy of the claim with that nonce has no answer. It compares with the mark given.
func (x *session) suspect(nonce string, mark int64) {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.gone || mark < x.mark || failpoint.On && failpoint.Mutant(failpoint.MutantLateCopy) {
		return // it has landed, or never will
	}
	if x.unanswered == nil {
		x.unanswered = make(map[string]struct{})
	}
	x.unanswered[nonce] = struct{}{}
	x.m.dirty[x] = struct{}{}
}

// settled is called when none of the unanswered can land any more, with m.mu held.
func (x *session) settled() {
	x.unanswered = nil
	delete(x.m.dirty, x)
}

// doubt is told that a request was refused since a lease is gone: perhaps this one.
func (x *session) doubt() {
	select {
	case x.poke <- struct{}{}:
	default:
	}
}

// release gives an acquire back: the claim was not granted, or it is over.
func (x *session) release() {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	x.keys = max(0, x.keys-1)
	x.idle = time.Now()
}

func (x *session) isLost() bool {
	select {
	case <-x.over:
		return true
	default:
		return false
	}
}

// storedSession is the value of a session's key.
type storedSession struct {
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Instance string    `json:"instance"` // of the store: which keys are its own
	TTL      float64   `json:"ttl"`      // asked for; seconds
}

func (m *sessions) sessionValue() (string, error) {
	b, err := json.Marshal(storedSession{
		Host: m.s.host, PID: m.s.pid, Started: m.wall(time.Now()).UTC().Truncate(time.Microsecond),
		Instance: m.s.writer, TTL: m.s.opts.TTL.Seconds(),
	})
	return string(b), err
}
