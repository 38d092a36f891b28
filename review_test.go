package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// Regressions of what reviews found.

func TestNewRefusesMore(t *testing.T) {
	for reason, o := range map[string]*ledger.Options{
		"MaxResult is 1048577": {MaxResult: ledger.MaxRecordBytes + 1},
		"caller has 257":       {Caller: strings.Repeat("c", 257)},
		"caller is not valid":  {Caller: "\xff"},
	} {
		if _, err := ledger.New(ledger.NewMemory(), o); !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want ErrInvalid with %q", err, reason)
		}
	}
}

// What the downstream says happened counts, also where its result is too large, or nobody may have it.
func TestHappenedWithoutResult(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*ledger.Policy)
		result any
		want   error
	}{
		{"too large", func(*ledger.Policy) {}, strings.Repeat("7", 300<<10), ledger.ErrResultOmitted},
		{"no Replay, Max 2", func(p *ledger.Policy) { p.Replay, p.Max = false, 2 }, 7, ledger.ErrDuplicate},
	} {
		m, n, a := ledger.NewMemory(), &counter{}, &asks{verdict: ledger.Happened(c.result)}
		policy := a.policy()
		c.change(&policy)
		g := newGuard(t, m, withPolicy(policy))
		abandon(t, m, g, charge, 0)
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		blocked(t, err, c.want)
		if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || r.Executed != 1 || n.count() != 0 {
			t.Errorf("%s: %s, executed %d, %d runs", c.what, r.State, r.Executed, n.count())
		}
	}
}

// Errors and panics of tools may quote what must not be in a log.
func TestLogsQuoteNobody(t *testing.T) {
	text := &logs{}
	hook := func(ledger.Record) { panic("hook-secret") }
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{Logger: text.logger(), OnInDoubt: hook, OnFailure: hook})
	for i, end := range []func() error{
		func() error { return errors.New("error-secret") },
		func() error { return ledger.Permanent(errors.New("error-secret")) },
		func() error { panic("panic-secret") },
		func() error { panic(errors.New("panic-secret")) },
	} {
		func() {
			defer func() { _ = recover() }()
			_, _ = ledger.DoErr(t.Context(), g, ledger.Call{Tool: "t", Args: i}, func(context.Context) error { return end() })
		}()
	}
	if got := text.String(); strings.Contains(got, "-secret") || !strings.Contains(got, "a tool panicked") || !strings.Contains(got, "a function of yours panicked") {
		t.Errorf("the log is\n%s", got)
	}
}

// That an inner call was certainly not done says nothing of the outer one.
func TestInnerMarksStayInside(t *testing.T) {
	for _, mark := range []error{notDone, permanent} {
		m := ledger.NewMemory()
		g := newGuard(t, m, nil)
		outer := ledger.Call{Tool: "outer", Args: mark.Error()}
		_, err := ledger.DoErr(t.Context(), g, outer, func(ctx context.Context) error {
			_, err := ledger.DoErr(ctx, g, ledger.Call{Tool: "inner"}, func(context.Context) error { return mark })
			return fmt.Errorf("half of it is done: %w", err)
		})
		wantErr(t, err, errTool)
		if r := stored(t, m, g, outer); r.State != ledger.StateInDoubt {
			t.Errorf("%s, %+v; want in doubt", r.State, r.Error)
		}
		_, err = ledger.DoErr(t.Context(), g, outer, func(ctx context.Context) error {
			_, err := ledger.DoErr(ctx, g, ledger.Call{Tool: "inner", Key: "2"}, func(context.Context) error { return mark })
			return ledger.NotDone(err) // unless the tool says so itself
		})
		wantErr(t, err, errTool)
		if r := stored(t, m, g, outer); r.State != ledger.StateFailed || r.Error.Class != ledger.ClassNotDone {
			t.Errorf("%s, %+v; want failed, not done", r.State, r.Error)
		}
	}
}

