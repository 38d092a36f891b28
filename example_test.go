package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger"
)

type ChargeArgs struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

type Receipt struct {
	ID string `json:"id"`
}

// chargeCard stands for a payment service.
func chargeCard(_ context.Context, in ChargeArgs) (Receipt, error) {
	fmt.Printf("charged %s %d\n", in.Customer, in.Cents)
	return Receipt{ID: "r-1"}, nil
}

func exampleGuard(p ledger.Policy) *ledger.Guard {
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{Default: p, Logger: quiet})
	if err != nil {
		panic(err)
	}
	return guard
}

func ExampleDo() {
	ctx := context.Background()
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{
		Policies: map[string]ledger.Policy{"charge_card": {Replay: true}},
	})
	if err != nil {
		panic(err)
	}
	defer guard.Close(ctx)

	in := ChargeArgs{"cus_42", 9900}
	for range 3 { // an agent that retries
		res, err := ledger.Do(ctx, guard.Workflow("order-42"), ledger.Call{Tool: "charge_card", Args: in},
			func(ctx context.Context) (Receipt, error) { return chargeCard(ctx, in) })
		fmt.Println(res.Value.ID, res.Replayed, err)
	}
	// Output:
	// charged cus_42 9900
	// r-1 false <nil>
	// r-1 true <nil>
	// r-1 true <nil>
}

func ExampleDoErr() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	for range 2 {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "send_mail", Args: "ann@example.com"},
			func(context.Context) error { fmt.Println("sent"); return nil })
		fmt.Println(errors.Is(err, ledger.ErrDuplicate))
	}
	// Output:
	// sent
	// false
	// true
}

func ExampleOnce() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", chargeCard) // its type does not change
	receipt, err := charge(ctx, ChargeArgs{"cus_42", 9900})
	fmt.Println(receipt.ID, err)
	_, err = charge(ctx, ChargeArgs{"cus_42", 9900})
	fmt.Println(errors.Is(err, ledger.ErrBlocked))
	// Output:
	// charged cus_42 9900
	// r-1 <nil>
	// true
}

func ExampleOnceErr() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	notify := ledger.OnceErr(guard, "notify", func(_ context.Context, who string) error {
		fmt.Println("notified", who)
		return nil
	})
	fmt.Println(notify(ctx, "ann"), notify(ctx, "bob"), notify(ctx, "ann") != nil)
	// Output:
	// notified ann
	// notified bob
	// <nil> <nil> true
}

func ExampleGuard_WrapTools() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	tools := guard.WrapTools(map[string]ledger.Tool{
		"charge_card": ledger.JSON(chargeCard),
		"send_sms": ledger.ToolFunc(func(_ context.Context, args json.RawMessage) (json.RawMessage, error) {
			fmt.Printf("sms %s\n", args)
			return json.RawMessage(`{"status":"sent"}`), nil
		}),
	}, &ledger.WrapOptions{BlockedReturn: json.RawMessage(`{"status":"blocked"}`)})

	for range 2 {
		out, err := tools["send_sms"].Call(ctx, json.RawMessage(`{"to":"+49"}`))
		fmt.Println(string(out), err)
	}
	// Output:
	// sms {"to":"+49"}
	// {"status":"sent"} <nil>
	// {"status":"blocked"} <nil>
}

// Typed arguments are decoded before they are compared: field order, unknown
// fields and a missing zero make no difference.
func ExampleJSON() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	charge := guard.WrapTool("charge_card", ledger.JSON(chargeCard), nil)
	out, err := charge.Call(ctx, json.RawMessage(`{"customer":"cus_42","cents":9900}`))
	fmt.Println(string(out), err)
	_, err = charge.Call(ctx, json.RawMessage(`{"note":"again","cents":9900,"customer":"cus_42"}`))
	fmt.Println(errors.Is(err, ledger.ErrDuplicate))
	// Output:
	// charged cus_42 9900
	// {"id":"r-1"} <nil>
	// true
}

// Arguments that change with every try hide a retry; a key shows it.
func ExampleWithKey() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	send := ledger.OnceErr(guard, "send_mail", func(_ context.Context, at time.Time) error { fmt.Println("sent"); return nil })
	ctx = ledger.WithKey(ctx, "welcome-cus_42")
	for range 3 {
		_ = send(ctx, time.Now())
	}
	// Output:
	// sent
}

// All attempts of a run have the same token; a downstream that honours it acts once.
func ExampleToken() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	charged := map[string]bool{} // in the payment service
	for _, lost := range []error{errors.New("timeout"), nil} {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card", Args: 9900}, func(ctx context.Context) error {
			if key := ledger.Token(ctx); !charged[key] { // its Idempotency-Key header
				charged[key] = true
				fmt.Println("charged")
			}
			return lost
		})
		fmt.Println(err)
	}
	// Output:
	// charged
	// timeout
	// <nil>
}

func ExampleForce() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	in := ChargeArgs{"cus_42", 9900}
	call := ledger.Call{Tool: "charge_card", Args: in}
	run := func(ctx context.Context) (Receipt, error) { return chargeCard(ctx, in) }
	_, _ = ledger.Do(ctx, guard, call, run)
	_, err := ledger.Force(ctx, guard, call, run) // whatever the record says
	fmt.Println(err)
	// Output:
	// charged cus_42 9900
	// charged cus_42 9900
	// <nil>
}

