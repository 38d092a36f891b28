// Openai: a function-calling loop on the Chat Completions API, in which the service fails, the SDK retries, the same
// tool call is issued again, and the model then asks for the same thing under a new id. The customer is refunded once.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/ledger-once/ledger"
)

type refund struct {
	Order string `json:"order"`
	Cents int    `json:"cents"`
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	server := httptest.NewServer(&fakeModel{w: w})
	defer server.Close()
	client := openai.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey("none"), option.WithMaxRetries(2))

	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{ // in production: connect.Open(ctx, "ledger.db")
		Default: ledger.Policy{Replay: true}, // the model gets the first answer again, and so can go on
	})
	if err != nil {
		return err
	}
	defer guard.Close(ctx)

	// The conversation is the workflow. Calls are compared by their arguments and not by tool_call_id: a model that
	// plans anew asks for the same refund under a new id.
	tools := guard.Workflow("conversation-1").WrapTools(map[string]ledger.Tool{
		"refund": ledger.JSON(func(_ context.Context, in refund) (string, error) {
			_, err := fmt.Fprintf(w, "  * refunding %s %d cents\n", in.Order, in.Cents)
			return "refunded", err
		}),
	}, nil)

	params := openai.ChatCompletionNewParams{
		Model:    "gpt-fake",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Refund order-42, please.")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "refund",
			Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{
				"order": map[string]string{"type": "string"}, "cents": map[string]string{"type": "integer"},
			}},
		})},
	}
	for range 10 { // a model that never stops asking is stopped
		answer, err := client.Chat.Completions.New(ctx, params)
		if err != nil {
			return err
		}
		if len(answer.Choices) == 0 {
			return fmt.Errorf("the model sent no choice")
		}
		message := answer.Choices[0].Message
		if len(message.ToolCalls) == 0 {
			_, err := fmt.Fprintf(w, "model: %s\n", message.Content)
			return err
		}
		params.Messages = append(params.Messages, message.ToParam())
		for _, call := range message.ToolCalls {
			tool, ok := tools[call.Function.Name]
			if !ok {
				return fmt.Errorf("no tool %q", call.Function.Name)
			}
			out, err := tool.Call(ctx, json.RawMessage(call.Function.Arguments))
			if err != nil { // a model can make something of an error; the guard has it on record
				out = json.RawMessage(err.Error())
			}
			fmt.Fprintf(w, "%s -> %s\n", call.ID, out)
			params.Messages = append(params.Messages, openai.ToolMessage(string(out), call.ID))
		}
	}
	return fmt.Errorf("the model goes on and on")
}
