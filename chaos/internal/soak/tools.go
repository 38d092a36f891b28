package soak

import (
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Tools are the kinds of calls in the workload: each policy with each world, and
// between them results that are replayed and not, waiting, time-outs and a call that may succeed twice.
func Tools(policies, worlds []string) []trace.Tool {
	var tools []trace.Tool
	for _, d := range policies {
		for _, w := range worlds {
			t := trace.Tool{Name: d + "_" + w, InDoubt: d, World: w, Replay: w != trace.WorldPlain || d == "block"}
			switch {
			case w == trace.WorldHold:
				t.Timeout = 400 * time.Millisecond // under load some run out of it: an uncertain error
			case w == trace.WorldToken:
				t.Wait = 2 * time.Second
			}
			tools = append(tools, t)
		}
	}
	if len(tools) > 1 {
		tools = append(tools, trace.Tool{Name: "twice_" + tools[0].Name, InDoubt: tools[0].InDoubt, World: tools[0].World, Max: 2})
	}
	return tools
}
