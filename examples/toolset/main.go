// Toolset: guard a whole map of tools, dispatched by name, with one line.
//
// This is how most agents hold their tools. The map's type stays what it was, so the loop that dispatches needs no change.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ledger-once/ledger"
)

type mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	// A model writes the text anew each time, so it says nothing about whether this is a retry.
	Text string `json:"text" ledger:"ignore"`
}

type query struct {
	Q string `json:"q"`
}

// request is what a model's answer boils down to.
type request struct {
	tool string
	args string
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	tools := map[string]ledger.Tool{
		"send_mail": ledger.JSON(func(_ context.Context, m mail) (string, error) { // typed: decoded, then compared
			fmt.Fprintf(w, "  * mail to %s: %s\n", m.To, m.Subject)
			return "sent", nil
		}),
		"search": ledger.JSON(func(_ context.Context, q query) (string, error) {
			fmt.Fprintf(w, "  * search for %s\n", q.Q)
			return "3 hits", nil
		}),
		"open_ticket": ledger.ToolFunc(func(_ context.Context, args json.RawMessage) (json.RawMessage, error) { // untyped
			fmt.Fprintf(w, "  * ticket %s\n", args)
			return json.RawMessage(`{"ticket":7}`), nil
		}),
	}

	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{ // in production: connect.Open(ctx, "ledger.db")
		Policies: map[string]ledger.Policy{
			"search":      {Unlimited: true}, // read-only: always runs
			"open_ticket": {Replay: true},    // the model wants to know the ticket's number again
		},
	})
	if err != nil {
		return err
	}
	defer guard.Close(ctx)

	tools = guard.Workflow("conversation-1").WrapTools(tools, &ledger.WrapOptions{
		// What the model reads instead of an error, which it would only retry. It stands in for duplicates, and for nothing worse.
		BlockedReturn: json.RawMessage(`"already done, do not repeat it"`),
	})

	for _, r := range []request{
		{"search", `{"q":"refunds"}`},
		{"send_mail", `{"to":"ann@example.com","subject":"Refund","text":"Dear Ann, ..."}`},
		{"open_ticket", `{"about":"refund"}`},
		// The model lost its context and starts over, in other words and in another order.
		{"search", `{"q":"refunds"}`},
		{"send_mail", `{"text":"Hello Ann! ...","subject":"Refund","to":"ann@example.com"}`},
		{"open_ticket", `{ "about": "refund" }`},
	} {
		tool, ok := tools[r.tool]
		if !ok {
			return fmt.Errorf("no tool %q", r.tool)
		}
		answer, err := tool.Call(ctx, json.RawMessage(r.args))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s -> %s\n", r.tool, answer)
	}
	return nil
}
