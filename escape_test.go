package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// The token is the same over all attempts of a run, whoever makes them, and
// another one in each run.
func TestToken(t *testing.T) {
	for _, c := range []struct {
		what   string
		policy ledger.Policy
		first  error // of the first attempt
		then   func(context.Context, *ledger.Guard, ledger.ID) error
		same   bool
	}{
		{"in doubt", ledger.Policy{}, errTool, nil, true},
		{"not done", ledger.Policy{}, notDone, nil, false},
		{"success, below Max", ledger.Policy{Max: 2}, nil, nil, false},
		{"success, after the TTL", ledger.Policy{TTL: time.Second}, nil, func(context.Context, *ledger.Guard, ledger.ID) error { time.Sleep(time.Second); return nil }, false},
		{"permanent, after the TTL", ledger.Policy{TTL: time.Second}, permanent, func(context.Context, *ledger.Guard, ledger.ID) error { time.Sleep(time.Second); return nil }, false},
		{"retry of a success", ledger.Policy{}, nil, func(ctx context.Context, g *ledger.Guard, _ ledger.ID) error { return g.Retry(ctx, charge) }, false},
		{"retry of a doubt", ledger.Policy{InDoubt: ledger.DoubtBlock}, errTool, func(ctx context.Context, g *ledger.Guard, _ ledger.ID) error { return g.Retry(ctx, charge) }, false},
		{"resolved: it did not happen", ledger.Policy{InDoubt: ledger.DoubtBlock}, errTool, func(ctx context.Context, g *ledger.Guard, id ledger.ID) error {
			_, err := g.Resolve(ctx, id, ledger.Resolution{As: ledger.ResolveDidNotHappen})
			return err
		}, false},
		{"resolved: forgotten", ledger.Policy{InDoubt: ledger.DoubtBlock}, errTool, func(ctx context.Context, g *ledger.Guard, id ledger.ID) error {
			_, err := g.Resolve(ctx, id, ledger.Resolution{As: ledger.ResolveForget})
			return err
		}, false},
	} {
		for _, elsewhere := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m, n := ledger.NewMemory(), &counter{}
				g := newGuard(t, m.Session(), withPolicy(c.policy))
				second := g
				if elsewhere {
					second = newGuard(t, m.Session(), withPolicy(c.policy))
				}
				_, err := ledger.Do(t.Context(), g, charge, n.fails(c.first))
				wantErr(t, err, c.first)
				if c.then != nil {
					wantErr(t, c.then(t.Context(), second, stored(t, m, g, charge).ID))
				}
				_, err = ledger.Do(t.Context(), second, charge, n.run)
				wantErr(t, err)
				if len(n.tokens) != 2 || (n.tokens[0] == n.tokens[1]) != c.same || n.fences[0] >= n.fences[1] || n.tokens[1] == "" {
					t.Errorf("%s: tokens %v, fences %v; the same: want %v", c.what, n.tokens, n.fences, c.same)
				}
			})
		}
	}
}

