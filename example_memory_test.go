package ledger_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ledger-once/ledger"
)

func exampleID(tool string) ledger.ID {
	return ledger.ID{Workflow: "order-42", Tool: tool, Fingerprint: "00112233445566778899aabbccddeeff"}
}

// exampleClaim is what a guard asks a store for.
func exampleClaim(seen ledger.Version, nonce string) ledger.Claim {
	return ledger.Claim{Seen: seen, Next: ledger.Record{ID: exampleID("charge_card"), State: ledger.StateRunning, Nonce: nonce}}
}

// For tests of your own agent: nothing is kept beyond the process.
func ExampleNewMemory() {
	ctx := context.Background()
	guard, err := ledger.New(ledger.NewMemory(), nil)
	if err != nil {
		panic(err)
	}
	defer guard.Close(ctx)
	_, err = ledger.Once(guard, "charge_card", chargeCard)(ctx, ChargeArgs{"cus_42", 9900})
	fmt.Println(err)
	// Output:
	// charged cus_42 9900
	// <nil>
}

// Another worker of the fleet, in a test: two guards on the same data.
func ExampleMemory_Session() {
	ctx, store := context.Background(), ledger.NewMemory()
	for _, s := range []*ledger.Memory{store, store.Session()} {
		guard, err := ledger.New(s, nil)
		if err != nil {
			panic(err)
		}
		_, err = ledger.Once(guard, "charge_card", chargeCard)(ctx, ChargeArgs{"cus_42", 9900})
		fmt.Println(errors.Is(err, ledger.ErrDuplicate))
		_ = guard.Close(ctx)
	}
	// Output:
	// charged cus_42 9900
	// false
	// true
}

// One of two workers wins.
func ExampleMemory_Claim() {
	ctx, worker := context.Background(), ledger.NewMemory()
	mine, won, err := worker.Claim(ctx, exampleClaim(0, "a"))
	fmt.Println(won, mine.State, err)
	theirs, won, err := worker.Session().Claim(ctx, exampleClaim(0, "b"))
	fmt.Println(won, theirs.Nonce, err) // the record that stands in the way
	// Output:
	// true running <nil>
	// false a <nil>
}

// Only the claim that stands can be finished.
func ExampleMemory_Finish() {
	ctx, store := context.Background(), ledger.NewMemory()
	claimed, _, _ := store.Claim(ctx, exampleClaim(0, "a"))
	claimed.State, claimed.Result = ledger.StateSucceeded, []byte(`"r-1"`)
	fmt.Println(store.Finish(ctx, claimed))
	claimed.Fence--
	fmt.Println(errors.Is(store.Finish(ctx, claimed), ledger.ErrFenced))
	// Output:
	// <nil>
	// true
}

func ExampleMemory_Tally() {
	ctx, store := context.Background(), ledger.NewMemory()
	_, _, _ = store.Claim(ctx, exampleClaim(0, "a"))
	for range 2 { // two duplicates
		_ = store.Tally(ctx, []ledger.Tally{{ID: exampleID("charge_card"), Attempts: 1, Blocked: 1}})
	}
	record, err := store.Get(ctx, exampleID("charge_card"))
	fmt.Println(record.Attempts, record.Blocked, err)
	// Output: 2 2 <nil>
}

func ExampleMemory_Get() {
	_, err := ledger.NewMemory().Get(context.Background(), exampleID("charge_card"))
	fmt.Println(errors.Is(err, ledger.ErrNotFound))
	// Output: true
}

// A listing goes on after the last record of the page before.
func ExampleMemory_List() {
	ctx, store := context.Background(), ledger.NewMemory()
	for _, tool := range []string{"send_sms", "charge_card", "send_mail"} {
		claim := exampleClaim(0, "a")
		claim.Next.ID.Tool = tool
		_, _, _ = store.Claim(ctx, claim)
	}
	page := ledger.Filter{Workflow: "order-42", Limit: 2}
	for range 2 {
		for record, err := range store.List(ctx, page) {
			fmt.Println(record.ID.Tool, err)
			page.After = record.ID
		}
		fmt.Println("--")
	}
	// Output:
	// charge_card <nil>
	// send_mail <nil>
	// --
	// send_sms <nil>
	// --
}

