package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

func ExampleNew() {
	ctx := context.Background()
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{
		Caller: "agent-A",
		Policies: map[string]ledger.Policy{
			"search_web":  {Unlimited: true},
			"charge_card": {Replay: true, Wait: 30 * time.Second, InDoubt: ledger.DoubtBlock},
		},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(ledger.Once(guard, "charge_card", chargeCard)(ctx, ChargeArgs{"cus_42", 9900}))
	fmt.Println(guard.Close(ctx))

	_, err = ledger.New(ledger.NewMemory(), &ledger.Options{Default: ledger.Policy{Max: -1}})
	fmt.Println(errors.Is(err, ledger.ErrInvalid)) // bad options are refused here, not in a call
	// Output:
	// charged cus_42 9900
	// {r-1} <nil>
	// <nil>
	// true
}

// Equal calls in two workflows are two calls.
func ExampleGuard_Workflow() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	in := ChargeArgs{"cus_42", 9900}
	for _, order := range []string{"order-1", "order-2", "order-1"} {
		_, err := ledger.Once(guard.Workflow(order), "charge_card", chargeCard)(ctx, in)
		fmt.Println(order, errors.Is(err, ledger.ErrDuplicate))
	}
	// Output:
	// charged cus_42 9900
	// order-1 false
	// charged cus_42 9900
	// order-2 false
	// order-1 true
}

// The caller is a label: it tells who asked, and tells no two calls apart.
func ExampleGuard_Caller() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	in := ChargeArgs{"cus_42", 9900}
	_, _ = ledger.Once(guard.Caller("agent-A"), "charge_card", chargeCard)(ctx, in)
	_, err := ledger.Once(guard.Caller("agent-B"), "charge_card", chargeCard)(ctx, in)
	var blocked *ledger.BlockedError
	fmt.Println(errors.As(err, &blocked), blocked.Record.Owner.Caller)
	// Output:
	// charged cus_42 9900
	// true agent-A
}

// The ID of a call that failed, or may be in doubt, to read its record.
func ExampleGuard_ID() {
	ctx, store := context.Background(), ledger.NewMemory()
	guard, err := ledger.New(store, nil)
	if err != nil {
		panic(err)
	}
	defer guard.Close(ctx)
	in := ChargeArgs{"cus_42", 9900}
	_, _ = ledger.Once(guard, "charge_card", chargeCard)(ctx, in)
	id, err := guard.ID(ctx, ledger.Call{Tool: "charge_card", Args: in})
	fmt.Println(id, err)
	record, err := store.Get(ctx, id)
	fmt.Println(record.State, err)
	// Output:
	// charged cus_42 9900
	// default/charge_card/fe6b665f8eba0e87c002521fca08d303 <nil>
	// succeeded <nil>
}

func ExampleGuard_Close() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	charge := ledger.Once(guard, "charge_card", chargeCard)
	fmt.Println(guard.Close(ctx)) // waits for running calls; the store stays open
	_, err := charge(ctx, ChargeArgs{"cus_42", 9900})
	fmt.Println(errors.Is(err, ledger.ErrClosed))
	// Output:
	// <nil>
	// true
}

func ExampleGuard_Summarize() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	for _, tool := range []string{"send_mail", "send_mail", "send_sms"} {
		_ = ledger.OnceErr(guard, tool, func(context.Context, string) error { return nil })(ctx, "ann")
	}
	s, err := guard.Summarize(ctx, ledger.Filter{})
	if err != nil {
		panic(err)
	}
	fmt.Println("all:", s.Executed, "executed,", s.Blocked, "blocked")
	for _, tool := range s.Tools {
		fmt.Println(tool.Tool, tool.Executed, tool.Blocked)
	}
	// Output:
	// all: 2 executed, 1 blocked
	// send_mail 1 1
	// send_sms 1 0
}

