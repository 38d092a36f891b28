package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

func ExamplePolicy_unlimited() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Unlimited: true}) // read-only tools
	defer guard.Close(ctx)
	search := ledger.Once(guard, "search_web", func(_ context.Context, q string) (string, error) { return "found " + q, nil })
	for range 2 {
		fmt.Println(search(ctx, "cats"))
	}
	// Output:
	// found cats <nil>
	// found cats <nil>
}

func ExamplePolicy_replay() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Replay: true}) // duplicates get the recorded result
	defer guard.Close(ctx)
	invoices := 0
	invoice := ledger.Once(guard, "create_invoice", func(context.Context, string) (int, error) { invoices++; return 1000 + invoices, nil })
	for range 2 {
		fmt.Println(invoice(ctx, "order-42"))
	}
	// Output:
	// 1001 <nil>
	// 1001 <nil>
}

func ExamplePolicy_max() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Max: 2})
	defer guard.Close(ctx)
	sms := ledger.OnceErr(guard, "send_sms", func(context.Context, string) error { fmt.Println("sent"); return nil })
	for range 4 {
		_ = sms(ctx, "+49")
	}
	// Output:
	// sent
	// sent
}

func ExamplePolicy_ttl() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{TTL: 24 * time.Hour}) // once a day, counted from the finish
	defer guard.Close(ctx)
	report := ledger.OnceErr(guard, "daily_report", func(context.Context, string) error { fmt.Println("reported"); return nil })
	for range 3 {
		_ = report(ctx, "sales")
	}
	// Output:
	// reported
}

// Several workers ask at once; one runs, the others wait for its result. One that comes when it is there needs Replay.
func ExamplePolicy_wait() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Wait: time.Minute, Replay: true})
	defer guard.Close(ctx)
	runs := 0
	charge := ledger.Once(guard, "charge_card", func(context.Context, int) (string, error) {
		runs++
		time.Sleep(10 * time.Millisecond)
		return "r-1", nil
	})
	receipts := make(chan string)
	for range 3 {
		go func() {
			id, _ := charge(ctx, 9900)
			receipts <- id
		}()
	}
	fmt.Println(<-receipts, <-receipts, <-receipts, runs)
	// Output:
	// r-1 r-1 r-1 1
}

func ExamplePolicy_inDoubt() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{InDoubt: ledger.DoubtBlock})
	defer guard.Close(ctx)
	pay := ledger.OnceErr(guard, "pay_out", func(context.Context, int) error { return errors.New("connection reset") })
	fmt.Println(pay(ctx, 9900))                               // did the money move?
	fmt.Println(errors.Is(pay(ctx, 9900), ledger.ErrInDoubt)) // nobody knows: it does not run again
	// Output:
	// connection reset
	// true
}

// The downstream can tell whether the call in doubt happened.
func ExamplePolicy_reconcile() {
	ctx, paid := context.Background(), map[string]string{} // the downstream, by token
	guard := exampleGuard(ledger.Policy{
		Replay: true, InDoubt: ledger.DoubtReconcile,
		Reconcile: func(_ context.Context, r ledger.Record) (ledger.Verdict, error) {
			if id, ok := paid[r.Token]; ok {
				return ledger.Happened(id), nil
			}
			return ledger.DidNotHappen(), nil
		},
	})
	defer guard.Close(ctx)
	pay := ledger.Once(guard, "pay_out", func(ctx context.Context, cents int) (string, error) {
		paid[ledger.Token(ctx)] = "p-1"
		return "", errors.New("the answer was lost")
	})
	fmt.Println(pay(ctx, 9900))
	fmt.Println(pay(ctx, 9900)) // asks, and answers with what the downstream knows
	// Output:
	//  the answer was lost
	// p-1 <nil>
}
