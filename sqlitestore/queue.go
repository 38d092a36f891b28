package sqlitestore

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// Group commit, by leader and follower: the first caller that waits leads. It
// takes the turn, begins the transaction, and only then takes all who wait by that time into its
// batch; those who come later wait for the next one, which the first of them leads. So a lone caller
// waits for nobody and hands nothing to another goroutine.

type opKind uint8

const (
	opClaim opKind = iota
	opFinish
	opRemove // a finish with the zero state
	opDelete
	opTally
)

// An op is one caller's write: what it asks for, and the answer.
type op struct {
	kind    opKind
	steal   bool
	id      ledger.ID
	seen    int64 // the version that must stand; of a finish: the fence
	state   int64
	started int64
	nonce   string
	key     string
	caller  string
	data    string // in buf
	counts  []ledger.Tally
	bound   bound

	moreStarts, moreExecuted int64 // of a finish: see the schema

	won     bool
	wrote   bool
	refused bool // its own statement failed: the batch goes on without it
	version int64
	row     row
	err     error

	since time.Time   // queued
	leads bool        // guarded by queue.mu
	wake  chan signal // holds one
	buf   []byte
	over  bool // nobody else knows the op any more: it can be used again
}

// bound holds what a claim and a finish bind, made by the caller: the leader's time is everybody's.
type bound struct{ seen, started, nonce, key, workflow, tool, fingerprint, data any }

func (o *op) bind() {
	if o.bound.seen, o.bound.data = o.seen, o.data; o.kind == opClaim {
		o.bound.started, o.bound.nonce, o.bound.key = o.started, o.nonce, o.key
		o.bound.workflow, o.bound.tool, o.bound.fingerprint = o.id.Workflow, o.id.Tool, o.id.Fingerprint
	}
}

type signal uint8

const (
	answered signal = iota
	lead
)

func (s *Store) newOp(kind opKind, id ledger.ID) *op {
	o, _ := s.ops.Get().(*op)
	if o == nil {
		o = &op{}
	}
	o.kind, o.id = kind, id
	return o
}

// maxKept bounds the buffer of an op that is kept.
const maxKept = 64 << 10

// done is called when the caller has read the answer.
func (s *Store) done(o *op) {
	if !o.over || cap(o.buf) > maxKept {
		return
	}
	*o = op{wake: o.wake, buf: o.buf[:0]}
	s.ops.Put(o)
}

// A queue holds the ops that no batch has taken yet. Its leader is its first op.
type queue struct {
	mu      sync.Mutex
	ops     []*op
	leading bool
	closed  bool
	idle    chan struct{} // made by drained; closed when nobody leads any more
}

// push appends o and reports whether it leads.
func (q *queue) push(o *op) (leads bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, ledger.ErrClosed
	}
	o.since = time.Now()
	q.ops = append(q.ops, o)
	if q.leading {
		if o.wake == nil {
			o.wake = make(chan signal, 1)
		}
		return false, nil
	}
	q.leading, o.leads = true, true
	return true, nil
}

// leave takes o out and reports whether no batch had taken it. If it led, the
// next one leads.
func (q *queue) leave(o *op) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.ops, o)
	if i < 0 {
		return false
	}
	q.ops = slices.Delete(q.ops, i, i+1)
	if o.leads {
		q.appoint()
	}
	return true
}

// A batch ends with the op that makes it so big.
const batchBytes = 4 << 20

// size is about what o adds to the log.
func (o *op) size() int { return len(o.data) + 64*len(o.counts) }

// take removes at most limit ops from the front.
func (q *queue) take(limit int) []*op {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < min(limit, len(q.ops)) && bytes < batchBytes {
		bytes += q.ops[n].size()
		n++
	}
	batch := slices.Clone(q.ops[:n])
	rest := copy(q.ops, q.ops[n:])
	clear(q.ops[rest:])
	q.ops = q.ops[:rest]
	return batch
}

// takeBusy removes own and those that waited for as long as d.
func (q *queue) takeBusy(own *op, d time.Duration) (batch []*op) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ops = slices.DeleteFunc(q.ops, func(o *op) bool {
		late := o == own || time.Since(o.since) >= d
		if late {
			batch = append(batch, o)
		}
		return late
	})
	return batch
}

// pass ends the caller's lead.
func (q *queue) pass() (taken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.appoint()
}

func (q *queue) appoint() (taken bool) {
	if len(q.ops) > 0 {
		q.ops[0].leads = true
		q.ops[0].wake <- lead
		return true
	}
	q.leading = false
	if q.idle != nil {
		close(q.idle)
	}
	return false
}

// drained refuses new ops and returns a channel that is closed when the ones
// before have their answers.
func (q *queue) drained() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.idle = make(chan struct{})
	if !q.leading {
		close(q.idle)
	}
	return q.idle
}

// graceAfter is how long a caller whose context ended waits for the answer of a batch
// that has begun: many times what a commit takes.
const graceAfter = 2 * time.Second

// submit has o written, or returns an error.
func (s *Store) submit(ctx context.Context, o *op) error {
	o.bind()
	leads, err := s.queue.push(o)
	if err != nil {
		return err
	}
	if !leads {
		if leads, err = s.follow(ctx, o); !leads {
			return err
		}
	}
	return s.lead(ctx, o)
}

// follow waits until o is answered or leads.
func (s *Store) follow(ctx context.Context, o *op) (leads bool, err error) {
	select {
	case sig := <-o.wake:
		o.over = sig == answered
		return sig == lead, o.err
	case <-ctx.Done():
	}
	if s.queue.leave(o) {
		return false, notWritten(ctx.Err())
	}
	grace := time.NewTimer(graceAfter)
	defer grace.Stop()
	select {
	case <-o.wake:
		o.over = true
		return false, o.err
	case <-grace.C:
		// Ambiguous: without ErrNotWritten.
		return false, fmt.Errorf("%w: %s: the commit takes longer than %v after the end of the context; whether it wrote is unknown: %w", ledger.ErrUnavailable, s.place.real, graceAfter, ctx.Err())
	}
}

// lead runs one batch with own in it, and passes the lead on. The context of
// the leader ends its waiting, never a batch with others in it.
func (s *Store) lead(ctx context.Context, own *op) error {
	if err := s.begin(ctx); err != nil {
		if ctx.Err() != nil && s.queue.leave(own) {
			return notWritten(ctx.Err())
		}
		var batch []*op
		if isBusy(err) { // who came later waits for its own time
			batch = s.queue.takeBusy(own, s.opts.BusyTimeout)
		} else { // the others would meet the same
			batch = s.queue.take(s.opts.MaxBatch)
		}
		for _, o := range batch {
			o.err = notWritten(err)
		}
		s.queue.pass()
		answer(batch, own)
		own.over = true
		return own.err
	}
	batch := s.queue.take(s.opts.MaxBatch)
	if failpoint.On && failpoint.Mutant(failpoint.MutantAckBeforeCommit) {
		return s.ackThenCommit(batch, own)
	}
	written := s.write(batch)
	s.turn.give()
	if written != nil {
		s.hub.committed(written)
	}
	answer(batch, own)
	// The lead goes last: those who were just answered and come again at once
	// make the next batch greater, which gains more than an earlier begin would.
	if s.queue.pass() {
		runtime.Gosched() // to the next leader: what this caller has to do can wait, and the turn can not
	}
	own.over = true
	return own.err
}

func answer(batch []*op, own *op) {
	for _, o := range batch {
		if o != own {
			o.wake <- answered
		}
	}
}
