package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/ledger-once/ledger"
)

type mail struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
	Trace   string `json:"trace" ledger:"ignore"`
}

func TestOnceKeepsTheType(t *testing.T) {
	g, sent := newGuard(t, ledger.NewMemory(), nil), 0
	var send func(context.Context, mail) (string, error) = ledger.Once(g, "send_mail", func(_ context.Context, m mail) (string, error) {
		sent++
		return "to " + m.To, nil
	})
	got, err := send(t.Context(), mail{To: "ann"})
	if got != "to ann" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = send(t.Context(), mail{To: "ann", Trace: "another"})
	blocked(t, err, ledger.ErrDuplicate)
	if got != "" {
		t.Errorf("a blocked call returns %q", got)
	}
	_, err = send(ledger.WithKey(t.Context(), "again"), mail{To: "ann"})
	wantErr(t, err)
	wantCount(t, "sent", sent, 2)

	var ping func(context.Context, int) error = ledger.OnceErr(g, "ping", func(context.Context, int) error { sent++; return nil })
	wantErr(t, ping(t.Context(), 1))
	blocked(t, ping(t.Context(), 1), ledger.ErrDuplicate)
	wantErr(t, ping(t.Context(), 2))
	fails := ledger.OnceErr(g, "fails", func(context.Context, int) error { return permanent })
	wantErr(t, fails(t.Context(), 1), errTool)
	blocked(t, fails(t.Context(), 1), ledger.ErrFailed)
	wantCount(t, "calls", sent, 4)
}

// callTool calls a wrapped tool.
func callTool(t *testing.T, tool ledger.Tool, args, want string) {
	t.Helper()
	got, err := tool.Call(t.Context(), json.RawMessage(args))
	if err != nil || string(got) != want {
		t.Errorf("%s: got %s, %v; want %s", args, got, err, want)
	}
}

func TestWrapTools(t *testing.T) {
	ran := map[string]int{}
	raw := ledger.ToolFunc(func(_ context.Context, args json.RawMessage) (json.RawMessage, error) {
		ran["raw"]++
		return args, nil
	})
	typed := ledger.JSON(func(_ context.Context, m mail) (map[string]string, error) {
		ran["typed"]++
		return map[string]string{"sent": m.To}, nil
	})
	tools := map[string]ledger.Tool{"raw": raw, "typed": typed}
	g := newGuard(t, ledger.NewMemory(), nil)
	wrapped := g.WrapTools(tools, &ledger.WrapOptions{BlockedReturn: json.RawMessage(`{"status":"blocked"}`)})
	if len(wrapped) != 2 || reflect.TypeOf(tools["typed"]) != reflect.TypeOf(typed) {
		t.Fatalf("got %d tools; the map given changed: %v", len(wrapped), tools)
	}
	const isBlocked = `{"status":"blocked"}`

	callTool(t, wrapped["typed"], `{"to":"ann"}`, `{"sent":"ann"}`)
	for _, same := range []string{`{"to":"ann"}`, `{"subject":"","to":"ann"}`, `{"to":"ann","trace":"t-1"}`, `{"to":"ann","unknown":1}`, `{"TO":"ann"}`} {
		callTool(t, wrapped["typed"], same, isBlocked)
	}
	callTool(t, wrapped["typed"], `{"to":"ann","subject":"news"}`, `{"sent":"ann"}`)
	callTool(t, wrapped["typed"], ``, `{"sent":""}`) // the zero mail
	callTool(t, wrapped["typed"], `{}`, isBlocked)
	callTool(t, wrapped["typed"], `null`, isBlocked)
	wantCount(t, "typed runs", ran["typed"], 3)

	callTool(t, wrapped["raw"], `{"a":1,"b":0}`, `{"a":1,"b":0}`)
	callTool(t, wrapped["raw"], `{ "b":0.0, "a":1 }`, isBlocked)
	callTool(t, wrapped["raw"], `{"a":1}`, `{"a":1}`) // raw arguments are compared as they come
	callTool(t, wrapped["raw"], ``, ``)
	got, err := wrapped["raw"].Call(t.Context(), nil)
	if string(got) != isBlocked || err != nil {
		t.Errorf("nil and empty arguments are two calls: %s, %v", got, err)
	}
	wantCount(t, "raw runs", ran["raw"], 3)

	for what, bad := range map[string]ledger.Tool{"typed": wrapped["typed"], "raw": wrapped["raw"]} {
		if _, err := bad.Call(t.Context(), json.RawMessage(`{"to":`)); err == nil {
			t.Errorf("%s: arguments that are no JSON are taken", what)
		}
	}
	_, err = wrapped["typed"].Call(t.Context(), json.RawMessage(`{"to":7}`))
	wantErr(t, err, ledger.ErrInvalid)
	_, err = g.WrapTool("nil", nil, nil).Call(t.Context(), nil)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = g.WrapTool("nil", ledger.JSON[int, int](nil), nil).Call(t.Context(), json.RawMessage(`1`))
	wantErr(t, err, ledger.ErrInvalid)
}

