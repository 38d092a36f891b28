package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

func TestDoOnce(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	g := newGuard(t, m, nil)
	res, err := ledger.Do(t.Context(), g, charge, n.run)
	if err != nil || res.Value != 1 || res.Replayed || res.Record.State != ledger.StateSucceeded || res.Record.Executed != 1 {
		t.Fatalf("got %+v, %v", res, err)
	}
	res, err = ledger.Do(t.Context(), g, charge, n.run)
	b := blocked(t, err, ledger.ErrDuplicate)
	if res.Value != 0 || res.Replayed || b.Record.ID != res.Record.ID || b.Record.Token == "" || b.ArgsDiffer {
		t.Errorf("got %+v, %+v", res, b)
	}
	_, err = ledger.DoErr(t.Context(), g, charge, func(context.Context) error { t.Error("run"); return nil })
	blocked(t, err, ledger.ErrDuplicate)
	wantCount(t, "effects", n.count(), 1)

	// What makes a call another one.
	for what, call := range map[string]ledger.Call{
		"arguments": {Tool: "charge_card", Args: map[string]int{"cents": 4201}},
		"tool":      {Tool: "refund_card", Args: charge.Args},
		"workflow":  {Tool: "charge_card", Args: charge.Args, Workflow: "order-42"},
		"key":       {Tool: "charge_card", Args: charge.Args, Key: "k"},
	} {
		if _, err := ledger.Do(t.Context(), g, call, n.run); err != nil {
			t.Errorf("another %s: %v", what, err)
		}
	}
	for what, same := range map[string]ledger.Call{
		"caller": {Tool: "charge_card", Args: charge.Args, Caller: "agent-B"},
		"json":   {Tool: "charge_card", Args: json.RawMessage(` { "cents" : 42.00e2 } `)},
		"struct": {Tool: "charge_card", Args: struct {
			Cents float64 `json:"cents"`
		}{4200.000000001}},
	} {
		if _, err := ledger.Do(t.Context(), g, same, n.run); !errors.Is(err, ledger.ErrDuplicate) {
			t.Errorf("the same call, by %s: %v", what, err)
		}
	}
	other := newGuard(t, m.Session(), nil)
	_, err = ledger.Do(t.Context(), other, charge, n.run)
	blocked(t, err, ledger.ErrDuplicate)
}

// 64 callers at once, of four workers: one effect.
func TestDoRace(t *testing.T) {
	for _, policy := range []ledger.Policy{{}, {Replay: true, Wait: time.Minute}} {
		m, n := ledger.NewMemory(), &counter{}
		var all sync.WaitGroup
		for range 4 {
			g := newGuard(t, m.Session(), withPolicy(policy))
			for range 16 {
				all.Go(func() {
					res, err := ledger.Do(t.Context(), g, charge, n.run)
					switch {
					case policy.Replay && (err != nil || res.Value != 1):
						t.Errorf("got %d, %v; want the one value", res.Value, err)
					case err != nil && !errors.Is(err, ledger.ErrDuplicate) && !errors.Is(err, ledger.ErrInProgress):
						t.Errorf("blocked by %v", err)
					}
				})
			}
		}
		all.Wait()
		wantCount(t, "effects", n.count(), 1)
	}
}

