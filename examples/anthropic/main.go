// Anthropic: the tool runner of the Messages API, which runs tools by itself and in parallel. The service fails and the
// SDK retries, the model asks for one refund twice in a turn, plans it anew under another id, and the program starts over
// from the conversation that it had saved last. The customer is refunded once.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/toolrunner"

	"github.com/ledger-once/ledger"
)

type refund struct {
	Order string `json:"order" jsonschema:"required"`
	Cents int    `json:"cents" jsonschema:"required"`
}

// guarded is a tool of the runner whose calls go through the guard. It fits every anthropic.BetaTool.
type guarded struct {
	anthropic.BetaTool
	call ledger.Tool
}

func guard(g *ledger.Guard, t anthropic.BetaTool) anthropic.BetaTool {
	return guarded{t, g.WrapTool(t.Name(), ledger.ToolFunc(func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		blocks, err := t.Execute(ctx, args)
		if err != nil {
			return nil, err
		}
		return json.Marshal(blocks)
	}), nil)}
}

// Execute answers a duplicate with the blocks on record. Calls are compared by their arguments and not by the id of the
// tool_use block: a model that plans anew asks for the same refund under a new one.
func (t guarded) Execute(ctx context.Context, input json.RawMessage) ([]anthropic.BetaToolResultBlockParamContentUnion, error) {
	out, err := t.call.Call(ctx, input)
	if err != nil {
		return nil, err // the runner tells the model
	}
	var blocks []anthropic.BetaToolResultBlockParamContentUnion
	return blocks, json.Unmarshal(out, &blocks)
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	server := httptest.NewServer(&fakeModel{w: w})
	defer server.Close()
	client := anthropic.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey("none"), option.WithMaxRetries(2))

	g, err := ledger.New(ledger.NewMemory(), &ledger.Options{ // in production: connect.Open(ctx, "ledger.db")
		// The model gets the first answer again, and so can go on. Tools of one turn run at once: a second call waits for the first.
		Default: ledger.Policy{Replay: true, Wait: time.Minute},
	})
	if err != nil {
		return err
	}
	defer g.Close(ctx)

	tool, err := toolrunner.NewBetaToolFromJSONSchema("refund", "Refunds an order.",
		func(_ context.Context, in refund) (anthropic.BetaToolResultBlockParamContentUnion, error) {
			_, err := fmt.Fprintf(w, "  * refunding %s %d cents\n", in.Order, in.Cents)
			return anthropic.BetaToolResultBlockParamContentUnion{OfText: &anthropic.BetaTextBlockParam{Text: "refunded"}}, err
		})
	if err != nil {
		return err
	}
	conversation := g.Workflow("conversation-1") // the same after a restart

	for _, start := range []string{"first", "second"} {
		fmt.Fprintf(w, "%s start of the program\n", start)
		runner := client.Beta.Messages.NewToolRunner([]anthropic.BetaTool{guard(conversation, tool)}, anthropic.BetaToolRunnerParams{
			BetaMessageNewParams: anthropic.BetaMessageNewParams{
				Model: "claude-fake", MaxTokens: 1000,
				Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock("Refund order-42, please."))},
			},
			MaxIterations: 10, // a model that never stops asking is stopped
		})
		last, err := runner.RunToCompletion(ctx)
		if err != nil {
			return err
		}
		for _, block := range last.Content {
			fmt.Fprintf(w, "model: %s\n", block.Text)
		}
	}

	stats, err := g.Stats(ctx, ledger.Filter{Tool: "refund"})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "asked for %d times, executed %d time\n", stats.Attempts, stats.Executed)
	return err
}
