package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// fakeModel speaks as much of the Chat Completions API as the example needs, by a script.
type fakeModel struct {
	w    io.Writer
	mu   sync.Mutex
	next int
}

const finish = `{"id":"c","object":"chat.completion","created":1,"model":"gpt-fake","choices":[{"index":0,"finish_reason":"stop",` +
	`"message":{"role":"assistant","content":"Your order is refunded."}}]}`

func toolCall(id, args string) string {
	return fmt.Sprintf(`{"id":"c","object":"chat.completion","created":1,"model":"gpt-fake","choices":[{"index":0,"finish_reason":"tool_calls",`+
		`"message":{"role":"assistant","content":null,"tool_calls":[{"id":%q,"type":"function","function":{"name":"refund","arguments":%q}}]}}]}`, id, args)
}

func (f *fakeModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	script := []string{
		"", // fails: the SDK asks again by itself
		toolCall("call_1", `{"order":"order-42","cents":9900}`),
		"",
		toolCall("call_1", `{"order":"order-42","cents":9900}`),      // the same response, issued again
		toolCall("call_2", `{ "cents": 9900, "order": "order-42" }`), // planned anew: another id, another order of fields
		finish,
	}
	if f.next >= len(script) || r.URL.Path != "/chat/completions" {
		http.NotFound(w, r)
		return
	}
	answer := script[f.next]
	f.next++
	w.Header().Set("Content-Type", "application/json")
	if answer == "" {
		fmt.Fprintln(f.w, "  (the service fails with 500)")
		w.Header().Set("Retry-After-Ms", "1")
		w.WriteHeader(http.StatusInternalServerError)
		answer = `{"error":{"message":"overloaded"}}`
	}
	_, _ = io.WriteString(w, answer)
}