func TestNewRefuses(t *testing.T) {
	m := ledger.NewMemory()
	reconcile := func(context.Context, ledger.Record) (ledger.Verdict, error) { return ledger.Unknown(), nil }
	tool := func(p ledger.Policy) *ledger.Options { return withPolicy(p) }
	for reason, o := range map[string]*ledger.Options{
		"MaxResult is -1":       {MaxResult: -1},
		"MaxArgs is -1":         {MaxArgs: -1},
		"CacheSize is -1":       {CacheSize: -1},
		"MaxUnrecorded is -1":   {MaxUnrecorded: -1},
		"StoreTimeout is -1s":   {StoreTimeout: -time.Second},
		"workflow has 257":      {Workflow: strings.Repeat("w", 257)},
		"not valid UTF-8":       {Workflow: "\xff"},
		"the tool is empty":     {Policies: map[string]ledger.Policy{"": {}}},
		"policy of send_sms":    {Policies: map[string]ledger.Policy{"send_sms": {Max: -1}}},
		"default policy":        tool(ledger.Policy{Max: -1}),
		"Max is -1":             tool(ledger.Policy{Max: -1}),
		"TTL":                   tool(ledger.Policy{TTL: -1}),
		"Timeout":               tool(ledger.Policy{Timeout: -1}),
		"Wait must":             tool(ledger.Policy{Wait: -1}),
		"InDoubt is unknown(7)": tool(ledger.Policy{InDoubt: 7}),
		"needs a Reconcile":     tool(ledger.Policy{InDoubt: ledger.DoubtReconcile}),
		"Reconcile is set":      tool(ledger.Policy{Reconcile: reconcile}),
		"InDoubt is block":      tool(ledger.Policy{InDoubt: ledger.DoubtBlock, Reconcile: reconcile}),
		"Unlimited excludes":    tool(ledger.Policy{Unlimited: true, Replay: true}),
		"an unlimited call":     tool(ledger.Policy{Unlimited: true, Max: 2}),
		"never compared":        tool(ledger.Policy{Unlimited: true, Strict: true}),
		"and Strict":            tool(ledger.Policy{Unlimited: true, InDoubt: ledger.DoubtBlock}),
		"Max, TTL":              tool(ledger.Policy{Unlimited: true, TTL: 1}),
		"Wait, InDoubt":         tool(ledger.Policy{Unlimited: true, Wait: 1}),
		"path":                  tool(ledger.Policy{Ignore: []string{""}}),
	} {
		_, err := ledger.New(m, o)
		if !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want ErrInvalid with %q", err, reason)
		}
	}
	if _, err := ledger.New(nil, nil); !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), "the store is nil") {
		t.Errorf("nil store: %v", err)
	}
	newGuard(t, m, &ledger.Options{Default: ledger.Policy{InDoubt: ledger.DoubtReconcile, Reconcile: reconcile, Max: 3, TTL: 1, Timeout: 1, Wait: 1, Replay: true, Strict: true}})
}

// New copies the policies: what the caller changes later changes nothing.
func TestPoliciesAreCopied(t *testing.T) {
	policies := map[string]ledger.Policy{"send_sms": {Max: 2}}
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{Policies: policies})
	policies["send_sms"] = ledger.Policy{Unlimited: true}
	n := &counter{}
	for range 5 {
		_, _ = ledger.Do(t.Context(), g, ledger.Call{Tool: "send_sms"}, n.run)
	}
	wantCount(t, "effects", n.count(), 2)
}

