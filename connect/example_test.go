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
	_, err := connect.Open(context.Background(), "etcd://root:secret@localhost:2379")
	fmt.Println(err)
	// Output:
	// connect: invalid: etcd: is not available in this version; use a path such as ledger.db, sqlite:PATH, file:PATH, or memory:
}