func ExampleGuard_Retry() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", chargeCard)
	in := ChargeArgs{"cus_42", 9900}
	_, _ = charge(ctx, in)
	fmt.Println(guard.Retry(ctx, ledger.Call{Tool: "charge_card", Args: in})) // forget it; the next call runs
	_, err := charge(ctx, in)
	fmt.Println(err)
	// Output:
	// charged cus_42 9900
	// <nil>
	// charged cus_42 9900
	// <nil>
}

// A call in doubt that must not run again by itself waits for a decision.
func ExampleGuard_Resolve() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{InDoubt: ledger.DoubtBlock, Replay: true})
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", func(context.Context, ChargeArgs) (Receipt, error) {
		return Receipt{}, errors.New("timeout") // was it charged?
	})
	in := ChargeArgs{"cus_42", 9900}
	_, _ = charge(ctx, in)
	_, err := charge(ctx, in)
	var blocked *ledger.BlockedError
	fmt.Println(errors.Is(err, ledger.ErrInDoubt), errors.As(err, &blocked))

	_, err = guard.Resolve(ctx, blocked.Record.ID, ledger.Resolution{
		As: ledger.ResolveHappened, Result: json.RawMessage(`{"id":"r-9"}`), By: "ann", Reason: "it is on the statement",
	})
	fmt.Println(err)
	receipt, err := charge(ctx, in)
	fmt.Println(receipt.ID, err)
	// Output:
	// true true
	// <nil>
	// r-9 <nil>
}

func ExampleGuard_Reset() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	for _, order := range []string{"order-1", "order-1", "order-2"} {
		_, _ = ledger.Once(guard.Workflow(order), "charge_card", chargeCard)(ctx, ChargeArgs{order, 100})
	}
	fmt.Println(guard.Reset(ctx, ledger.Filter{Workflow: "order-1"}))
	_, err := guard.Reset(ctx, ledger.Filter{}) // all of them? then say All
	fmt.Println(errors.Is(err, ledger.ErrInvalid))
	// Output:
	// charged order-1 100
	// charged order-2 100
	// 1 <nil>
	// true
}

func ExampleGuard_Log() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	send := ledger.OnceErr(guard, "send_email", func(context.Context, string) error { return nil })
	for range 3 {
		_ = send(ctx, "ann@example.com")
	}
	_ = ledger.OnceErr(guard, "stripe_charge", func(context.Context, int) error {
		return ledger.NotDone(errors.New("card declined"))
	})(ctx, 9900)
	_ = guard.Log(ctx, os.Stdout, ledger.Filter{})
	// Output:
	// ✓ send_email  attempts 3  executed 1  blocked 2
	// ✗ stripe_charge  attempts 1  executed 0  blocked 0  → card declined
}

func ExampleGuard_Stats() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	send := ledger.OnceErr(guard, "send_email", func(context.Context, string) error { return nil })
	for range 3 {
		_ = send(ctx, "ann@example.com")
	}
	stats, err := guard.Stats(ctx, ledger.Filter{Tool: "send_email"})
	fmt.Printf("%+v %v\n", stats, err)
	// Output:
	// {Actions:1 Attempts:3 Executed:1 Blocked:2 Failed:0 InDoubt:0 Running:0} <nil>
}

func ExampleGuard_History() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	order := guard.Workflow("order-42").Caller("agent-A")
	_, _ = ledger.Once(order, "charge_card", chargeCard)(ctx, ChargeArgs{"cus_42", 9900})
	for record, err := range guard.History(ctx, ledger.Filter{Workflow: "order-42"}) {
		fmt.Println(record.ID.Tool, record.State, record.Owner.Caller, string(record.Args), err)
	}
	// Output:
	// charged cus_42 9900
	// charge_card succeeded agent-A {"cents":9900,"customer":"cus_42"} <nil>
}

func ExampleCheck() {
	fmt.Println(ledger.Check(context.Background()))
	// Output:
	// <nil>
}

// An error says how the call ended: certainly not done, so that the next call runs.
func ExampleNotDone() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{InDoubt: ledger.DoubtBlock})
	defer guard.Close(ctx)
	for _, answer := range []error{ledger.NotDone(errors.New("connection refused")), nil} {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(context.Context) error { return answer })
		fmt.Println(err)
	}
	// Output:
	// connection refused
	// <nil>
}

// Failed for good: no call runs it again.
func ExamplePermanent() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{})
	defer guard.Close(ctx)
	for range 2 {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(context.Context) error {
			fmt.Println("asked the bank")
			return ledger.Permanent(errors.New("card declined"))
		})
		fmt.Println(errors.Is(err, ledger.ErrFailed))
	}
	// Output:
	// asked the bank
	// false
	// true
}

func ExamplePermanentWith() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Replay: true})
	defer guard.Close(ctx)
	for range 2 {
		_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(context.Context) error {
			return ledger.PermanentWith(errors.New("card declined"), map[string]string{"code": "lost_card"})
		})
		fmt.Println(err)
		var blocked *ledger.BlockedError
		if errors.As(err, &blocked) {
			fmt.Printf("%s\n", blocked.Record.Result)
		}
	}
	// Output:
	// card declined
	// ledger: default/charge_card/4374762b3697a66e8b02ce6aa4443cbd blocked: the call failed for good: card declined
	// {"code":"lost_card"}
}

// backoff is of github.com/cenkalti/backoff/v4.
func ExampleBackoff() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Backoff: func() ledger.Backoff {
		return backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Millisecond)), 5)
	}})
	defer guard.Close(ctx)
	_, err := ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(ctx context.Context) error {
		claim, _ := ledger.ClaimFrom(ctx)
		fmt.Println("attempt", claim.Attempt)
		if claim.Attempt < 3 {
			return ledger.NotDone(errors.New("connection refused"))
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
	// <nil>
}