func ExampleMemory_ListNewest() {
	ctx, store := context.Background(), ledger.NewMemory()
	for _, tool := range []string{"first", "second", "third"} {
		claim := exampleClaim(0, "a")
		claim.Next.ID.Tool = tool
		_, _, _ = store.Claim(ctx, claim)
	}
	for record, err := range store.ListNewest(ctx, ledger.Filter{Limit: 2}) {
		fmt.Println(record.ID.Tool, err)
	}
	// Output:
	// third <nil>
	// second <nil>
}

// A running record stays while its owner lives.
func ExampleMemory_Delete() {
	ctx, store := context.Background(), ledger.NewMemory()
	claimed, _, _ := store.Claim(ctx, exampleClaim(0, "a"))
	other := store.Session()
	fmt.Println(errors.Is(other.Delete(ctx, claimed.ID, claimed.Version), ledger.ErrRunning))
	_ = store.Close()
	fmt.Println(other.Delete(ctx, claimed.ID, claimed.Version))
	// Output:
	// true
	// <nil>
}

// The end of a session is the death of a worker, to all others.
func ExampleMemory_Close() {
	ctx, store := context.Background(), ledger.NewMemory()
	other := store.Session()
	claimed, _, _ := store.Claim(ctx, exampleClaim(0, "a"))
	_ = store.Close()
	_, won, err := other.Claim(ctx, exampleClaim(claimed.Version, "b"))
	fmt.Println("takeover:", won, err)
	// Output: takeover: true <nil>
}

// A partition, in a test: the tool's context is cancelled, and its call is in doubt to the others.
func ExampleMemory_Expire() {
	ctx, store := context.Background(), ledger.NewMemory()
	guard, err := ledger.New(store, &ledger.Options{Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer guard.Close(ctx)
	_, _ = ledger.DoErr(ctx, guard, ledger.Call{Tool: "charge_card"}, func(ctx context.Context) error {
		store.Expire()
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		return ctx.Err()
	})
	// Output: the lease of this worker is lost
}

func ExampleMemory_LeaseLost() {
	ctx, store := context.Background(), ledger.NewMemory()
	claimed, _, _ := store.Claim(ctx, exampleClaim(0, "a"))
	lost := store.LeaseLost(claimed.Owner.Session)
	store.Expire()
	<-lost
	fmt.Println("lost")
	// Output: lost
}

func ExampleMemory_Sessions() {
	ctx, store := context.Background(), ledger.NewMemory()
	other := store.Session()
	alive, err := store.Sessions(ctx)
	fmt.Println(len(alive), err)
	_ = other.Close()
	alive, err = store.Sessions(ctx)
	fmt.Println(len(alive), err)
	// Output:
	// 2 <nil>
	// 1 <nil>
}

// A waiter learns that the call it waits for has ended, or that its owner died.
func ExampleMemory_Await() {
	ctx, store := context.Background(), ledger.NewMemory()
	claimed, _, _ := store.Claim(ctx, exampleClaim(0, "a"))
	done := make(chan error)
	go func() { done <- store.Await(ctx, claimed.ID, claimed.Version) }()
	claimed.State = ledger.StateSucceeded
	_ = store.Finish(ctx, claimed)
	fmt.Println(<-done)
	// Output: <nil>
}

// The first change says that the watch has begun.
func ExampleMemory_Watch() {
	ctx, store := context.Background(), ledger.NewMemory()
	for change, err := range store.Watch(ctx, ledger.WatchOptions{}) {
		if err != nil {
			panic(err)
		}
		if change.Kind == ledger.ChangeSync {
			_, _, _ = store.Claim(ctx, exampleClaim(0, "a"))
			continue
		}
		fmt.Println(change.ID.Tool, change.Kind == ledger.ChangePut)
		break
	}
	// Output: charge_card true
}
