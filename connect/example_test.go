package connect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
)

func Example() {
	ctx := context.Background()
	os.Setenv("LEDGER_STORE", "memory:") // LEDGER_DB=/data/agent.db in earnest
	defer os.Unsetenv("LEDGER_STORE")

	guard, closeGuard, err := connect.FromEnv(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeGuard(ctx)

	for range 3 {
		_, err := ledger.Do(ctx, guard, ledger.Call{Tool: "send_sms", Args: "+49 30 1234"},
			func(context.Context) (string, error) { return "sent", nil })
		fmt.Println("blocked:", errors.Is(err, ledger.ErrBlocked))
	}
	// Output:
	// blocked: false
	// blocked: true
	// blocked: true
}

// What can not be used is refused with the name of the variable.
func ExampleFromEnv() {
	os.Setenv("LEDGER_STORE", "redis://localhost")
	defer os.Unsetenv("LEDGER_STORE")
	_, _, err := connect.FromEnv(context.Background())
	fmt.Println(errors.Is(err, ledger.ErrInvalid))
	message, _, _ := strings.Cut(err.Error(), ";") // what could be used follows
	fmt.Println(message)
	// Output:
	// true
	// connect: LEDGER_STORE: invalid: unknown scheme "redis"
}

func ExampleFromEnvWith() {
	ctx := context.Background()
	os.Setenv("LEDGER_STORE", "memory:")
	os.Setenv("LEDGER_QUIET", "1")
	defer os.Unsetenv("LEDGER_STORE")
	defer os.Unsetenv("LEDGER_QUIET")
	guard, closeGuard, err := connect.FromEnvWith(ctx, &ledger.Options{
		Policies: map[string]ledger.Policy{"charge_card": {Replay: true, Wait: 30 * time.Second}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	charge := ledger.Once(guard, "charge_card", func(context.Context, int) (string, error) { return "r-1", nil })
	for range 2 {
		fmt.Println(charge(ctx, 9900))
	}
	fmt.Println(closeGuard(ctx)) // the guard and its store
	// Output:
	// r-1 <nil>
	// r-1 <nil>
	// <nil>
}

func ExampleOpen() {
	_, err := connect.Open(context.Background(), "etcd://localhost:2379/ledger?ttl=15")
	fmt.Println(err)
	// Output:
	// connect: invalid: the parameter ttl is not a duration above zero with its unit, such as 15s, 2m or 720h
}

// Who only looks makes no file.
func ExampleOpenReadOnly() {
	_, err := connect.OpenReadOnly(context.Background(), "no-such-ledger.db")
	fmt.Println(errors.Is(err, ledger.ErrNotFound))
	// Output: true
}

func ExamplePath() {
	fmt.Println(connect.Path("sqlite:data/ledger.db"))
	fmt.Println(connect.Path("etcd://localhost:2379/ledger"))
	// Output:
	// data/ledger.db true <nil>
	//  false <nil>
}
