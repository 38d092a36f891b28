package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)

// errTool is what tools fail with.
var errTool = errors.New("the downstream hung up")

// newGuard returns a guard that is closed at the end of the test, inside its bubble if it has one.
func newGuard(t testing.TB, store ledger.Store, o *ledger.Options) *ledger.Guard {
	t.Helper()
	var opts ledger.Options
	if o != nil {
		opts = *o
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	g, err := ledger.New(store, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return g
}

// withPolicy are the options for tests of one policy.
func withPolicy(p ledger.Policy) *ledger.Options { return &ledger.Options{Default: p} }

// counter is a tool that counts its effects and returns their number.
type counter struct {
	mu      sync.Mutex
	effects int
	tokens  []string
	fences  []ledger.Version
}

func (c *counter) run(ctx context.Context) (int, error) { return c.effect(ctx), nil }

func (c *counter) effect(ctx context.Context) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.effects++
	claim, _ := ledger.ClaimFrom(ctx)
	c.tokens, c.fences = append(c.tokens, claim.Token), append(c.fences, claim.Fence)
	return c.effects
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.effects
}

// fails is a tool that has its effect and then fails with err.
func (c *counter) fails(err error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) { return c.effect(ctx), err }
}

func wantCount(t testing.TB, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// wantErr checks that err matches each of the targets; without any, that it is nil.
func wantErr(t testing.TB, err error, targets ...error) {
	t.Helper()
	if len(targets) == 0 && err != nil {
		t.Errorf("unexpected error: %v", err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %v, want one that matches %q", err, target)
		}
	}
}

// blocked returns the BlockedError that err must be, with that reason.
func blocked(t testing.TB, err, reason error) *ledger.BlockedError {
	t.Helper()
	var b *ledger.BlockedError
	if !errors.As(err, &b) {
		t.Fatalf("error %v, want a BlockedError", err)
	}
	if b.Reason != reason || !errors.Is(err, reason) || !errors.Is(err, ledger.ErrBlocked) {
		t.Errorf("blocked because %v, want %v", b.Reason, reason)
	}
	return b
}

// stored reads the record of a call from the store.
func stored(t testing.TB, store ledger.Store, g *ledger.Guard, call ledger.Call) ledger.Record {
	t.Helper()
	id, err := g.ID(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Get(context.Background(), id)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		t.Fatal(err)
	}
	return r
}

// abandon leaves the call running under an owner that is dead.
func abandon(t testing.TB, m *ledger.Memory, g *ledger.Guard, call ledger.Call, doubt ledger.DoubtPolicy) ledger.Record {
	t.Helper()
	id, err := g.ID(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	dead := m.Session()
	now := time.Now()
	r, won, err := dead.Claim(t.Context(), ledger.Claim{Next: ledger.Record{
		ID: id, Key: call.Key, State: ledger.StateRunning, Nonce: "dead-nonce", Token: "dead-token", InDoubt: doubt,
		Attempt: 1, Starts: 1, Created: now, Started: now,
	}})
	if err != nil || !won {
		t.Fatalf("claim: %v, %v", won, err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	r.Alive = false
	return r
}

// A step stands in for one operation of a store; do is the operation.
type step func(ctx context.Context, do func(context.Context) error) error

// scripted is a store in memory whose operations can be made to fail.
type scripted struct {
	*ledger.Memory
	mu     sync.Mutex
	script map[string][]step // of the next operations
	rest   map[string]step   // of all that follow
	calls  map[string]int
}

func newScripted(m *ledger.Memory) *scripted {
	return &scripted{Memory: m, script: map[string][]step{}, rest: map[string]step{}, calls: map[string]int{}}
}

// on scripts the next operations of that name: claim, finish, tally, get, list, delete.
func (s *scripted) on(op string, steps ...step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script[op] = append(s.script[op], steps...)
}

// always scripts all further operations; nil lets them work again.
func (s *scripted) always(op string, st step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest[op] = st
}

// all scripts all further operations of every name.
func (s *scripted) all(st step) {
	for _, op := range []string{"claim", "finish", "tally", "get", "list", "delete"} {
		s.always(op, st)
	}
}

func (s *scripted) called(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *scripted) step(ctx context.Context, op string, do func(context.Context) error) error {
	s.mu.Lock()
	s.calls[op]++
	st := s.rest[op]
	if steps := s.script[op]; len(steps) > 0 {
		st, s.script[op] = steps[0], steps[1:]
	}
	s.mu.Unlock()
	if st == nil {
		return do(ctx)
	}
	return st(ctx, do)
}

func (s *scripted) Claim(ctx context.Context, c ledger.Claim) (r ledger.Record, won bool, err error) {
	type answer struct {
		r   ledger.Record
		won bool
	}
	answers := make(chan answer, 9) // a copy that lands later has nobody to answer
	err = s.step(ctx, "claim", func(ctx context.Context) error {
		r, won, err := s.Memory.Claim(ctx, c)
		answers <- answer{r, won}
		return err
	})
	if err != nil {
		return ledger.Record{}, false, err
	}
	a := <-answers
	return a.r, a.won, nil
}

func (s *scripted) Finish(ctx context.Context, done ledger.Record) error {
	return s.step(ctx, "finish", func(ctx context.Context) error { return s.Memory.Finish(ctx, done) })
}

func (s *scripted) Tally(ctx context.Context, counts []ledger.Tally) error {
	return s.step(ctx, "tally", func(ctx context.Context) error { return s.Memory.Tally(ctx, counts) })
}

func (s *scripted) Get(ctx context.Context, id ledger.ID) (r ledger.Record, err error) {
	err = s.step(ctx, "get", func(ctx context.Context) (err error) { r, err = s.Memory.Get(ctx, id); return err })
	return r, err
}

func (s *scripted) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	return s.step(ctx, "delete", func(ctx context.Context) error { return s.Memory.Delete(ctx, id, seen) })
}

func (s *scripted) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		if err := s.step(ctx, "list", func(context.Context) error { return nil }); err != nil {
			yield(ledger.Record{}, err)
			return
		}
		for r, err := range s.Memory.List(ctx, f) {
			if !yield(r, err) {
				return
			}
		}
	}
}

var errLost = errors.New("connection reset by peer")

// The steps.

// down fails without having done anything, which the caller can not know.
func down(context.Context, func(context.Context) error) error {
	return fmt.Errorf("%w: dial: connection refused", ledger.ErrUnavailable)
}

// answerLost does it and loses the answer.
func answerLost(ctx context.Context, do func(context.Context) error) error {
	if err := do(ctx); err != nil {
		return err
	}
	return errLost
}

// hang answers when the caller's patience ends.
func hang(ctx context.Context, _ func(context.Context) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// refuse fails with err.
func refuse(err error) step {
	return func(context.Context, func(context.Context) error) error { return err }
}

// landsLater loses the request, which is done when land is called.
func landsLater(land *func() error) step {
	return func(ctx context.Context, do func(context.Context) error) error {
		*land = func() error { return do(context.WithoutCancel(ctx)) }
		return errLost
	}
}

// gate tells that the operation is about to be done, and does it when it may.
func gate(reached chan<- struct{}, may <-chan struct{}) step {
	return func(ctx context.Context, do func(context.Context) error) error {
		close(reached)
		<-may
		return do(ctx)
	}
}

// unwatched hides what a store can do beyond Store.
type unwatched struct{ ledger.Store }

// logs is a logger whose text can be read while it is written.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