// For toolsets that are not maps.
func ExampleGuard_WrapTool() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	sms := guard.WrapTool("send_sms", ledger.ToolFunc(func(context.Context, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`"sent"`), nil
	}), &ledger.WrapOptions{Blocked: func(b *ledger.BlockedError) (json.RawMessage, error) {
		return json.Marshal("not again: " + b.Reason.Error()) // the model reads it
	}})
	for range 2 {
		out, err := sms.Call(ctx, json.RawMessage(`{"to":"+49"}`))
		fmt.Println(string(out), err)
	}
	// Output:
	// "sent" <nil>
	// "not again: the call was done before" <nil>
}

// By itself a ToolFunc is not guarded; [Guard.WrapTools] and [Guard.WrapTool] guard it.
func ExampleToolFunc_Call() {
	var tool ledger.Tool = ledger.ToolFunc(func(_ context.Context, args json.RawMessage) (json.RawMessage, error) {
		return args, nil
	})
	out, err := tool.Call(context.Background(), json.RawMessage(`{"to":"+49"}`))
	fmt.Println(string(out), err)
	// Output: {"to":"+49"} <nil>
}

// A downstream that knows the fences can refuse a worker that was overtaken.
func ExampleClaimFrom() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	var newest ledger.Version // in the downstream, by claim.ID
	for range 2 {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(ctx context.Context) error {
			claim, _ := ledger.ClaimFrom(ctx)
			fmt.Println("attempt", claim.Attempt, "of", claim.ID.Tool, "newer:", claim.Fence > newest)
			newest = claim.Fence
			return errors.New("timeout")
		})
		fmt.Println(err)
	}
	_, inside := ledger.ClaimFrom(ctx)
	fmt.Println(inside)
	// Output:
	// attempt 1 of charge_card newer: true
	// timeout
	// attempt 2 of charge_card newer: true
	// timeout
	// false
}

// A middleware that knows who asks says so for all calls below it.
func ExampleWithCaller() {
	ctx, guard := ledger.WithCaller(context.Background(), "agent-A"), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	_, _ = ledger.Once(guard, "charge_card", chargeCard)(ctx, ChargeArgs{"cus_42", 9900})
	for record := range guard.History(ctx, ledger.Filter{Caller: "agent-A"}) {
		fmt.Println(record.Owner.Caller, record.State)
	}
	// Output:
	// charged cus_42 9900
	// agent-A succeeded
}

func ExampleWithWorkflow() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", chargeCard) // once, for all orders
	for _, order := range []string{"order-1", "order-1", "order-2"} {
		_, _ = charge(ledger.WithWorkflow(ctx, order), ChargeArgs{order, 9900})
	}
	// Output:
	// charged order-1 9900
	// charged order-2 9900
}

// reconciled is a call in doubt that comes again, to a downstream that answers so.
func reconciled(answer ledger.Verdict) {
	ctx := context.Background()
	guard := exampleGuard(ledger.Policy{
		Replay: true, InDoubt: ledger.DoubtReconcile,
		Reconcile: func(context.Context, ledger.Record) (ledger.Verdict, error) { return answer, nil },
	})
	defer guard.Close(ctx)
	runs := 0
	pay := ledger.Once(guard, "pay_out", func(context.Context, int) (string, error) {
		if runs++; runs == 1 {
			return "", errors.New("timeout")
		}
		return "p-2", nil
	})
	_, _ = pay(ctx, 9900)
	id, err := pay(ctx, 9900)
	fmt.Printf("%q, in doubt: %t, runs: %d\n", id, errors.Is(err, ledger.ErrInDoubt), runs)
}

// What the downstream says that it did is recorded, and replayed.
func ExampleHappened() {
	reconciled(ledger.Happened("p-1"))
	// Output: "p-1", in doubt: false, runs: 1
}

func ExampleDidNotHappen() {
	reconciled(ledger.DidNotHappen())
	// Output: "p-2", in doubt: false, runs: 2
}

// Nobody knows: nothing runs, and the next call asks again.
func ExampleUnknown() {
	reconciled(ledger.Unknown())
	// Output: "", in doubt: true, runs: 1
}