func TestRetry(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	g, other := newGuard(t, m.Session(), nil), newGuard(t, m.Session(), nil)
	wantErr(t, g.Retry(t.Context(), charge)) // a call that is not recorded
	_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
		wantErr(t, g.Retry(t.Context(), charge), ledger.ErrRunning)
		wantErr(t, other.Retry(t.Context(), charge), ledger.ErrRunning)
		return n.run(ctx)
	})
	wantErr(t, err)
	for range 3 {
		wantErr(t, g.Retry(t.Context(), charge))
		res, err := ledger.Do(t.Context(), g, charge, n.run)
		if err != nil || res.Record.Executed != 1 || res.Record.Starts != 1 {
			t.Errorf("%+v, %v; want a record that begins anew", res.Record, err)
		}
	}
	wantCount(t, "effects", n.count(), 4)
	_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Key: "k"}, n.run)
	wantErr(t, err)
	wantErr(t, g.Retry(ledger.WithKey(t.Context(), "k"), ledger.Call{Tool: "t", Args: "any"}))
	_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Key: "k"}, n.run)
	wantErr(t, err)
	abandon(t, m, g, ledger.Call{Tool: "dead"}, ledger.DoubtBlock) // a dead worker's can be retried
	wantErr(t, g.Retry(t.Context(), ledger.Call{Tool: "dead"}))

	unlimited := newGuard(t, m.Session(), withPolicy(ledger.Policy{Unlimited: true}))
	_, err = ledger.Do(t.Context(), unlimited, charge, n.run)
	wantErr(t, err)
	_, err = unlimited.Stats(t.Context(), ledger.Filter{})
	wantErr(t, err)
	wantErr(t, unlimited.Retry(t.Context(), charge)) // its counter
	s, err := unlimited.Stats(t.Context(), ledger.Filter{Workflow: "default", Tool: "charge_card", States: []ledger.State{ledger.StateNone}})
	if err != nil || s != (ledger.Stats{}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// Retry and Force decide anew while the record changes under them, up to a bound.
func TestEscapeUnderChanges(t *testing.T) {
	changes := func(g *ledger.Guard, n int) step {
		return func(ctx context.Context, do func(context.Context) error) error {
			if n--; n >= 0 {
				_, err := ledger.Force(context.WithoutCancel(ctx), g, charge, (&counter{}).run)
				if err != nil {
					return err
				}
			}
			return do(ctx)
		}
	}
	for _, times := range []int{3, 1000} {
		m, n := ledger.NewMemory(), &counter{}
		store := newScripted(m.Session())
		g, other := newGuard(t, store, nil), newGuard(t, m.Session(), nil)
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err)
		store.always("delete", changes(other, times))
		store.always("claim", changes(other, times))
		var want []error
		if times > 100 {
			want = []error{ledger.ErrUnavailable}
		}
		wantErr(t, g.Retry(t.Context(), charge), want...)
		_, err = ledger.Force(t.Context(), g, charge, n.run)
		wantErr(t, err, want...)
	}
}

