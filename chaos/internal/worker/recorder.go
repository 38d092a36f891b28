package worker

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/snap"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A history is what the process writes of itself. A line that can not be written ends the
// process: what follows it could not be judged.
type history struct {
	w    *trace.Writer
	n    atomic.Uint64
	fail func(error)
}

// begin writes the first line of an operation and returns its number.
func (h *history) begin(l trace.Line) uint64 {
	l.N, l.At = h.n.Add(1), trace.Now()
	h.write(&l)
	return l.N
}

func (h *history) end(n uint64, l trace.Line) {
	l.N, l.At, l.End = n, trace.Now(), true
	h.write(&l)
}

func (h *history) write(l *trace.Line) {
	if err := h.w.Write(l); err != nil {
		h.fail(err)
	}
}

// within is the number of the guard's operation in whose context a store is called.
type within struct{}

func opOf(ctx context.Context) uint64 {
	n, _ := ctx.Value(within{}).(uint64)
	return n
}

// A recorder is a store whose calls are written down, and which halts where it is told to.
type recorder struct {
	ledger.Store
	h     *history
	halts *halts
}

// record wraps s. The value returned can watch and tell of leases if s can.
func record(s ledger.Store, h *history, halts *halts) ledger.Store {
	r := &recorder{s, h, halts}
	w, watches := s.(ledger.Watcher)
	l, leases := s.(ledger.Leaser)
	switch {
	case watches && leases:
		return &struct {
			*recorder
			ledger.Watcher
			ledger.Leaser
		}{r, w, l}
	case watches:
		return &struct {
			*recorder
			ledger.Watcher
		}{r, w}
	case leases:
		return &struct {
			*recorder
			ledger.Leaser
		}{r, l}
	}
	return r
}

// Claim implements ledger.Store.
func (r *recorder) Claim(ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	key, before, after := c.Next.Key, point.BeforeClaim, point.Claimed
	if c.Seen != 0 && len(c.Next.Log) > 0 && c.Next.Log[len(c.Next.Log)-1].Outcome == ledger.OutcomeLost && !c.Steal {
		before, after = point.Takeover, point.TakeoverClaimed
	}
	r.halts.at(before, key)
	n := r.h.begin(trace.Line{Kind: trace.Claim, In: opOf(ctx), ID: c.Next.ID.String(), Seen: int64(c.Seen), Steal: c.Steal, Next: snap.Of(&c.Next)})
	stands, won, err := r.Store.Claim(ctx, c)
	end := trace.Line{Kind: trace.Claim, Won: won}
	if err == nil {
		end.Stands = snap.Of(&stands)
	}
	r.h.end(n, failed(end, err))
	if won {
		r.halts.at(after, key)
	}
	return stands, won, err
}

// Finish implements ledger.Store.
func (r *recorder) Finish(ctx context.Context, done ledger.Record) error {
	n := r.h.begin(trace.Line{Kind: trace.Finish, In: opOf(ctx), ID: done.ID.String(), Fence: int64(done.Fence), Next: snap.Of(&done)})
	err := r.Store.Finish(ctx, done)
	r.h.end(n, failed(trace.Line{Kind: trace.Finish, Outcome: trace.OK}, err))
	r.halts.at(point.Finished, done.Key)
	return err
}

// Delete implements ledger.Store.
func (r *recorder) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	n := r.h.begin(trace.Line{Kind: trace.Delete, In: opOf(ctx), ID: id.String(), Seen: int64(seen)})
	err := r.Store.Delete(ctx, id, seen)
	r.h.end(n, failed(trace.Line{Kind: trace.Delete, Outcome: trace.OK}, err))
	return err
}

// Get implements ledger.Store.
func (r *recorder) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	n := r.h.begin(trace.Line{Kind: trace.Get, In: opOf(ctx), ID: id.String()})
	stands, err := r.Store.Get(ctx, id)
	end := trace.Line{Kind: trace.Get, Outcome: trace.OK}
	if err == nil {
		end.Stands = snap.Of(&stands)
	}
	r.h.end(n, failed(end, err))
	return stands, err
}

// List implements ledger.Store; listings are not written down.
func (r *recorder) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return r.Store.List(ctx, f)
}

// failed completes the last line of a store's operation. By the contract of
// ledger.Store these errors are definite, and all others are not.
func failed(l trace.Line, err error) trace.Line {
	if err == nil {
		return l
	}
	l.Err, l.Outcome, l.Won = err.Error(), trace.Unknown, false
	for _, d := range []struct {
		is      error
		outcome string
	}{
		{ledger.ErrFenced, trace.Fenced}, {ledger.ErrRunning, trace.Running}, {ledger.ErrNotFound, trace.NotFound},
		{ledger.ErrInvalid, trace.Invalid}, {ledger.ErrClosed, trace.NotStarted}, {ledger.ErrNotWritten, trace.NotStarted},
	} {
		if errors.Is(err, d.is) {
			l.Outcome, l.Definite = d.outcome, true
			return l
		}
	}
	return l
}
