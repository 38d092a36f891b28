package check_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/snap"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// recorded writes down what the guard asks of the store, and loses some of the answers.
type recorded struct {
	*ledger.Memory
	w      *worker
	mu     sync.Mutex
	flying map[string]chan struct{} // writes that have not landed, by what they write
}

var errLost = errors.New("the answer is lost")

// carry carries out a write, whose answer may get lost, and which may land late; but no
// copy of it lands after a definite answer to another.
func (r *recorded) carry(ctx context.Context, what string, write func() error) error {
	r.mu.Lock()
	before := r.flying[what]
	r.mu.Unlock()
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch s := r.w.s; {
	case r.w.gone():
		return ledger.ErrClosed
	case s.disturbed(25): // it lands, its answer does not
		s.pause(ctx, time.Millisecond)
		_ = write()
		return errLost
	case s.disturbed(25): // it lands late
		landed := make(chan struct{})
		r.mu.Lock()
		r.flying[what] = landed
		r.mu.Unlock()
		go func() {
			defer close(landed)
			s.pause(context.Background(), 20*time.Millisecond)
			_ = write()
		}()
		return errLost
	case s.disturbed(40): // it does not land
		return errLost
	default:
		s.pause(ctx, time.Millisecond)
		return write()
	}
}

func end(kind trace.Kind, err error) trace.Line {
	l := trace.Line{Kind: kind}
	if err != nil {
		l.Err = err.Error()
		for e, outcome := range map[error]string{
			ledger.ErrFenced: trace.Fenced, ledger.ErrRunning: trace.Running, ledger.ErrNotFound: trace.NotFound,
			ledger.ErrInvalid: trace.Invalid, ledger.ErrClosed: trace.NotStarted, ledger.ErrNotWritten: trace.NotStarted,
		} {
			if errors.Is(err, e) {
				l.Outcome, l.Definite = outcome, true
			}
		}
	}
	return l
}

func (r *recorded) begin(ctx context.Context, l trace.Line) uint64 {
	l.In, _ = ctx.Value(opKey{}).(uint64)
	return r.w.line(0, l)
}

func (r *recorded) Claim(ctx context.Context, c ledger.Claim) (stands ledger.Record, won bool, err error) {
	n := r.begin(ctx, trace.Line{Kind: trace.Claim, ID: c.Next.ID.String(), Seen: int64(c.Seen), Steal: c.Steal, Next: snap.Of(&c.Next)})
	var answer ledger.Record
	var ours bool
	err = r.carry(ctx, "claim "+c.Next.Nonce, func() (err error) {
		answer, ours, err = r.Memory.Claim(context.WithoutCancel(ctx), c)
		if err == nil && !ours && answer.Alive && r.w.s.broken("claims whatever stands") {
			answer, ours, err = r.Memory.Claim(context.WithoutCancel(ctx), ledger.Claim{Seen: answer.Version, Next: c.Next, Steal: true})
		}
		return err
	})
	l := end(trace.Claim, err)
	if err == nil {
		stands, won = answer, ours
		l.Won, l.Stands = won, snap.Of(&stands)
	}
	r.w.line(n, l)
	return stands, won, err
}

func (r *recorded) Finish(ctx context.Context, done ledger.Record) error {
	n := r.begin(ctx, trace.Line{Kind: trace.Finish, ID: done.ID.String(), Next: snap.Of(&done)})
	err := r.carry(ctx, "finish "+done.Nonce, func() error {
		if r.w.s.broken("acknowledged and dropped") {
			return nil
		}
		return r.Memory.Finish(context.WithoutCancel(ctx), done)
	})
	if err != nil && !errors.Is(err, ledger.ErrFenced) && done.State == ledger.StateSucceeded && r.w.s.broken("an unknown answer is taken for a refusal") {
		err = ledger.ErrFenced
		failed := done
		failed.State, failed.Result, failed.Error = ledger.StateFailed, nil, &ledger.Failure{Class: ledger.ClassNotDone}
		_ = r.Memory.Finish(context.WithoutCancel(ctx), failed)
	}
	r.w.line(n, end(trace.Finish, err))
	return err
}

func (r *recorded) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	n := r.begin(ctx, trace.Line{Kind: trace.Delete, ID: id.String(), Seen: int64(seen)})
	err := r.carry(ctx, fmt.Sprint("delete ", id, seen), func() error { return r.Memory.Delete(context.WithoutCancel(ctx), id, seen) })
	r.w.line(n, end(trace.Delete, err))
	return err
}

func (r *recorded) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	n := r.begin(ctx, trace.Line{Kind: trace.Get, ID: id.String()})
	r.w.s.pause(ctx, time.Millisecond/2)
	stands, err := r.Memory.Get(ctx, id)
	if err == nil && stands.Result != nil && r.w.s.broken("another result is read") {
		stands.Result = []byte(`"another"`)
	}
	l := end(trace.Get, err)
	if err == nil {
		l.Stands = snap.Of(&stands)
	}
	r.w.line(n, l)
	return stands, err
}

func (r *recorded) Tally(ctx context.Context, counts []ledger.Tally) error {
	if r.w.s.broken("counts are dropped") {
		return nil
	}
	return r.Memory.Tally(ctx, counts)
}
