package ledger

import (
	"context"
	"fmt"
	"log/slog"
)

// told logs an outcome that was recorded, and calls its hook.
func (c *core) told(r *Record) {
	switch r.State {
	case StateSucceeded:
		c.tell("ledger: done", r, c.opts.OnSuccess)
	case StateInDoubt:
		c.tell("ledger: in doubt", r, c.opts.OnInDoubt)
	case StateFailed:
		c.tell("ledger: failed", r, c.opts.OnFailure)
	}
}

// tell logs and calls a hook. Arguments, results, tokens and the texts of errors stay out of logs.
func (c *core) tell(what string, r *Record, hook func(Record)) {
	level := slog.LevelInfo
	if r.State == StateInDoubt || r.State == StateRunning {
		level = slog.LevelWarn
	}
	if c.opts.Logger.Enabled(context.Background(), level) {
		attrs := []any{"call", r.ID, "attempt", r.Attempt, "fence", int64(r.Fence)}
		if r.Error != nil {
			attrs = append(attrs, "class", r.Error.Class)
		}
		c.opts.Logger.Log(context.Background(), level, what, attrs...)
	}
	if hook != nil {
		c.harmless("hook", func() { hook(*r) })
	}
}

func (c *core) tellBlocked(b *BlockedError) {
	if c.opts.Logger.Enabled(context.Background(), slog.LevelInfo) {
		c.opts.Logger.Info("ledger: blocked", "call", b.Record.ID, "reason", b.Reason, "args_differ", b.ArgsDiffer)
	}
	if c.opts.OnBlock != nil {
		c.harmless("OnBlock", func() { c.opts.OnBlock(b) })
	}
}

func (c *core) tellReplayed(p *prepared, r *Record) {
	if c.opts.Logger.Enabled(context.Background(), slog.LevelInfo) {
		c.opts.Logger.Info("ledger: replayed", "call", r.ID, "args_differ", p.argsDiffer(r))
	}
	if c.opts.OnBlock != nil {
		c.harmless("OnBlock", func() {
			c.opts.OnBlock(&BlockedError{Record: *r, Reason: ErrDuplicate, ArgsDiffer: p.argsDiffer(r)})
		})
	}
}

// harmless runs a function of the user's that is not the tool: a panic in it
// must not cost a claim or an outcome.
func (c *core) harmless(what string, fn func()) {
	defer func() {
		if thrown := recover(); thrown != nil {
			c.opts.Logger.Error("ledger: a function of yours panicked", "function", what, "type", fmt.Sprintf("%T", thrown))
		}
	}()
	fn()
}
