package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// outbox keeps the writes whose answer is not definite yet, and sends them
// until it is: outcomes of tools that ran, and claims that nobody wants any more.
// While one is in it, the record is running and its owner lives, so nobody
// else can run the call.
type outbox struct {
	c       *core
	mu      sync.Mutex
	letters map[*flight]*letter
	posting bool          // the goroutine runs
	more    chan struct{} // a new letter is there
}

// A letter is sent in up to two steps: a claim to be settled, then the finish
// that ends it.
type letter struct {
	flight *flight
	claim  *Claim                                         // nil: there is none to settle
	done   Record                                         // to be finished; without claim
	then   func(claimed Record) (done Record, keeps bool) // what ends the claim, if it turns out to be ours
	keeps  bool                                           // done is an outcome, worth telling of
	turn   chan struct{}                                  // holds one token while it is being sent
	ended  bool
}

func newRetry() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(15*time.Second), backoff.WithMaxElapsedTime(0))
}

// full reports whether so much is unrecorded that no call may be added.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.letters) >= o.c.opts.MaxUnrecorded
}

func (o *outbox) post(l *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.letters == nil {
		o.letters = make(map[*flight]*letter)
		o.more = make(chan struct{}, 1)
	}
	l.turn = make(chan struct{}, 1)
	o.letters[l.flight] = l
	if !o.posting {
		o.posting = o.c.goBackground(o.run)
	}
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *outbox) run() {
	retry := newRetry()
	for {
		o.sendAll(o.c.life)
		o.mu.Lock()
		if len(o.letters) == 0 || o.c.life.Err() != nil {
			o.posting = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		timer := time.NewTimer(retry.NextBackOff())
		select {
		case <-timer.C:
		case <-o.more: // a store that failed one write may take the next; the pause starts anew
			retry.Reset()
		case <-o.c.life.Done():
		}
		timer.Stop()
	}
}

// sendAll tries each letter once.
func (o *outbox) sendAll(ctx context.Context) {
	o.mu.Lock()
	batch := make([]*letter, 0, len(o.letters))
	for _, l := range o.letters {
		batch = append(batch, l)
	}
	o.mu.Unlock()
	var group sync.WaitGroup
	slots := make(chan struct{}, 32)
	for _, l := range batch {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			o.send(ctx, l)
		})
	}
	group.Wait()
}

func (o *outbox) send(ctx context.Context, l *letter) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return
	}
	if l.ended || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, o.c.opts.StoreTimeout)
	defer cancel()
	if l.claim != nil {
		r, ours, err := o.c.store.Claim(ctx, *l.claim)
		if err != nil && !definiteAgain(err) {
			return
		}
		if err != nil || !ours {
			o.end(l, nil)
			return
		}
		l.done, l.keeps = l.then(r)
		l.claim = nil
	}
	mark := o.c.cache.mark()
	err := o.c.finish(ctx, &l.done)
	switch {
	case err == nil && l.keeps:
		o.c.remember(l.flight.sum, &l.done, mark)
		o.end(l, &l.done)
	case err == nil:
		o.end(l, nil)
	case errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound):
		if l.keeps {
			o.c.opts.Logger.Error("ledger: an outcome can not be recorded: the call was claimed or changed by another since", "call", l.done.ID, "outcome", l.done.State)
		}
		o.end(l, nil)
	}
}

// definiteAgain reports whether err answers a claim that was sent before: that
// this copy was not written says nothing about the earlier one.
func definiteAgain(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrInvalid)
}

func (o *outbox) end(l *letter, outcome *Record) {
	l.ended = true
	o.mu.Lock()
	delete(o.letters, l.flight)
	o.mu.Unlock()
	o.c.flights.end(l.flight, outcome)
}

// drain sends what is left until ctx ends, and reports the outcomes that remain unrecorded.
func (o *outbox) drain(ctx context.Context) error {
	retry := newRetry()
	for {
		o.sendAll(ctx)
		o.mu.Lock()
		left := len(o.letters)
		o.mu.Unlock()
		if left == 0 {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		sleep(ctx, retry.NextBackOff())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var lost []string
	for _, l := range o.letters {
		if l.keeps && l.claim == nil && len(lost) < 20 {
			lost = append(lost, fmt.Sprintf("%s (%s)", l.done.ID, l.done.State))
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d in all, among them %v; they will be found in doubt", ErrUnrecorded, len(o.letters), lost)
}

// finish sends an outcome; one that the store refuses, as too large, again
// without its arguments and result: better so than not at all.
func (c *core) finish(ctx context.Context, done *Record) error {
	err := c.store.Finish(ctx, *done)
	if !errors.Is(err, ErrInvalid) || done.Result == nil && done.Args == nil {
		return err
	}
	c.opts.Logger.Warn("ledger: an outcome is recorded without arguments and result: the store refuses them", "call", done.ID, "error", err)
	done.Args = nil
	if done.Result != nil {
		done.Result, done.ResultOmitted = nil, true
	}
	return c.store.Finish(ctx, *done)
}