// Nothing runs for a call that can not be used.
func TestCallsOutOfBounds(t *testing.T) {
	nested := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{MaxArgs: 100_000})
	long := strings.Repeat("x", 257)
	for what, c := range map[string]struct {
		call ledger.Call
		ok   bool
	}{
		"tool empty":           {ledger.Call{}, false},
		"tool of 256":          {ledger.Call{Tool: long[:256]}, true},
		"tool of 257":          {ledger.Call{Tool: long}, false},
		"tool not UTF-8":       {ledger.Call{Tool: "\xc3"}, false},
		"workflow of 257":      {ledger.Call{Tool: "t", Workflow: long}, false},
		"caller of 256":        {ledger.Call{Tool: "t", Args: 1, Caller: long[:256]}, true},
		"caller of 257":        {ledger.Call{Tool: "t", Caller: long}, false},
		"caller not UTF-8":     {ledger.Call{Tool: "t", Caller: "\xc3"}, false},
		"key of 1024":          {ledger.Call{Tool: "t", Key: strings.Repeat("k", 1024)}, true},
		"key of 1025":          {ledger.Call{Tool: "t", Key: strings.Repeat("k", 1025)}, false},
		"key not UTF-8":        {ledger.Call{Tool: "t", Key: "\xc3"}, false},
		"arguments, 100,000":   {ledger.Call{Tool: "t", Args: strings.Repeat("a", 99_998)}, true},
		"arguments, 100,001":   {ledger.Call{Tool: "t", Args: strings.Repeat("a", 99_999)}, false},
		"nesting of 10,000":    {ledger.Call{Tool: "t", Args: nested(10_000)}, false},
		"nesting of 20":        {ledger.Call{Tool: "t", Args: nested(20)}, true},
		"not JSON":             {ledger.Call{Tool: "t", Args: json.RawMessage(`{"a":`)}, false},
		"a key that is double": {ledger.Call{Tool: "t", Args: json.RawMessage(`{"a":1,"a":2}`)}, false},
		"a channel":            {ledger.Call{Tool: "t", Args: map[string]any{"card": map[string]any{"pipe": make(chan int)}}}, false},
	} {
		ran := false
		_, err := ledger.Do(t.Context(), g, c.call, func(context.Context) (int, error) { ran = true; return 0, nil })
		if ran != c.ok || (err == nil) != c.ok {
			t.Errorf("%s: ran %v, %v", what, ran, err)
		}
		var fp *ledger.FingerprintError
		if !c.ok && !errors.Is(err, ledger.ErrInvalid) && !errors.As(err, &fp) {
			t.Errorf("%s: %v is neither ErrInvalid nor a FingerprintError", what, err)
		}
	}
	_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Args: map[string]any{"card": map[string]any{"pipe": make(chan int)}}}, (&counter{}).run)
	var fp *ledger.FingerprintError
	if !errors.As(err, &fp) || !strings.Contains(err.Error(), "card.pipe") {
		t.Errorf("%v does not name the argument", err)
	}
	_, err = ledger.Do(t.Context(), g.Workflow(""), charge, (&counter{}).run)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.Do[int](t.Context(), g, charge, nil)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.DoErr(t.Context(), g, charge, nil)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.Force[int](t.Context(), g, ledger.Call{}, nil)
	wantErr(t, err, ledger.ErrInvalid)
	_, err = ledger.DoErr(t.Context(), g, ledger.Call{}, nil)
	wantErr(t, err, ledger.ErrInvalid)
	wantErr(t, g.Retry(t.Context(), ledger.Call{}), ledger.ErrInvalid)
}

type payment struct {
	Order string `ledger:"key"`
	Cents int
}

// Call's fields win over the context, the context over the guard, a tag comes last.
func TestIdentityPrecedence(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{Workflow: "guard-wf", Caller: "guard-c"})
	ctx := ledger.WithCaller(ledger.WithWorkflow(ledger.WithKey(t.Context(), "ctx-k"), "ctx-wf"), "ctx-c")
	view := g.Workflow("view-wf").Caller("view-c")
	for i, c := range []struct {
		ctx                   context.Context
		g                     *ledger.Guard
		call                  ledger.Call
		workflow, caller, key string
	}{
		{t.Context(), g, ledger.Call{}, "guard-wf", "guard-c", ""},
		{t.Context(), view, ledger.Call{}, "view-wf", "view-c", ""},
		{ctx, view, ledger.Call{}, "ctx-wf", "ctx-c", "ctx-k"},
		{ctx, view, ledger.Call{Workflow: "call-wf", Caller: "call-c", Key: "call-k"}, "call-wf", "call-c", "call-k"},
		{t.Context(), g, ledger.Call{Args: payment{Order: "tag-k"}}, "guard-wf", "guard-c", "tag-k"},
		{t.Context(), g, ledger.Call{Args: &payment{Order: "tag-k2"}}, "guard-wf", "guard-c", "tag-k2"},
		{t.Context(), g, ledger.Call{Args: payment{Cents: 3}}, "guard-wf", "guard-c", ""},
		{ctx, g, ledger.Call{Args: payment{Order: "tag-k"}, Workflow: "w2"}, "w2", "ctx-c", "ctx-k"},
		{ctx, g, ledger.Call{Args: payment{Order: "tag-k"}, Workflow: "w3", Key: "call-k"}, "w3", "ctx-c", "call-k"},
	} {
		c.call.Tool = "tool"
		res, err := ledger.Do(c.ctx, c.g, c.call, (&counter{}).run)
		r := res.Record
		if err != nil || r.ID.Workflow != c.workflow || r.Owner.Caller != c.caller || r.Key != c.key {
			t.Errorf("%d: got %q, %q, %q, %v; want %q, %q, %q", i, r.ID.Workflow, r.Owner.Caller, r.Key, err, c.workflow, c.caller, c.key)
		}
	}
}

