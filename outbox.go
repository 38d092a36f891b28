package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger/internal/failpoint"
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
	more    chan struct{} // holds one token while there is a letter that no sendAll has seen
}

// A letter is sent in up to two steps: a claim to be settled, then the finish
// that ends it.
type letter struct {
	flight  *flight
	what    string                      // for people
	outcome bool                        // it tells of a tool that ran
	turn    chan struct{}               // holds one token while the letter is being sent
	claim   *Claim                      // nil: there is none to settle, or no more
	then    func(claimed Record) Record // what ends the claim, if it turns out to be ours
	done    Record                      // to be finished; without claim
	ended   bool
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

// post keeps the letter until it is answered. Once the guard is closed for
// good it is sent here and now, for as long as StoreTimeout; false: in vain.
func (o *outbox) post(l *letter) bool {
	l.turn = make(chan struct{}, 1)
	o.mu.Lock()
	if o.letters == nil {
		o.letters = make(map[*flight]*letter)
		o.more = make(chan struct{}, 1)
	}
	o.letters[l.flight] = l
	if !o.posting {
		o.posting = o.c.goBackground(o.run)
	}
	if o.posting {
		select {
		case o.more <- struct{}{}:
		default:
		}
		o.mu.Unlock()
		return true
	}
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), o.c.opts.StoreTimeout)
	defer cancel()
	retry := newRetry()
	for ctx.Err() == nil {
		if err := o.send(ctx, l); err == nil {
			return true
		} else if errors.Is(err, ErrClosed) {
			break
		}
		sleep(ctx, retry.NextBackOff())
	}
	o.end(l, nil)
	return false
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

// sendAll tries each letter once. It reports whether there is hope for one that
// is left: none in a store that is closed.
func (o *outbox) sendAll(ctx context.Context) (hope bool) {
	o.mu.Lock()
	select {
	case <-o.more: // those that it tells of are tried now; left there it would have them tried twice in a row
	default:
	}
	batch := make([]*letter, 0, len(o.letters))
	for _, l := range o.letters {
		batch = append(batch, l)
	}
	o.mu.Unlock()
	var group sync.WaitGroup
	var hopes atomic.Bool
	slots := make(chan struct{}, 32)
	for _, l := range batch {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := o.send(ctx, l); err != nil && !errors.Is(err, ErrClosed) {
				hopes.Store(true)
			}
		})
	}
	group.Wait()
	return hopes.Load()
}

// send tries the letter once; nil: it is answered.
func (o *outbox) send(ctx context.Context, l *letter) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.ended {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failpoint.On {
		failpoint.Hit(failpoint.GuardLetter)
	}
	ctx, cancel := context.WithTimeout(ctx, o.c.opts.StoreTimeout)
	defer cancel()
	if l.claim != nil {
		r, ours, err := o.c.store.Claim(ctx, *l.claim)
		switch {
		case err != nil && !definiteAgain(err):
			return err
		case err == nil && (ours || r.State == StateRunning && r.Nonce == l.claim.Next.Nonce): // it landed, and our session died since
			l.done, l.claim = l.then(r), nil
		default:
			o.end(l, nil)
			return nil
		}
	}
	mark := o.c.cache.mark()
	err := o.c.finish(ctx, &l.done)
	switch {
	case err == nil && l.outcome:
		o.c.remember(l.flight.sum, &l.done, mark)
		o.end(l, &l.done)
		o.c.told(&l.done)
	case err == nil:
		o.end(l, nil)
	case errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound):
		if l.outcome {
			o.c.opts.Logger.Error("ledger: an outcome can not be recorded: the call was claimed or changed by another since", "call", l.done.ID, "outcome", l.done.State)
		}
		o.end(l, nil)
	default:
		return err
	}
	return nil
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

// drain sends what is left until ctx ends, and reports what remains.
func (o *outbox) drain(ctx context.Context) error {
	retry := newRetry()
	for {
		hope := o.sendAll(ctx)
		o.mu.Lock()
		left := len(o.letters)
		o.mu.Unlock()
		if left == 0 {
			return nil
		}
		if !hope || ctx.Err() != nil {
			break
		}
		sleep(ctx, retry.NextBackOff())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var some []string
	kind := ErrUnavailable
	for _, l := range o.letters {
		if l.outcome {
			kind = ErrUnrecorded
		}
		if len(some) < 20 {
			some = append(some, l.what+" of "+l.flight.id.String())
		}
	}
	return fmt.Errorf("%w: the store did not take %d writes; these calls will be found in doubt: %s", kind, len(o.letters), strings.Join(some, ", "))
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
