package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// fakeModel speaks as much of the Messages API as the example needs, by a script.
type fakeModel struct {
	w    io.Writer
	mu   sync.Mutex
	next int
}

func answer(stop string, blocks ...string) string {
	return fmt.Sprintf(`{"id":"msg_1","type":"message","role":"assistant","model":"claude-fake","stop_reason":%q,"stop_sequence":null,`+
		`"usage":{"input_tokens":1,"output_tokens":1},"content":[%s]}`, stop, strings.Join(blocks, ","))
}

func toolUse(id, args string) string {
	return fmt.Sprintf(`{"type":"tool_use","id":%q,"name":"refund","input":%s}`, id, args)
}

const (
	args = `{"order":"order-42","cents":9900}`
	text = `{"type":"text","text":"Your order is refunded."}`
)

var script = []string{
	"", // fails: the SDK asks again by itself
	answer("tool_use", toolUse("toolu_1", args), toolUse("toolu_2", args)),             // twice in one turn
	answer("tool_use", toolUse("toolu_3", `{ "cents": 9900.0, "order": "order-42" }`)), // planned anew, and spelled otherwise
	answer("end_turn", text),
	answer("tool_use", toolUse("toolu_4", args)), // the program knows nothing of the first start, and the model neither
	"",
	answer("end_turn", text),
}

func (f *fakeModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var request struct {
		Messages []struct {
			Content []struct {
				ToolUseID string `json:"tool_use_id"`
				Content   []struct{ Text string }
			}
		}
	}
	if f.next >= len(script) || r.URL.Path != "/v1/messages" || json.NewDecoder(r.Body).Decode(&request) != nil || len(request.Messages) == 0 {
		http.NotFound(w, r)
		return
	}
	said := script[f.next]
	f.next++
	w.Header().Set("Content-Type", "application/json")
	if said == "" {
		fmt.Fprintln(f.w, "  (the service is overloaded)")
		w.Header().Set("Retry-After-Ms", "1")
		w.WriteHeader(529)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)
		return
	}
	for _, result := range request.Messages[len(request.Messages)-1].Content { // what the tools have answered
		for _, block := range result.Content {
			fmt.Fprintf(f.w, "%s -> %s\n", result.ToolUseID, block.Text)
		}
	}
	_, _ = io.WriteString(w, said)
}
