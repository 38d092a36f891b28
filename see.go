package ledger

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Stats counts what the filter selects, after this guard's own counts were
// written. Other processes' counts may be a second old. [Summarize] says what it costs.
func (g *Guard) Stats(ctx context.Context, f Filter) (Stats, error) {
	s, err := g.Summarize(ctx, f)
	return s.Stats, err
}

// Summarize is [Guard.Stats] in all and by tool.
func (g *Guard) Summarize(ctx context.Context, f Filter) (Summary, error) {
	err := g.tallies.flush(ctx)
	var s Summary
	if err == nil {
		s, err = Summarize(ctx, g.store, f)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("ledger: stats: %w", unavailable(err))
	}
	return s, nil
}

// History yields the records that the filter selects, in the store's order, with
// arguments and results readable where this guard's Sealer opens them. An
// error is yielded once, as the last element.
func (g *Guard) History(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := g.tallies.flush(ctx); err != nil {
			yield(Record{}, fmt.Errorf("ledger: history: %w", unavailable(err)))
			return
		}
		for r, err := range g.store.List(ctx, f) {
			if err != nil {
				yield(r, fmt.Errorf("ledger: history: %w", unavailable(err)))
				return
			}
			if readable, err := g.open(r); err == nil {
				r = readable
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Log writes a line for each record that the filter selects:
//
//	✓ send_email   attempts 3  executed 1  blocked 2
//	✗ charge_card  attempts 1  executed 0  blocked 0  → card declined
//
// with … for running and ? for in doubt, then with the ID that Resolve takes
// (ParseID reads it). attempts counts calls, those that were blocked included.
func (g *Guard) Log(ctx context.Context, w io.Writer, f Filter) error {
	for r, err := range g.History(ctx, f) {
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, logLine(&r)); err != nil {
			return fmt.Errorf("ledger: log: %w", err)
		}
	}
	return nil
}

var marks = map[State]string{StateSucceeded: "✓", StateFailed: "✗", StateInDoubt: "?", StateRunning: "…", StateNone: "∞"}

func logLine(r *Record) string {
	var b strings.Builder
	mark, ok := marks[r.Status()]
	if !ok {
		mark = string(r.State)
	}
	fmt.Fprintf(&b, "%s %s", mark, oneLine(r.ID.Tool))
	if r.Key != "" {
		fmt.Fprintf(&b, " %s", oneLine(r.Key))
	}
	if r.ID.Workflow != "default" {
		fmt.Fprintf(&b, " (%s)", oneLine(r.ID.Workflow))
	}
	fmt.Fprintf(&b, "  attempts %d  executed %d  blocked %d", r.Attempts, r.Executed, r.Blocked)
	if r.Error != nil {
		fmt.Fprintf(&b, "  → %s", oneLine(r.Error.Message))
	}
	if r.Status() == StateInDoubt {
		fmt.Fprintf(&b, "  [%s]", r.ID) // what Resolve wants
	}
	b.WriteByte('\n')
	return b.String()
}

// oneLine keeps control characters out of terminals.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, s)
}
