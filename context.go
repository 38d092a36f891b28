package ledger

import "context"

type ctxKey uint8

const (
	keyKey ctxKey = iota
	workflowKey
	callerKey
	claimKey
	frameKey
)

// WithKey gives the next guarded call made with the context its key. Do takes
// it out of the context that it hands to the tool.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey, key)
}

// WithWorkflow sets the workflow of guarded calls made with the context.
func WithWorkflow(ctx context.Context, workflow string) context.Context {
	return context.WithValue(ctx, workflowKey, workflow)
}

// WithCaller sets the caller of guarded calls made with the context.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey, caller)
}

func fromContext(ctx context.Context, key ctxKey) string {
	s, _ := ctx.Value(key).(string)
	return s
}

// ClaimInfo tells a tool about the claim it runs under.
type ClaimInfo struct {
	ID      ID
	Fence   Version // grows with every attempt; a downstream can refuse older ones
	Attempt int     // 1 for the first of the run
	Token   string  // idempotency token; see Token for how long it stays the same
}

// ClaimFrom returns the claim under which the tool with this context runs;
// false outside a tool, and in an Unlimited one.
func ClaimFrom(ctx context.Context) (ClaimInfo, bool) {
	claim, _ := ctx.Value(claimKey).(*ClaimInfo)
	if claim == nil {
		return ClaimInfo{}, false
	}
	return *claim, true
}

// Token returns the idempotency token of the claim under which the tool with
// this context runs, for the downstream's Idempotency-Key; "" outside a guarded tool.
// It is the same over all attempts of a run, except that an attempt after a NotDone has
// a new one; that exception ends for the run with its first attempt in doubt.
func Token(ctx context.Context) string {
	claim, _ := ClaimFrom(ctx)
	return claim.Token
}

// toolContext hands the claim to the tool and takes the key out.
type toolContext struct {
	context.Context
	claim *ClaimInfo // nil in an Unlimited tool
	frame *frame     // nil: as outside
}

// A frame is a guarded call that runs, and the one that it was made in.
type frame struct {
	id    ID
	outer *frame
}

// within reports whether the call with the ID runs around ctx.
func within(ctx context.Context, id ID) bool {
	for f, _ := ctx.Value(frameKey).(*frame); f != nil; f = f.outer {
		if f.id == id {
			return true
		}
	}
	return false
}

func (t toolContext) Value(key any) any {
	switch key {
	case keyKey:
		return nil
	case claimKey:
		return t.claim
	case frameKey:
		if t.frame != nil {
			return t.frame
		}
	}
	return t.Context.Value(key)
}