// A claim that is another's, or without a lease, before its tool starts is given back.
func TestClaimLostBeforeStart(t *testing.T) {
	for what, lose := range map[string]func(*testing.T, *ledger.Memory, *ledger.Guard){
		"lease": func(_ *testing.T, session *ledger.Memory, _ *ledger.Guard) { session.Expire() },
		"forced": func(t *testing.T, _ *ledger.Memory, g *ledger.Guard) {
			_, err := ledger.Force(t.Context(), g, charge, (&counter{}).run)
			wantErr(t, err)
		},
	} {
		t.Run(what, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			session := m.Session()
			store, ended := newScripted(session), make(chan struct{})
			g := newGuard(t, store, nil)
			store.on("claim", func(ctx context.Context, do func(context.Context) error) error {
				err := do(ctx)
				lose(t, session, g)
				return err
			})
			go func() {
				defer close(ended)
				if _, err := ledger.Do(t.Context(), g, charge, n.run); err == nil {
					t.Error("no error")
				}
			}()
			<-ended
			wantCount(t, "runs", n.count(), 0)
			r := stored(t, m, g, charge)
			if want := map[string]ledger.State{"forced": ledger.StateSucceeded}[what]; r.State != want {
				t.Errorf("state %q, want %q", r.State, want)
			}
		})
	}
}

// A Force whose claim fails leaves the call that runs, and those who wait for it, alone.
func TestForceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, n := newScripted(ledger.NewMemory()), &counter{}
		g := newGuard(t, store, withPolicy(ledger.Policy{Wait: time.Hour}))
		_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
			store.on("claim", refuse(ledger.ErrNotWritten))
			_, err := ledger.Force(t.Context(), g, charge, n.run)
			wantErr(t, err, ledger.ErrUnavailable)
			go func() {
				res, err := ledger.Do(t.Context(), g, charge, n.run)
				if err != nil || !res.Replayed {
					t.Errorf("the waiter: %+v, %v", res, err)
				}
			}()
			time.Sleep(time.Minute)
			return n.effect(ctx), ctx.Err()
		})
		wantErr(t, err)
		synctest.Wait()
		wantCount(t, "effects", n.count(), 1)
	})
}

// A hook that ends its goroutine, after the claim or the outcome, holds up nobody.
func TestGoexitInHook(t *testing.T) {
	leave := func(ledger.Record) { runtime.Goexit() }
	for what, o := range map[string]*ledger.Options{"takeover": {OnTakeover: leave}, "success": {OnSuccess: leave}} {
		m, n := ledger.NewMemory(), &counter{}
		g := newGuard(t, m, o)
		abandon(t, m, g, charge, 0)
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = ledger.Do(t.Context(), g, charge, n.run)
		}()
		<-over
		if r := stored(t, m, g, charge); r.State == ledger.StateRunning && r.Alive {
			t.Errorf("%s: the claim still stands", what)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := ledger.Do(ctx, newGuard(t, m.Session(), nil), charge, n.run)
		if what == "success" {
			blocked(t, err, ledger.ErrDuplicate)
		} else {
			wantErr(t, err)
		}
		cancel()
		wantCount(t, what+": effects", n.count(), 1)
	}
}

// An outcome that is recorded late is told of then.
func TestHooksOfLateOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &told{}
		store := newScripted(ledger.NewMemory())
		g := newGuard(t, store, l.options(ledger.Policy{}))
		store.on("finish", down, down)
		_, err := ledger.Do(t.Context(), g, charge, (&counter{}).run)
		wantErr(t, err, ledger.ErrUnrecorded)
		synctest.Wait() // it is sent again at once, in vain, and then after a pause
		if got := store.called("finish"); got != 2 {
			t.Errorf("sent %d times without a pause, want twice", got)
		}
		if got := l.all(); got != "" {
			t.Errorf("told of %q before it is recorded", got)
		}
		time.Sleep(settled)
		if got := l.all(); got != "success succeeded" {
			t.Errorf("told of %q", got)
		}
	})
}

// A call that comes back to itself through another would wait for itself.
func TestRecursionThroughAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, start := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Wait: time.Hour})), time.Now()
		a, b := ledger.Call{Tool: "a"}, ledger.Call{Tool: "b"}
		_, err := ledger.DoErr(t.Context(), g, a, func(ctx context.Context) error {
			_, err := ledger.DoErr(ctx, g, b, func(ctx context.Context) error {
				_, err := ledger.DoErr(ctx, g, a, func(context.Context) error { t.Error("ran"); return nil })
				blocked(t, err, ledger.ErrInProgress)
				return nil
			})
			return err
		})
		wantErr(t, err)
		if took := time.Since(start); took != 0 {
			t.Errorf("it waited %v", took)
		}
	})
}

