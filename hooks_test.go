package ledger_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// told records what hooks are told.
type told struct {
	mu   sync.Mutex
	said []string
}

func (l *told) hook(name string) func(ledger.Record) {
	return func(r ledger.Record) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.said = append(l.said, name+" "+string(r.Status()))
	}
}

func (l *told) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.said, "; ")
}

func (l *told) options(p ledger.Policy) *ledger.Options {
	return &ledger.Options{
		Default: p, OnSuccess: l.hook("success"), OnFailure: l.hook("failure"), OnInDoubt: l.hook("doubt"), OnTakeover: l.hook("takeover"),
		OnBlock: func(b *ledger.BlockedError) { l.hook(fmt.Sprintf("block (%v)", b.Reason))(b.Record) },
	}
}

func TestHooks(t *testing.T) {
	for _, c := range []struct {
		what   string
		policy ledger.Policy
		dead   bool
		calls  []error // the tool's outcomes, if it runs
		want   string
	}{
		{"duplicate", ledger.Policy{}, false, []error{nil, nil}, "success succeeded; block (" + ledger.ErrDuplicate.Error() + ") succeeded"},
		{"replayed", ledger.Policy{Replay: true}, false, []error{nil, nil}, "success succeeded; block (" + ledger.ErrDuplicate.Error() + ") succeeded"},
		{"not done, then done", ledger.Policy{}, false, []error{notDone, nil}, "failure failed; success succeeded"},
		{"permanent", ledger.Policy{}, false, []error{permanent, nil}, "failure failed; block (" + ledger.ErrFailed.Error() + ") failed"},
		{"in doubt", ledger.Policy{InDoubt: ledger.DoubtBlock}, false, []error{errTool, nil}, "doubt in_doubt; block (" + ledger.ErrInDoubt.Error() + ") in_doubt"},
		{"takeover", ledger.Policy{}, true, []error{nil}, "takeover running; success succeeded"},
		{"reconciled", (&asks{verdict: ledger.Happened(7)}).policy(), true, []error{nil}, "takeover running; success succeeded; block (" + ledger.ErrDuplicate.Error() + ") succeeded"},
		{"unlimited", ledger.Policy{Unlimited: true}, false, []error{nil, errTool}, "success ; failure "},
	} {
		t.Run(c.what, func(t *testing.T) {
			m, l := ledger.NewMemory(), &told{}
			g := newGuard(t, m, l.options(c.policy))
			if c.dead {
				abandon(t, m, g, charge, 0)
			}
			for _, outcome := range c.calls {
				_, _ = ledger.Do(t.Context(), g, charge, func(context.Context) (int, error) { return 1, outcome })
			}
			if got := l.all(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A hook that panics harms nothing.
func TestHooksPanic(t *testing.T) {
	boom := func(ledger.Record) { panic("boom") }
	text, m, n := &logs{}, ledger.NewMemory(), &counter{}
	g := newGuard(t, m, &ledger.Options{
		Logger: text.logger(), OnSuccess: boom, OnFailure: boom, OnInDoubt: boom, OnTakeover: boom,
		OnBlock: func(*ledger.BlockedError) { panic("boom") },
	})
	abandon(t, m, g, charge, 0)
	for i, want := range []error{errTool, errTool, nil, ledger.ErrDuplicate} {
		_, err := ledger.Do(t.Context(), g, charge, n.fails([]error{errTool, notDone, nil, nil}[i]))
		if want == nil {
			wantErr(t, err)
		} else {
			wantErr(t, err, want)
		}
	}
	wantCount(t, "effects", n.count(), 3)
	wantCount(t, "panics in the log", strings.Count(text.String(), "a function of yours panicked"), 5)
	if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded {
		t.Errorf("state %s", r.State)
	}
}

// Nothing of arguments, results, keys' values in them, or tokens is in the logs, at any level.
func TestLogsAreDiscreet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, m := &logs{}, ledger.NewMemory()
		store := newScripted(m.Session())
		g := newGuard(t, store, &ledger.Options{Logger: text.logger(), Default: ledger.Policy{Replay: true, Backoff: tries(1)}})
		var tokens []string
		do := func(i int, outcome error) {
			call := ledger.Call{Tool: "charge_card", Args: map[string]any{"card": "arg-secret", "n": i}}
			_, _ = ledger.Do(t.Context(), g, call, func(ctx context.Context) (string, error) {
				tokens = append(tokens, ledger.Token(ctx))
				return "result-secret", outcome
			})
		}
		abandon(t, m, g, ledger.Call{Tool: "charge_card", Args: map[string]any{"card": "arg-secret", "n": 0}}, 0)
		for i := range 8 {
			if i == 5 {
				store.on("finish", down)
			}
			for range 3 {
				do(i, []error{nil, errTool, notDone, permanent}[i%4])
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = ledger.Do(t.Context(), g, ledger.Call{Tool: "panics", Args: "arg-secret"}, func(context.Context) (int, error) { panic("boom") })
		}()
		time.Sleep(settled)
		if !strings.Contains(text.String(), "ledger: done") {
			t.Error("the log is empty")
		}
		for _, s := range append(tokens, "arg-secret", "result-secret", "dead-token") {
			if i := strings.Index(text.String(), s); i >= 0 {
				t.Errorf("%q is in the log: …%s", s, text.String()[max(0, i-200):i+len(s)])
			}
		}
	})
}

// The default logger writes to standard error, and only what needs attention; nothing ever goes to standard output.
func TestDefaultLogger(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("no pipes")
	}
	capture := func(f **os.File) func() string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		old := *f
		*f = w
		text := make(chan string)
		go func() {
			all, _ := io.ReadAll(r)
			text <- string(all)
		}()
		return func() string { *f = old; w.Close(); defer r.Close(); return <-text }
	}
	out, errs := capture(&os.Stdout), capture(&os.Stderr)
	g, err := ledger.New(ledger.NewMemory(), nil)
	if err == nil {
		_, _ = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		_, _ = ledger.Do(t.Context(), g, charge, (&counter{}).run)
		_, _ = ledger.Do(t.Context(), g, ledger.Call{Tool: "t"}, (&counter{}).fails(errTool))
		err = g.Close(t.Context())
	}
	stderr, stdout := errs(), out()
	wantErr(t, err)
	if stdout != "" {
		t.Errorf("on standard output: %s", stdout)
	}
	if !strings.Contains(stderr, "in doubt") || strings.Contains(stderr, "ledger: done") {
		t.Errorf("on standard error: %s", stderr)
	}
}

// The footgun detector names the fields that keep changing, once per tool.
func TestFootgun(t *testing.T) {
	type args struct {
		To   string
		At   int
		Meta map[string]int
	}
	retries := func(i int) args { return args{"ann", i, map[string]int{"trace": i, "same": 1}} }
	for _, c := range []struct {
		what  string
		n     int
		pause time.Duration
		call  func(i int) ledger.Call
		want  string
	}{
		{"three", 3, 5 * time.Second, func(i int) ledger.Call { return ledger.Call{Args: retries(i)} }, "At Meta.trace"},
		{"many", 30, time.Millisecond, func(i int) ledger.Call { return ledger.Call{Args: retries(i)} }, "At Meta.trace"},
		{"two", 2, time.Second, func(i int) ledger.Call { return ledger.Call{Args: retries(i)} }, ""},
		{"slow", 9, 5*time.Second + time.Millisecond, func(i int) ledger.Call { return ledger.Call{Args: retries(i)} }, ""},
		{"with a key", 9, 0, func(i int) ledger.Call { return ledger.Call{Key: fmt.Sprint(i), Args: retries(i)} }, ""},
		{"the same arguments", 9, 0, func(int) ledger.Call { return ledger.Call{Args: retries(1)} }, ""},
		{"other workflows", 9, 0, func(i int) ledger.Call { return ledger.Call{Workflow: fmt.Sprint("w", i), Args: retries(i)} }, ""},
		{"other customers too", 3, 0, func(i int) ledger.Call { return ledger.Call{Args: args{To: fmt.Sprint(i), At: i}} }, "At To"},
		{"maps", 3, 0, func(i int) ledger.Call { return ledger.Call{Args: map[string]any{"a": 1, "t": i}} }, "t"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := &logs{}
				g := newGuard(t, ledger.NewMemory(), &ledger.Options{Logger: text.logger()})
				for i := range c.n {
					call := c.call(i)
					call.Tool = "send_mail"
					_, _ = ledger.Do(t.Context(), g, call, (&counter{}).run)
					time.Sleep(c.pause)
				}
				var warnings []string
				for line := range strings.Lines(text.String()) {
					if strings.Contains(line, "arguments that differ in") {
						warnings = append(warnings, line)
					}
				}
				if c.want == "" {
					if len(warnings) > 0 {
						t.Errorf("warned: %s", warnings)
					}
					return
				}
				if len(warnings) != 1 {
					t.Fatalf("%d warnings, want 1:\n%s", len(warnings), text)
				}
				_, list, _ := strings.Cut(warnings[0], "fields=\"[")
				if _, one, ok := strings.Cut(warnings[0], "fields=["); ok {
					list = one
				}
				list, _, _ = strings.Cut(list, "]")
				fields := strings.Fields(list)
				slices.Sort(fields)
				if got := strings.Join(fields, " "); got != c.want || !strings.Contains(warnings[0], "WithKey") || !strings.Contains(warnings[0], "send_mail") {
					t.Errorf("fields %q, want %q: %s", got, c.want, warnings[0])
				}
			})
		})
	}
}
