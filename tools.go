package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A Tool takes and returns JSON, as agents call it.
type Tool interface {
	Call(ctx context.Context, args json.RawMessage) (json.RawMessage, error)
}

// ToolFunc is a function as a Tool. Its arguments are compared as they come:
// a missing field and one that is zero differ. JSON compares typed arguments.
type ToolFunc func(ctx context.Context, args json.RawMessage) (json.RawMessage, error)

// Call calls f.
func (f ToolFunc) Call(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
	return f(ctx, args)
}

// JSON makes a Tool of a typed function. Guarded, its arguments are decoded
// first: struct tags count, unknown fields do not, and a missing field equals its zero.
// Empty arguments stand for the zero In. Arguments that do not decode are refused before anything runs.
func JSON[In, Out any](fn func(context.Context, In) (Out, error)) Tool { return jsonTool[In, Out]{fn} }

type jsonTool[In, Out any] struct {
	fn func(context.Context, In) (Out, error)
}

func (t jsonTool[In, Out]) Call(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
	if t.fn == nil {
		return nil, fmt.Errorf("ledger: %w: %w", ErrInvalid, errNoTool)
	}
	_, call, err := t.bind(args)
	if err != nil {
		return nil, err
	}
	return call(ctx)
}

// bind decodes the arguments.
func (t jsonTool[In, Out]) bind(args json.RawMessage) (any, func(context.Context) (json.RawMessage, error), error) {
	var in In
	if len(args) > 0 {
		if err := json.Unmarshal(args, &in); err != nil {
			return nil, nil, fmt.Errorf("ledger: %w: the arguments do not fit %T: %w", ErrInvalid, in, err)
		}
	}
	if t.fn == nil {
		return in, nil, nil
	}
	return in, func(ctx context.Context) (json.RawMessage, error) {
		out, err := t.fn(ctx, in)
		data, encodeErr := json.Marshal(out)
		if encodeErr != nil && err == nil {
			// The effect is done; an agent gets null in the place of what can not be said in JSON.
			return nil, nil
		}
		return data, err
	}, nil
}

// WrapOptions say what a wrapped tool returns when its call is blocked. The
// zero value, and nil, return the *BlockedError.
type WrapOptions struct {
	// BlockedReturn stands in for ErrDuplicate and ErrInProgress, with no error.
	BlockedReturn json.RawMessage
	// Blocked answers every other blocked call, and those too without a BlockedReturn.
	Blocked func(*BlockedError) (json.RawMessage, error)
}

// WrapTools returns the tools, guarded, under the same names. The map given is not changed.
func (g *Guard) WrapTools(tools map[string]Tool, o *WrapOptions) map[string]Tool {
	wrapped := make(map[string]Tool, len(tools))
	for name, t := range tools {
		wrapped[name] = g.WrapTool(name, t, o)
	}
	return wrapped
}

// WrapTool returns the tool, guarded, for toolsets that are not maps.
func (g *Guard) WrapTool(name string, t Tool, o *WrapOptions) Tool {
	w := &wrappedTool{guard: g, name: name, tool: t}
	if o != nil {
		w.opts = *o
	}
	return w
}

type wrappedTool struct {
	guard *Guard
	name  string
	tool  Tool
	opts  WrapOptions
}

func (w *wrappedTool) Call(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
	if w.tool == nil {
		return nil, fmt.Errorf("ledger: %s: %w: the tool is nil", w.name, ErrInvalid)
	}
	if len(args) == 0 {
		args = nil // both stand for none
	}
	call := Call{Tool: w.name, Args: args}
	run := func(ctx context.Context) (json.RawMessage, error) { return w.tool.Call(ctx, args) }
	if t, ok := w.tool.(interface {
		bind(json.RawMessage) (any, func(context.Context) (json.RawMessage, error), error)
	}); ok {
		var err error
		if call.Args, run, err = t.bind(args); err != nil {
			return nil, err
		}
	}
	res, err := Do(ctx, w.guard, call, run)
	var b *BlockedError
	if !errors.As(err, &b) || b.Record.ID != res.Record.ID { // the tool's own error may tell of a call that it made
		return res.Value, err
	}
	if w.opts.BlockedReturn != nil && (b.Reason == ErrDuplicate || b.Reason == ErrInProgress) {
		return w.opts.BlockedReturn, nil
	}
	if w.opts.Blocked != nil {
		return w.opts.Blocked(b)
	}
	return res.Value, err
}