func TestNilFunctions(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), nil)
	_, err := ledger.Once[int, int](g, "t", nil)(t.Context(), 1)
	wantErr(t, err, ledger.ErrInvalid)
	wantErr(t, ledger.OnceErr[int](g, "t", nil)(t.Context(), 1), ledger.ErrInvalid)
	_, err = g.WrapTool("t", ledger.ToolFunc(nil), nil).Call(t.Context(), nil)
	wantErr(t, err, ledger.ErrInvalid)
}

// The agent gets null for what can not be said in JSON; a replay is not passed off as that.
func TestWrappedResultOmitted(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Replay: true}))
	tool := g.WrapTool("t", ledger.JSON(func(context.Context, int) (chan int, error) { return make(chan int), nil }), nil)
	got, err := tool.Call(t.Context(), json.RawMessage(`1`))
	if err != nil || got != nil {
		t.Errorf("got %s, %v", got, err)
	}
	_, err = tool.Call(t.Context(), json.RawMessage(`1`))
	blocked(t, err, ledger.ErrResultOmitted)
}

// Whatever a store fails with, it is unavailable to those who ask.
func TestStoreErrorsAreUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		store := newScripted(m.Session())
		g := newGuard(t, store, nil)
		id := abandon(t, m, g, charge, ledger.DoubtBlock).ID
		store.all(refuse(errLost))
		wantErr(t, g.Retry(t.Context(), charge), ledger.ErrUnavailable, errLost)
		_, err := g.Resolve(t.Context(), id, ledger.Resolution{As: ledger.ResolveForget})
		wantErr(t, err, ledger.ErrUnavailable, errLost)
		_, err = g.Reset(t.Context(), ledger.Filter{All: true})
		wantErr(t, err, ledger.ErrUnavailable, errLost)
		_, err = g.Stats(t.Context(), ledger.Filter{})
		wantErr(t, err, ledger.ErrUnavailable, errLost)
		store.all(nil)
	})
}

// The counts of a call that is forgotten do not come back with the next one.
func TestRetryForgetsCounts(t *testing.T) {
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	for range 3 {
		_, _ = ledger.Do(t.Context(), g, charge, n.run)
	}
	wantErr(t, g.Retry(t.Context(), charge))
	_, err := ledger.Do(t.Context(), g, charge, n.run)
	wantErr(t, err)
	s, err := g.Stats(t.Context(), ledger.Filter{})
	if want := (ledger.Stats{Actions: 1, Attempts: 1, Executed: 1}); err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the second waits for the first, and has its own patience
		g, err := ledger.New(ledger.NewMemory(), &ledger.Options{Logger: quiet})
		wantErr(t, err)
		go func() {
			_, err := ledger.DoErr(t.Context(), g, charge, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			wantErr(t, err, ledger.ErrClosed)
		}()
		synctest.Wait()
		first, start := make(chan error), time.Now()
		go func() { first <- g.Close(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, g.Close(ctx))
		wantErr(t, <-first)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a store that was closed before takes nothing any more
		m := ledger.NewMemory()
		store := newScripted(m)
		g, err := ledger.New(store, &ledger.Options{Logger: quiet})
		wantErr(t, err)
		store.always("finish", refuse(ledger.ErrClosed))
		_, err = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		wantErr(t, err, ledger.ErrUnrecorded)
		start := time.Now()
		wantErr(t, g.Close(t.Context()), ledger.ErrUnrecorded)
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A tool that ignores its context, and ends after Close gave up: its outcome is recorded all the same.
func TestToolEndsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		g, err := ledger.New(m, &ledger.Options{Logger: quiet})
		wantErr(t, err)
		id, err := g.ID(t.Context(), charge)
		wantErr(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
				time.Sleep(time.Hour)
				return n.run(ctx)
			})
			ended <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, g.Close(ctx), ledger.ErrRunning)
		wantErr(t, <-ended)
		if r, err := m.Get(t.Context(), id); err != nil || r.State != ledger.StateSucceeded {
			t.Errorf("%s, %v; want succeeded", r.State, err)
		}
	})
}
