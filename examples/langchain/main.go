// Langchain: guard a tool of the interface that langchaingo and its like use: text in, text out.
//
// Nothing is imported from them: Go's interfaces fit by shape, and so does this wrapper.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ledger-once/ledger"
)

// Tool is langchaingo's tools.Tool.
type Tool interface {
	Name() string
	Description() string
	Call(ctx context.Context, input string) (string, error)
}

// guarded is a Tool whose calls happen once.
type guarded struct {
	Tool
	guard *ledger.Guard
}

// Call runs the tool through the guard. The whole input is its arguments; where it says the same in other words
// each time, give the call a key: ledger.WithKey(ctx, "refund-order-42").
func (t guarded) Call(ctx context.Context, input string) (string, error) {
	res, err := ledger.Do(ctx, t.guard, ledger.Call{Tool: t.Name(), Args: input}, func(ctx context.Context) (string, error) {
		return t.Tool.Call(ctx, input)
	})
	switch {
	case errors.Is(err, ledger.ErrDuplicate), errors.Is(err, ledger.ErrInProgress):
		// An agent shows errors to its model, which tries again. So a duplicate is an answer.
		return "This was done already. Do not repeat it.", nil
	case errors.Is(err, ledger.ErrUnrecorded):
		return res.Value, nil // it happened; the guard goes on recording that
	}
	return res.Value, err
}

// Guard wraps every tool of an agent; it is all that the agent's code has to call.
func Guard(guard *ledger.Guard, tools ...Tool) []Tool {
	wrapped := make([]Tool, len(tools))
	for i, t := range tools {
		wrapped[i] = guarded{t, guard}
	}
	return wrapped
}

// refund stands for one of your tools.
type refund struct{ w io.Writer }

func (refund) Name() string        { return "refund" }
func (refund) Description() string { return "Refunds an order. Input: the order's number." }
func (r refund) Call(_ context.Context, order string) (string, error) {
	_, err := fmt.Fprintf(r.w, "  * refunding %s\n", order)
	return "refunded " + order, err
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	guard, err := ledger.New(ledger.NewMemory(), nil)
	if err != nil {
		return err
	}
	defer guard.Close(ctx)

	tools := Guard(guard.Workflow("chat-1"), refund{w})
	for _, input := range []string{"order-42", "order-42", "order-43"} { // an agent's plan, with a repetition
		answer, err := tools[0].Call(ctx, input)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, answer)
	}
	return nil
}
