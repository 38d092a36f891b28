package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/ledger-once/ledger/fingerprint"
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
// Empty arguments stand for the zero In. Arguments that do not decode are refused before anything
// runs. A result that JSON can not say is returned as nil, and its replay as ErrResultOmitted.
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
	res, err := call(ctx)
	return res.data, err
}

// toolResult is the result of a wrapped tool.
type toolResult struct {
	data json.RawMessage
	lost bool // the tool returned something that JSON can not say
}

type toolCall = func(context.Context) (toolResult, error)

// bind decodes the arguments.
func (t jsonTool[In, Out]) bind(args json.RawMessage) (any, toolCall, error) {
	var in In
	if len(args) > 0 {
		if err := unmarshal(args, &in); err != nil {
			return nil, nil, fmt.Errorf("ledger: %w: the arguments do not fit %T: %w", ErrInvalid, in, err)
		}
	}
	if t.fn == nil {
		return in, nil, nil
	}
	return in, func(ctx context.Context) (toolResult, error) {
		out, err := t.fn(ctx, in)
		return resultOf(out), err
	}, nil
}

// unmarshal refuses what a fingerprint refuses (duplicate keys, invalid UTF-8),
// and takes an integer that is spelled 100.0 or 1e2, as agents do.
func unmarshal[In any](args json.RawMessage, in *In) error {
	plain, err := fingerprint.New(fingerprint.Rules{MaxBytes: math.MaxInt}, nil)
	if err != nil {
		return err
	}
	exact, err := plain.Stored(nil, args)
	if err != nil {
		return err
	}
	return json.Unmarshal(exact, in)
}

// resultOf encodes what a tool returned. The effect is done by then: a value
// that can not be said in JSON, or panics, is lost, not an error.
func resultOf(out any) (res toolResult) {
	defer func() {
		if recover() != nil {
			res = toolResult{lost: true}
		}
	}()
	data, err := json.Marshal(out)
	return toolResult{data, err != nil}
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
	run := func(ctx context.Context) (toolResult, error) {
		data, err := w.tool.Call(ctx, args)
		return toolResult{data: data}, err
	}
	switch t := w.tool.(type) {
	case interface {
		bind(json.RawMessage) (any, toolCall, error)
	}:
		var err error
		if call.Args, run, err = t.bind(args); err != nil {
			return nil, err
		}
	case ToolFunc:
		if t == nil {
			run = nil
		}
	}
	res, err := Do(ctx, w.guard, call, run)
	b := res.blocked
	switch {
	case b == nil:
	case w.opts.BlockedReturn != nil && (b.Reason == ErrDuplicate || b.Reason == ErrInProgress):
		return w.opts.BlockedReturn, nil
	case w.opts.Blocked != nil:
		return w.opts.Blocked(b)
	}
	return res.Value.data, err
}
