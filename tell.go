package ledger

import (
	"context"
	"log/slog"
)

// tell logs an outcome and calls its hook. Arguments, results and tokens stay out of logs.
func (c *core) tell(what string, r Record, hook func(Record)) {
	level := slog.LevelInfo
	if r.State == StateInDoubt || r.State == StateRunning {
		level = slog.LevelWarn
	}
	if c.opts.Logger.Enabled(context.Background(), level) {
		attrs := []any{"call", r.ID, "attempt", r.Attempt, "fence", int64(r.Fence)}
		if r.Error != nil {
			attrs = append(attrs, "error", r.Error.Message, "class", r.Error.Class)
		}
		c.opts.Logger.Log(context.Background(), level, what, attrs...)
	}
	if hook != nil {
		c.harmless("hook", func() { hook(r) })
	}
}

func (c *core) tellBlocked(b *BlockedError, replayed bool) {
	if c.opts.Logger.Enabled(context.Background(), slog.LevelInfo) {
		what := "ledger: blocked"
		if replayed {
			what = "ledger: replayed"
		}
		c.opts.Logger.Info(what, "call", b.Record.ID, "reason", b.Reason, "args_differ", b.ArgsDiffer)
	}
	if c.opts.OnBlock != nil {
		c.harmless("OnBlock", func() { c.opts.OnBlock(b) })
	}
}

// harmless runs a function of the user's that is not the tool: a panic in it
// must not cost a claim or an outcome.
func (c *core) harmless(what string, fn func()) {
	defer func() {
		if thrown := recover(); thrown != nil {
			c.opts.Logger.Error("ledger: a function of yours panicked", "function", what, "panic", thrown)
		}
	}()
	fn()
}