// JSON works unguarded, too.
func TestJSON(t *testing.T) {
	double := ledger.JSON(func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	callTool(t, double, `21`, `42`)
	callTool(t, double, ``, `0`)
	_, err := double.Call(t.Context(), json.RawMessage(`"x"`))
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.JSON[int, int](nil).Call(t.Context(), nil)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.JSON(func(context.Context, int) (int, error) { return 0, errTool }).Call(t.Context(), nil)
	wantErr(t, err, errTool)
	// The effect is done: what can not be said in JSON is no failure of it.
	got, err := ledger.JSON(func(context.Context, int) (chan int, error) { return make(chan int), nil }).Call(t.Context(), nil)
	if err != nil || got != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// What a blocked call of a wrapped tool returns: BlockedReturn stands in for
// duplicates and calls in progress, Blocked for all others.
func TestWrapBlocked(t *testing.T) {
	stand := json.RawMessage(`"stand-in"`)
	said := json.RawMessage(`"said"`)
	say := func(b *ledger.BlockedError) (json.RawMessage, error) {
		if b.Reason == ledger.ErrKeyReused {
			return nil, errors.ErrUnsupported
		}
		return said, nil
	}
	for _, c := range []struct {
		what    string
		opts    *ledger.WrapOptions
		outcome error // of the first call
		policy  ledger.Policy
		args    string // of the second call, with the same key
		want    string
		err     error
	}{
		{"nil options", nil, nil, ledger.Policy{}, `1`, ``, ledger.ErrDuplicate},
		{"duplicate", &ledger.WrapOptions{BlockedReturn: stand, Blocked: say}, nil, ledger.Policy{}, `1`, `"stand-in"`, nil},
		{"duplicate, function only", &ledger.WrapOptions{Blocked: say}, nil, ledger.Policy{}, `1`, `"said"`, nil},
		{"permanent", &ledger.WrapOptions{BlockedReturn: stand}, permanent, ledger.Policy{}, `1`, ``, ledger.ErrFailed},
		{"permanent, function", &ledger.WrapOptions{BlockedReturn: stand, Blocked: say}, permanent, ledger.Policy{}, `1`, `"said"`, nil},
		{"in doubt", &ledger.WrapOptions{BlockedReturn: stand}, errTool, ledger.Policy{InDoubt: ledger.DoubtBlock}, `1`, ``, ledger.ErrInDoubt},
		{"in doubt, function", &ledger.WrapOptions{BlockedReturn: stand, Blocked: say}, errTool, ledger.Policy{InDoubt: ledger.DoubtBlock}, `1`, `"said"`, nil},
		{"key reused", &ledger.WrapOptions{BlockedReturn: stand, Blocked: say}, nil, ledger.Policy{Strict: true}, `2`, ``, errors.ErrUnsupported},
		{"omitted", &ledger.WrapOptions{BlockedReturn: stand}, nil, ledger.Policy{Replay: true}, `1`, ``, ledger.ErrResultOmitted},
		{"replay is not blocked", &ledger.WrapOptions{BlockedReturn: stand, Blocked: say}, nil, ledger.Policy{Replay: true, Max: 1, TTL: 1 << 62}, `1`, `"first"`, nil},
	} {
		first := `"first"`
		if c.what == "omitted" {
			first = `not JSON`
		}
		g := newGuard(t, ledger.NewMemory(), withPolicy(c.policy))
		tool := g.WrapTool("t", ledger.ToolFunc(func(context.Context, json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(first), c.outcome
		}), c.opts)
		ctx := ledger.WithKey(t.Context(), "k")
		if got, err := tool.Call(ctx, json.RawMessage(`1`)); string(got) != first || err != c.outcome {
			t.Errorf("%s: first call: %s, %v", c.what, got, err)
		}
		got, err := tool.Call(ctx, json.RawMessage(c.args))
		if string(got) != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: got %s, %v; want %s, %v", c.what, got, err, c.want, c.err)
		}
	}

	// In progress, and a tool that is itself told of a blocked call.
	g := newGuard(t, ledger.NewMemory(), nil)
	inner := g.WrapTool("inner", ledger.ToolFunc(func(context.Context, json.RawMessage) (json.RawMessage, error) { return stand, nil }), nil)
	callTool(t, inner, `1`, `"stand-in"`)
	var outer ledger.Tool
	outer = g.WrapTool("outer", ledger.ToolFunc(func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		callTool(t, outer, `1`, `"blocked"`) // itself: in progress
		return inner.Call(ctx, args)
	}), &ledger.WrapOptions{BlockedReturn: json.RawMessage(`"blocked"`)})
	_, err := outer.Call(t.Context(), json.RawMessage(`1`))
	blocked(t, err, ledger.ErrDuplicate) // the tool ran: its own error, not a stand-in for it
}

// Agents spell integers as they like.
func TestJSONTakesAnyIntegerSpelling(t *testing.T) {
	type in struct{ Amount int }
	ran := 0
	g := newGuard(t, ledger.NewMemory(), nil)
	tool := g.WrapTool("charge", ledger.JSON(func(_ context.Context, a in) (int, error) {
		ran++
		return a.Amount, nil
	}), &ledger.WrapOptions{BlockedReturn: json.RawMessage(`"blocked"`)})
	for i, tt := range []struct{ args, want string }{
		{`{"amount":9900.0}`, `9900`},
		{`{"amount":9900}`, `"blocked"`},
		{`{"amount":99e2}`, `"blocked"`},
	} {
		got, err := tool.Call(t.Context(), json.RawMessage(tt.args))
		if err != nil || string(got) != tt.want {
			t.Errorf("%d: %s: got %s, %v, want %s", i, tt.args, got, err, tt.want)
		}
	}
	if _, err := tool.Call(t.Context(), json.RawMessage(`{"amount":99.5}`)); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("a fraction for an integer: %v, want ErrInvalid", err)
	}
	if ran != 1 {
		t.Errorf("ran %d times, want 1", ran)
	}
}
