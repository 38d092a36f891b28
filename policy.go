package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// A Policy says how calls of a tool are guarded. The zero Policy runs a call
// once, blocks duplicates, and runs a call in doubt again with the same token.
type Policy struct {
	// Unlimited is for tools without side effects: every call runs, concurrently
	// too, also while the store is unreachable, and is only counted.
	Unlimited bool
	// Replay answers duplicates of a success with its recorded result.
	Replay bool
	// Max is the number of successes after which calls are duplicates. Defaults to 1.
	Max int
	// TTL after its finish, a finished call may run again. It never slides, and
	// never applies to a call in doubt. Defaults to 0, never.
	TTL time.Duration
	// Timeout cancels the tool's context. The claim stays held, and the caller
	// waits, until the tool returns; one that ignores its context holds both. Defaults to 0, none.
	Timeout time.Duration
	// Wait lets a duplicate of a running call wait so long for its result
	// instead of being blocked. The policy of the worker that runs it has to
	// have Wait or Replay too, or the result is not recorded (ErrResultOmitted). Defaults to 0.
	Wait time.Duration
	// InDoubt decides about a call of which nobody knows whether its effect
	// happened. Whatever it says, the call keeps its token from then on until its
	// run ends (see NotDone). Defaults to DoubtRetry.
	InDoubt DoubtPolicy
	// Reconcile asks the downstream whether the call in doubt happened; it is
	// required for, and only allowed with, DoubtReconcile. It runs while the
	// takeover's claim is held; ClaimFrom(ctx) gives its fence.
	Reconcile func(ctx context.Context, r Record) (Verdict, error)
	// Strict refuses a key that comes back with other arguments (ErrKeyReused).
	Strict bool
	// Ignore, Redact and Exact name argument fields ("customer.email") that
	// are left out of the fingerprint, left out of what is stored, and exempt
	// from float rounding.
	Ignore, Redact, Exact []string
	// Classify says what an error of the tool means, where neither NotDone nor
	// Permanent wraps it. Defaults to ClassUncertain for every error.
	Classify func(error) Class
	// Backoff gives the pauses between tries of a failing tool inside one call:
	// of NotDone failures, and under DoubtRetry of any that is not permanent.
	// A try has the token that a call of its own would have (see NotDone).
	// It is called once a call. Defaults to nil, no tries beyond the first.
	Backoff func() Backoff
}

// A Backoff gives pauses between tries; a negative one stops. Values of
// github.com/cenkalti/backoff/v4 satisfy it, and backoff.Permanent is understood.
type Backoff interface {
	NextBackOff() time.Duration
	Reset()
}

// A DoubtPolicy decides about a call in doubt. The greater is the stricter.
type DoubtPolicy uint8

// The policies for calls in doubt.
const (
	// DoubtRetry runs the call again, with the same idempotency token, which no
	// NotDone of a later attempt changes.
	DoubtRetry DoubtPolicy = iota
	// DoubtReconcile asks the downstream, then records or runs again. What is still on
	// its way when the downstream is asked can land after its answer, unless it refuses older fences from then on.
	DoubtReconcile
	// DoubtBlock never runs it again by itself; Guard.Resolve settles it.
	DoubtBlock
)

// stricter is the policy for a record that has one stored, in the eyes of a caller with its own: a worker
// that was deployed with another one can not run again what was to be blocked.
func stricter(stored, own DoubtPolicy) DoubtPolicy {
	if failpoint.On && failpoint.Mutant(failpoint.MutantPolicyLoosened) {
		return own
	}
	return max(stored, own)
}

var doubtNames = [...]string{"retry", "reconcile", "block"}

// String returns "retry", "reconcile" or "block".
func (d DoubtPolicy) String() string { return enumName(doubtNames[:], uint8(d)) }

// MarshalText is String.
func (d DoubtPolicy) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses what String returns.
func (d *DoubtPolicy) UnmarshalText(text []byte) error {
	i, err := enumParse("in-doubt policy", doubtNames[:], text)
	*d = DoubtPolicy(i)
	return err
}

// A Class says what an error tells about the effect.
type Class uint8

// The classes of errors.
const (
	ClassUncertain Class = iota // the effect may have happened
	ClassNotDone                // it certainly did not; the next call runs again
	ClassPermanent              // the tool failed for good; it never runs again
)

var classNames = [...]string{"uncertain", "not_done", "permanent"}

// String returns "uncertain", "not_done" or "permanent".
func (c Class) String() string { return enumName(classNames[:], uint8(c)) }

// MarshalText is String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses what String returns.
func (c *Class) UnmarshalText(text []byte) error {
	i, err := enumParse("error class", classNames[:], text)
	*c = Class(i)
	return err
}

func enumName(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func enumParse(what string, names []string, text []byte) (uint8, error) {
	for i, name := range names {
		if name == string(text) {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("%w: unknown %s %q; one of %q is expected", ErrInvalid, what, text, names)
}

// A Verdict is what Policy.Reconcile found out. The zero Verdict is Unknown.
type Verdict struct {
	known    bool
	happened bool
	result   json.RawMessage
	err      error
}

// Happened says that the effect happened; result is recorded as the call's
// result (nil: none is known, and a replay gets ErrResultOmitted).
func Happened(result any) Verdict {
	v := Verdict{known: true, happened: true}
	if result != nil {
		v.result, v.err = json.Marshal(result)
	}
	return v
}

// DidNotHappen says that the effect certainly did not happen and will not: the tool runs
// again, with the same token all the same.
func DidNotHappen() Verdict { return Verdict{known: true} }

// Unknown says that the downstream can not tell: the call stays in doubt.
func Unknown() Verdict { return Verdict{} }

func (p *Policy) max() int {
	if p.Max == 0 {
		return 1
	}
	return p.Max
}

// keepsResult reports whether a success is recorded with its result.
func (p *Policy) keepsResult() bool { return p.Replay || p.Wait > 0 }

// validate returns an error matching ErrInvalid for combinations that can not be meant.
func (p *Policy) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case p.Max < 0:
		return bad("Max is %d; use 0 for the default of 1, or Unlimited", p.Max)
	case p.TTL < 0 || p.Timeout < 0 || p.Wait < 0:
		return bad("TTL, Timeout and Wait must not be negative (%v, %v, %v)", p.TTL, p.Timeout, p.Wait)
	case p.InDoubt > DoubtBlock:
		return bad("InDoubt is %v; use DoubtRetry, DoubtReconcile or DoubtBlock", p.InDoubt)
	case p.InDoubt == DoubtReconcile && p.Reconcile == nil:
		return bad("DoubtReconcile needs a Reconcile function that asks the downstream")
	case p.InDoubt != DoubtReconcile && p.Reconcile != nil:
		return bad("Reconcile is set but InDoubt is %v; set InDoubt: DoubtReconcile", p.InDoubt)
	case p.Unlimited && (p.Replay || p.Max != 0 || p.TTL != 0 || p.Wait != 0 || p.InDoubt != DoubtRetry || p.Strict):
		return bad("Unlimited excludes Replay, Max, TTL, Wait, InDoubt and Strict: an unlimited call is never compared with others")
	}
	return nil
}
