package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/ledger-once/ledger/fingerprint"
)

// Reasons of a [BlockedError]; match them with errors.Is.
var (
	// ErrBlocked matches every BlockedError.
	ErrBlocked = errors.New("blocked")
	// ErrDuplicate: the call has succeeded before.
	ErrDuplicate = errors.New("the call was done before")
	// ErrInProgress: the call is running, here or elsewhere.
	ErrInProgress = errors.New("the call is in progress")
	// ErrInDoubt: nobody knows whether the call's effect happened, and its policy forbids to run it again.
	ErrInDoubt = errors.New("the call is in doubt; settle it with Resolve")
	// ErrFailed: the call failed for good.
	ErrFailed = errors.New("the call failed for good")
	// ErrKeyReused: the key came back with other arguments, and the policy is Strict.
	ErrKeyReused = errors.New("the key was used for a call with other arguments")
	// ErrResultOmitted: the call succeeded, but its result was not recorded.
	ErrResultOmitted = errors.New("the call was done before, but its result was not recorded")
)

// Errors of guards and stores; match them with errors.Is.
var (
	// ErrUnavailable: the store can not be reached or can not be used. The tool was not run.
	ErrUnavailable = errors.New("store unavailable")
	// ErrNotWritten joins an error of a store after which nothing was written and nothing will be.
	ErrNotWritten = errors.New("nothing was written")
	// ErrUnrecorded: the tool ran and its value is returned, but its outcome is not yet, or can
	// not be, recorded. Such an error never matches ErrUnavailable.
	ErrUnrecorded = errors.New("the tool ran, but its outcome is not recorded")
	// ErrFenced: the record was claimed or changed by another since.
	ErrFenced = errors.New("fenced: the record was changed by another since")
	// ErrLeaseLost is the cause with which a tool's context is cancelled when the store's session is lost.
	ErrLeaseLost = errors.New("the lease of this worker is lost")
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("no such record")
	// ErrRunning: the call is running and its owner lives.
	ErrRunning = errors.New("the call is running")
	// ErrClosed: the guard or store is closed.
	ErrClosed = errors.New("closed")
	// ErrInvalid: an argument or option can not be used; the message says which and why.
	ErrInvalid = errors.New("invalid")
)

// A FingerprintError says which argument can not be fingerprinted, and why.
type FingerprintError = fingerprint.Error

// A BlockedError says that a call must not run, and why. It matches ErrBlocked
// and its Reason.
type BlockedError struct {
	Record     Record // what stands in the way
	Reason     error  // ErrDuplicate, ErrInProgress, ErrInDoubt, ErrFailed, ErrKeyReused or ErrResultOmitted
	ArgsDiffer bool   // the key is the same, the arguments are not
}

// Error names the call, the reason, and for ErrFailed the recorded error.
func (e *BlockedError) Error() string {
	s := fmt.Sprintf("ledger: %s blocked: %v", e.Record.ID, e.Reason)
	if e.Reason == ErrFailed && e.Record.Error != nil {
		s += ": " + e.Record.Error.Message
	}
	switch r := &e.Record; {
	case e.Reason == ErrInProgress:
		s += fmt.Sprintf(" (process %d on %s, since %s)", r.Owner.PID, r.Owner.Host, r.Started.Format(time.RFC3339))
	case e.Reason == ErrDuplicate || e.Reason == ErrResultOmitted:
		s += fmt.Sprintf(" (at %s)", r.Finished.Format(time.RFC3339))
	}
	if e.ArgsDiffer {
		s += " (the arguments differ from the recorded ones)"
	}
	return s
}

// Is reports whether target is ErrBlocked or the reason: [errors.Is] asks it before it unwraps, and so allocates nothing.
func (e *BlockedError) Is(target error) bool { return target == ErrBlocked || target == e.Reason }

// Unwrap returns ErrBlocked and the reason.
func (e *BlockedError) Unwrap() []error { return []error{ErrBlocked, e.Reason} }

type classified struct {
	err    error
	class  Class
	result json.RawMessage // of PermanentWith
}

func (c *classified) Error() string { return c.err.Error() }
func (c *classified) Unwrap() error { return c.err }

// NotDone marks err: this attempt certainly had no effect and will have none. The
// next call runs again. It speaks of its own attempt only: the next one gets a new
// token if no attempt of the run is in doubt. After a doubt the token stays until the run ends,
// because what the earlier attempt sent may still land. So a downstream that
// remembers a refusal under a token goes on refusing the call then, until [Guard.Retry], [Force], or [Guard.Resolve]
// of a call in doubt starts another run: safe rather than convenient. NotDone(nil) is nil.
func NotDone(err error) error { return classify(err, ClassNotDone) }

// Permanent marks err: the tool failed for good. Duplicates get this error;
// the call never runs again. Permanent(nil) is nil.
func Permanent(err error) error { return classify(err, ClassPermanent) }

// PermanentWith is Permanent for a failure that has something to show: where the
// tool's policy keeps results (Replay or Wait), the JSON form of result is recorded beside the error, and a duplicate
// finds it in BlockedError.Record.Result. It is left out if it has no JSON form or is larger than Options.MaxResult.
func PermanentWith(err error, result any) error {
	if err == nil {
		return nil
	}
	text, _ := json.Marshal(result) // nil: left out, as documented
	return &classified{err, ClassPermanent, text}
}

// nest keeps what a guarded call inside a tool says of its own effect from
// being taken for what the tool says of its: to an enclosing guard, the marks of
// NotDone, Permanent and backoff.Permanent end here. Everything else of err can be matched.
func nest(ctx context.Context, err error) error {
	if err == nil || ctx.Value(frameKey) == nil {
		return err
	}
	return &nested{err}
}

type nested struct{ err error }

func (n *nested) Error() string        { return n.err.Error() }
func (n *nested) Is(target error) bool { return errors.Is(n.err, target) }
func (n *nested) As(target any) bool {
	switch target.(type) {
	case **classified, **backoff.PermanentError:
		return false
	}
	return errors.As(n.err, target)
}

func classify(err error, class Class) error {
	if err == nil {
		return nil
	}
	return &classified{err: err, class: class}
}

// classOf says what a tool's error means, and whether it asks for no further try.
// A mark by NotDone or Permanent wins over backoff.Permanent, and that over fn.
func classOf(err error, fn func(error) Class) (class Class, stop bool) {
	var stopper *backoff.PermanentError
	stop = errors.As(err, &stopper)
	var mark *classified
	switch {
	case errors.As(err, &mark):
		class = mark.class
	case stop:
		class = ClassPermanent
	case fn != nil:
		if class = fn(err); class > ClassPermanent {
			class = ClassUncertain
		}
	}
	return class, stop || class == ClassPermanent
}

// definite reports whether err of a store's write says that nothing was
// written and nothing will be. A nil error is not asked about.
func definite(err error) bool {
	for _, sure := range []error{ErrFenced, ErrRunning, ErrNotFound, ErrInvalid, ErrClosed, ErrNotWritten} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}
