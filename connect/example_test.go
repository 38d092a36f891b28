package connect_test

import (
	"context"
	"errors"
	"fmt"
	"os"

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

func ExampleOpen() {
	_, err := connect.Open(context.Background(), "etcd://localhost:2379/ledger?ttl=15")
	fmt.Println(err)
	// Output:
	// connect: invalid: the parameter ttl is not a duration above zero with its unit, such as 15s, 2m or 720h
}