// A guarded call inside a tool has its own identity and claim; the key stays
// outside, the workflow and the caller do not.
func TestCallInsideTool(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), &ledger.Options{Policies: map[string]ledger.Policy{"read": {Unlimited: true}, "self": {Wait: time.Hour}}})
	ctx := ledger.WithCaller(ledger.WithWorkflow(ledger.WithKey(t.Context(), "outer"), "order-7"), "agent")
	if _, ok := ledger.ClaimFrom(ctx); ok || ledger.Token(ctx) != "" {
		t.Error("a claim outside a tool")
	}
	_, err := ledger.Do(ctx, g, charge, func(ctx context.Context) (int, error) {
		outer, ok := ledger.ClaimFrom(ctx)
		if !ok || outer.Attempt != 1 || outer.Fence == 0 || outer.Token == "" || outer.ID.Tool != "charge_card" || outer.Token != ledger.Token(ctx) {
			t.Errorf("claim %+v, %v", outer, ok)
		}
		res, err := ledger.Do(ctx, g, ledger.Call{Tool: "send_mail"}, func(ctx context.Context) (int, error) {
			if ledger.Token(ctx) == outer.Token {
				t.Error("the inner call has the outer's token")
			}
			return 0, nil
		})
		if err != nil || res.Record.Key != "" || res.Record.ID.Workflow != "order-7" || res.Record.Owner.Caller != "agent" {
			t.Errorf("inner: %+v, %v", res.Record, err)
		}
		_, err = ledger.Do(ctx, g, ledger.Call{Tool: "read"}, func(ctx context.Context) (int, error) {
			if _, ok := ledger.ClaimFrom(ctx); ok || ledger.Token(ctx) != "" {
				t.Error("an unlimited tool sees a claim")
			}
			return 0, nil
		})
		return 0, err
	})
	wantErr(t, err)

	// A tool that makes its own call would wait for itself.
	_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "self"}, func(ctx context.Context) (int, error) {
		_, err := ledger.Do(ctx, g, ledger.Call{Tool: "self"}, (&counter{}).run)
		blocked(t, err, ledger.ErrInProgress)
		return 0, nil
	})
	wantErr(t, err)
}

// A panic and runtime.Goexit are recorded as uncertain, and go on.
func TestPanicAndGoexit(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	g := newGuard(t, m, withPolicy(ledger.Policy{Wait: time.Hour}))
	for what, leave := range map[string]func(){
		"panic":  func() { panic("out of paper") },
		"nil":    func() { panic(nil) },
		"error":  func() { panic(errTool) },
		"goexit": runtime.Goexit,
	} {
		call := ledger.Call{Tool: "print", Args: what}
		var thrown any
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { thrown = recover() }()
			_, _ = ledger.Do(t.Context(), g, call, func(context.Context) (int, error) { leave(); return 0, nil })
			t.Errorf("%s: Do returned", what)
		}()
		<-over
		if (thrown == nil) != (what == "goexit") || what == "panic" && thrown != "out of paper" || what == "error" && thrown != errTool {
			t.Errorf("%s: recovered %v", what, thrown)
		}
		r := stored(t, m, g, call)
		if r.State != ledger.StateInDoubt || r.Error == nil || r.Error.Class != ledger.ClassUncertain || what == "panic" && !strings.Contains(r.Error.Message, "out of paper") {
			t.Errorf("%s: %s, %+v; want in doubt", what, r.State, r.Error)
		}
		if _, err := ledger.Do(t.Context(), g, call, n.run); err != nil {
			t.Errorf("%s: the next call: %v", what, err)
		}
		if n.tokens[len(n.tokens)-1] != r.Token {
			t.Errorf("%s: the token changed", what)
		}
	}
}