func TestForce(t *testing.T) {
	for what, prepare := range map[string]func(*testing.T, *ledger.Memory, *ledger.Guard){
		"none": func(*testing.T, *ledger.Memory, *ledger.Guard) {},
		"succeeded": func(t *testing.T, _ *ledger.Memory, g *ledger.Guard) {
			_, err := ledger.Do(t.Context(), g, charge, (&counter{}).run)
			wantErr(t, err)
		},
		"failed for good": func(t *testing.T, _ *ledger.Memory, g *ledger.Guard) {
			_, err := ledger.Do(t.Context(), g, charge, (&counter{}).fails(permanent))
			wantErr(t, err, errTool)
		},
		"in doubt": func(t *testing.T, _ *ledger.Memory, g *ledger.Guard) {
			_, err := ledger.Do(t.Context(), g, charge, (&counter{}).fails(errTool))
			wantErr(t, err, errTool)
		},
		"dead": func(t *testing.T, m *ledger.Memory, g *ledger.Guard) { abandon(t, m, g, charge, ledger.DoubtBlock) },
	} {
		t.Run(what, func(t *testing.T) {
			m, n := ledger.NewMemory(), &counter{}
			g := newGuard(t, m.Session(), withPolicy(ledger.Policy{InDoubt: ledger.DoubtBlock}))
			prepare(t, m, g)
			was := stored(t, m, g, charge)
			for i := range 2 {
				res, err := ledger.Force(t.Context(), g, charge, n.run)
				if err != nil || res.Value != i+1 || res.Replayed || res.Record.Attempt != 1 || res.Record.Starts != was.Starts+int64(i)+1 {
					t.Errorf("got %+v, %v", res, err)
				}
			}
			if n.tokens[0] == was.Token || n.tokens[0] == n.tokens[1] {
				t.Errorf("tokens %v, before %q", n.tokens, was.Token)
			}
			if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || r.Takeovers != map[bool]int{true: 1}[what == "dead"] {
				t.Errorf("%s, %d takeovers", r.State, r.Takeovers)
			}
			_, err := ledger.Do(t.Context(), g, charge, n.run)
			blocked(t, err, ledger.ErrDuplicate)
		})
	}
	g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Unlimited: true}))
	_, err := ledger.Force(t.Context(), g, charge, (&counter{}).run)
	wantErr(t, err)
	store := newScripted(ledger.NewMemory())
	g = newGuard(t, store, nil)
	store.on("get", down)
	_, err = ledger.Force(t.Context(), g, charge, func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	wantErr(t, err, ledger.ErrUnavailable)
	store.on("claim", refuse(ledger.ErrNotWritten))
	_, err = ledger.Force(t.Context(), g, charge, func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	wantErr(t, err, ledger.ErrUnavailable)
}

func TestReset(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	g := newGuard(t, m, &ledger.Options{Policies: map[string]ledger.Policy{"search": {Unlimited: true}}})
	fill := func() {
		for _, c := range []ledger.Call{
			{Tool: "a", Workflow: "w1", Key: "k1"}, {Tool: "b", Workflow: "w1", Caller: "agent-B"}, {Tool: "a", Workflow: "w2"}, {Tool: "search", Workflow: "w2"},
		} {
			_, err := ledger.Do(t.Context(), g, c, n.run)
			wantErr(t, err)
			_, _ = ledger.Do(t.Context(), g, c, n.run) // with counts that wait
		}
	}
	_, err := g.Reset(t.Context(), ledger.Filter{})
	wantErr(t, err, ledger.ErrInvalid)
	_, err = g.Reset(t.Context(), ledger.Filter{Limit: 5})
	wantErr(t, err, ledger.ErrInvalid)
	for _, c := range []struct {
		filter ledger.Filter
		want   int
	}{
		{ledger.Filter{All: true}, 4}, {ledger.Filter{Workflow: "w1"}, 2}, {ledger.Filter{Tool: "a"}, 2}, {ledger.Filter{Key: "k1"}, 1}, {ledger.Filter{Caller: "agent-B"}, 1},
		{ledger.Filter{States: []ledger.State{ledger.StateSucceeded}}, 3}, {ledger.Filter{States: []ledger.State{ledger.StateFailed}}, 0},
		{ledger.Filter{Since: time.Now().Add(time.Hour)}, 0}, {ledger.Filter{Until: time.Now().Add(-time.Hour), Tool: "a"}, 0}, {ledger.Filter{Tool: "a", Limit: 1}, 1},
	} {
		_, err := g.Reset(t.Context(), ledger.Filter{All: true})
		wantErr(t, err)
		fill()
		got, err := g.Reset(t.Context(), c.filter)
		if err != nil || got != c.want {
			t.Errorf("%+v: deleted %d, %v, want %d", c.filter, got, err, c.want)
		}
		left := 0
		for _, err := range g.History(t.Context(), ledger.Filter{}) {
			wantErr(t, err)
			left++
		}
		wantCount(t, "left", left, 4-c.want)
	}
	_, err = ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
		if got, err := g.Reset(ctx, ledger.Filter{Tool: "charge_card"}); got != 0 || !errors.Is(err, ledger.ErrRunning) {
			t.Errorf("deleted %d, %v; want ErrRunning", got, err)
		}
		return 0, nil
	})
	wantErr(t, err)
}

func TestClosed(t *testing.T) {
	m := ledger.NewMemory()
	g, err := ledger.New(m, withPolicy(ledger.Policy{}))
	wantErr(t, err)
	_, err = ledger.Do(t.Context(), g, charge, (&counter{}).run)
	wantErr(t, err)
	wantErr(t, g.Close(t.Context()))
	wantErr(t, g.Close(t.Context())) // again
	never := func(context.Context) (int, error) { t.Error("ran"); return 0, nil }
	_, err = ledger.Do(t.Context(), g, charge, never)
	wantErr(t, err, ledger.ErrClosed)
	_, err = ledger.Force(t.Context(), g.Workflow("w"), charge, never)
	wantErr(t, err, ledger.ErrClosed)
	_, err = g.Resolve(t.Context(), ledger.ID{Workflow: "w", Tool: "t"}, ledger.Resolution{As: ledger.ResolveForget})
	wantErr(t, err, ledger.ErrClosed)
	if _, err := m.Get(t.Context(), ledger.ID{Workflow: "w", Tool: "t"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the store is not open any more: %v", err)
	}
}

// Close waits for tools, cancels them when its context ends, and then tells of those that stay.
func TestCloseWaits(t *testing.T) {
	for _, c := range []struct {
		what    string
		tool    func(ctx context.Context) error
		took    time.Duration
		running bool
	}{
		{"one that ends", func(context.Context) error { time.Sleep(time.Second); return nil }, time.Second, false},
		{"one that obeys", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, 5 * time.Second, false},
		{"one that does not", func(context.Context) error { time.Sleep(time.Hour); return nil }, 15 * time.Second, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory()
				g, err := ledger.New(m, &ledger.Options{Logger: quiet})
				wantErr(t, err)
				ended := make(chan error, 1)
				go func() {
					_, err := ledger.DoErr(t.Context(), g, charge, c.tool)
					ended <- err
				}()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				second := make(chan error)
				go func() { second <- g.Close(context.Background()) }()
				err = g.Close(ctx)
				if took := time.Since(start); took > c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if other := <-second; c.running && !errors.Is(errors.Join(err, other), ledger.ErrRunning) || !c.running && err != nil {
					t.Errorf("close: %v, %v", err, other)
				}
				if toolErr := <-ended; c.what == "one that obeys" && !errors.Is(toolErr, ledger.ErrClosed) {
					t.Errorf("the tool was cancelled with %v", toolErr)
				}
			})
		})
	}
}

func TestLog(t *testing.T) {
	m := ledger.NewMemory()
	g := newGuard(t, m, &ledger.Options{Policies: map[string]ledger.Policy{"e_search": {Unlimited: true}}})
	do := func(tool string, outcome error, times int, call ledger.Call) {
		call.Tool = tool
		for range times {
			_, _ = ledger.Do(t.Context(), g, call, (&counter{}).fails(outcome))
		}
	}
	do("a_mail", nil, 3, ledger.Call{Key: "k\x1b[31m1"})
	do("b_card", ledger.Permanent(errors.New("card\ndeclined")), 2, ledger.Call{})
	do("c_page", errTool, 1, ledger.Call{})
	do("e_search", nil, 2, ledger.Call{})
	do("a_mail", nil, 1, ledger.Call{Workflow: "order-42"})
	abandon(t, m, g, ledger.Call{Tool: "d_dead"}, 0)
	text := &logs{}
	_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "f_self"}, func(context.Context) (int, error) {
		return 0, g.Log(t.Context(), text, ledger.Filter{})
	})
	wantErr(t, err)
	want := `✓ a_mail k [31m1  attempts 3  executed 1  blocked 2
✗ b_card  attempts 2  executed 0  blocked 1  → card declined
? c_page  attempts 1  executed 0  blocked 0  → the downstream hung up  [default/c_page/6305acedab869f29eb323d21bf1b33ba]
? d_dead  attempts 1  executed 0  blocked 0  [default/d_dead/9e3ae0c9395a7a58ccd924b2ede22fc0]
∞ e_search  attempts 2  executed 2  blocked 0
… f_self  attempts 1  executed 0  blocked 0
✓ a_mail (order-42)  attempts 1  executed 1  blocked 0
`
	if got := text.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s, err := g.Stats(t.Context(), ledger.Filter{})
	if want := (ledger.Stats{Actions: 6, Attempts: 11, Executed: 5, Blocked: 3, Failed: 1, InDoubt: 2}); err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
	for range g.History(t.Context(), ledger.Filter{}) {
		break // a listing can be left
	}
	wantErr(t, g.Log(t.Context(), brokenPipe{}, ledger.Filter{}), errLost)
	wantErr(t, ledger.Check(t.Context()))
	if !strings.Contains(text.String(), "attempts") {
		t.Error("no log")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errLost }
