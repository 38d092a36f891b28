package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/ledger-once/ledger/fingerprint"
)

// Options of a guard. The zero value, and nil, work.
type Options struct {
	// Workflow is the scope in which calls are compared. Defaults to "default".
	Workflow string
	// Caller labels the records of this guard's calls. Defaults to "".
	Caller string
	// Default is the policy of tools that Policies does not name.
	Default Policy
	// Policies by tool name. The map is copied.
	Policies map[string]Policy

	// Logger gets what happens, never arguments or results. Defaults to text on
	// standard error at level Warn.
	Logger *slog.Logger
	// OnSuccess, OnFailure and OnInDoubt are called after an outcome was
	// recorded, OnTakeover after a dead worker's call was claimed, OnBlock
	// when a call is blocked or answered with a recorded result (its reason is then ErrDuplicate).
	// They run on the caller's goroutine, or on the guard's for an outcome that was
	// recorded late, so they should be quick; a panic is logged and goes no further.
	OnSuccess, OnFailure, OnInDoubt, OnTakeover func(Record)
	OnBlock                                     func(*BlockedError)

	// FingerprintKey makes fingerprints keyed (HMAC-SHA256), so that guessable
	// arguments can not be guessed from them. All workers need the same. Defaults to none.
	FingerprintKey []byte
	// Sealer encrypts arguments and results at rest. Defaults to none.
	Sealer Sealer

	// MaxResult is how many bytes of JSON a recorded result may have; a larger
	// one is omitted. Defaults to 256 KiB.
	MaxResult int
	// MaxArgs is how many bytes of JSON the arguments of a call may have; larger ones are refused. Defaults to 1 MiB.
	MaxArgs int
	// StoreTimeout bounds each operation on the store. Defaults to 10 s.
	StoreTimeout time.Duration
	// CacheSize is how many finished records are remembered. Defaults to 10,000.
	CacheSize int
	// MaxUnrecorded is how many outcomes may wait to be recorded; beyond it new
	// calls are refused with ErrUnavailable. Defaults to 10,000.
	MaxUnrecorded int
}

// A Sealer encrypts what a record keeps of arguments and results. aad is the
// record's ID, which binds a sealed text to its record. Names, keys and the texts of
// errors are not sealed; fingerprints of guessable arguments can be guessed without a FingerprintKey.
type Sealer interface {
	Seal(plain, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

const (
	flushEvery     = time.Second      // how long counts may wait in memory
	unwatched      = time.Second      // how long a record is remembered without a Watcher
	maxCachedBytes = 8 << 10          // of arguments and result; larger records are not remembered
	maxStoredArgs  = 64 << 10         // larger arguments are fingerprinted, but not kept
	maxMessage     = 4 << 10          // of a recorded error
	pollNet        = 5 * time.Second  // a waiter looks again so often, whatever its watch says
	closeGrace     = 10 * time.Second // for cancelled tools to return, and for the last flush
)

// A Guard runs calls exactly once, within the limits that the package
// documentation states. It is safe for concurrent use; make one per process
// and store, and Close it at the end.
type Guard struct {
	*core
	workflow, caller string
}

// New returns a guard that keeps its records in store. It returns an error
// matching ErrInvalid for options that can not be used. It does not touch the store.
func New(store Store, o *Options) (*Guard, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	c, err := newCore(store, opts)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &Guard{core: c, workflow: c.opts.Workflow, caller: opts.Caller}, nil
}

func (o *Options) fill() error {
	for _, d := range []struct {
		name  string
		value *int
		byDef int
	}{{"MaxResult", &o.MaxResult, 256 << 10}, {"MaxArgs", &o.MaxArgs, 1 << 20}, {"CacheSize", &o.CacheSize, 10_000}, {"MaxUnrecorded", &o.MaxUnrecorded, 10_000}} {
		if *d.value < 0 {
			return fmt.Errorf("%w: %s is %d; use 0 for the default of %d", ErrInvalid, d.name, *d.value, d.byDef)
		}
		if *d.value == 0 {
			*d.value = d.byDef
		}
	}
	if o.StoreTimeout < 0 {
		return fmt.Errorf("%w: StoreTimeout is %v; use 0 for the default of 10s", ErrInvalid, o.StoreTimeout)
	}
	if o.StoreTimeout == 0 {
		o.StoreTimeout = 10 * time.Second
	}
	if o.Workflow == "" {
		o.Workflow = "default"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if o.MaxResult > MaxRecordBytes {
		return fmt.Errorf("%w: MaxResult is %d; stores take records of %d bytes", ErrInvalid, o.MaxResult, MaxRecordBytes)
	}
	if o.Caller != "" {
		if err := checkName("caller", o.Caller, MaxNameBytes); err != nil {
			return err
		}
	}
	return checkName("workflow", o.Workflow, MaxNameBytes)
}

// compiled is a policy with its fingerprint rules.
type compiled struct {
	Policy
	hasher *fingerprint.Hasher
}

func compile(p Policy, o *Options) (*compiled, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	h, err := fingerprint.New(fingerprint.Rules{Ignore: p.Ignore, Redact: p.Redact, Exact: p.Exact, MaxBytes: o.MaxArgs}, o.FingerprintKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &compiled{p, h}, nil
}

// Workflow returns a view of the guard for another workflow. It shares store,
// policies and memory with g. A name that can not be used is refused by the calls.
func (g *Guard) Workflow(name string) *Guard {
	return &Guard{core: g.core, workflow: name, caller: g.caller}
}

// Caller returns a view of the guard that labels its calls with name.
func (g *Guard) Caller(name string) *Guard {
	return &Guard{core: g.core, workflow: g.workflow, caller: name}
}

// A Call asks for one execution of a tool. Workflow and Caller, where empty,
// come from the context, then from the guard; Key from the context, then from
// a field of Args tagged `ledger:"key"`.
type Call struct {
	Tool string
	// Args are the arguments: a struct, map, json.RawMessage or anything else that has a
	// stable JSON form. nil stands for none.
	Args any
	// Key is the caller's own identity for the call; the arguments then do not count.
	Key      string
	Workflow string
	Caller   string
}

// A Result of a call.
type Result[T any] struct {
	// Value is what the tool returned, now or, if Replayed, when it ran.
	Value    T
	Replayed bool
	// Record is what the ledger knows of the call; without a fingerprint for an Unlimited tool.
	Record Record

	blocked *BlockedError // why this call did not run, rather than a call made in its tool
}

// Do runs fn once for all calls with the same fingerprint.
//
// It returns fn's value and error as they are; a *BlockedError if the call
// must not run; *FingerprintError or an error matching ErrInvalid for a call that can
// not be used; ErrUnavailable, and fn was not run, if the store gives no definite
// claim; ErrUnrecorded together with fn's value if its outcome could not be recorded.
// The context given to fn carries the claim: see Token and ClaimFrom. A panic in
// fn is recorded and goes on.
func Do[T any](ctx context.Context, g *Guard, c Call, fn func(context.Context) (T, error)) (Result[T], error) {
	p, err := g.prepare(ctx, &c)
	if err != nil {
		return Result[T]{}, nest(ctx, err)
	}
	defer p.release()
	if r, d := g.recall(&p); d.action != 0 {
		return recalled[T](ctx, g, &p, r, d)
	}
	return doTyped(ctx, g, p, fn, false)
}

// recalled answers with what this process remembers.
func recalled[T any](ctx context.Context, g *Guard, p *prepared, r *Record, d decision) (Result[T], error) {
	if d.action == actReplay {
		return replayTyped[T](ctx, g, p, r)
	}
	b := g.blocked(p, r, d.reason)
	return Result[T]{Record: b.Record, blocked: b}, nest(ctx, b)
}

// Force runs fn now, whatever the record says. It starts another run, with a
// new token, and steals the claim of a running one, whose tool's context is
// cancelled with ErrFenced: at once in this process, by a Watcher's notice in another; without a
// Watcher it runs on. Nothing stops a tool that ignores its context: the action can happen twice.
//
// A Force that returns "not started" with ErrUnavailable gives back what its claim may have
// written, once the store answers. If its process dies before that, the call is in doubt, whatever was recorded before, and
// goes on by its InDoubt policy.
func Force[T any](ctx context.Context, g *Guard, c Call, fn func(context.Context) (T, error)) (Result[T], error) {
	p, err := g.prepare(ctx, &c)
	if err != nil {
		return Result[T]{}, nest(ctx, err)
	}
	defer p.release()
	return doTyped(ctx, g, p, fn, true)
}

func doTyped[T any](ctx context.Context, g *Guard, p prepared, fn func(context.Context) (T, error), force bool) (Result[T], error) {
	t := &typed[T]{fn: fn}
	x := &exec{c: g.core, p: &p, t: t, arrived: time.Now()}
	rec, replayed, err := x.do(ctx, force)
	return Result[T]{Value: t.value, Replayed: replayed, Record: rec, blocked: x.verdict}, nest(ctx, err)
}

func replayTyped[T any](ctx context.Context, g *Guard, p *prepared, r *Record) (Result[T], error) {
	t := &typed[T]{}
	if b := g.replay(p, t, r); b != nil {
		return Result[T]{Record: b.Record, blocked: b}, nest(ctx, b)
	}
	return Result[T]{Value: t.value, Replayed: true, Record: *r}, nil
}

// DoErr is Do for tools that return only an error.
func DoErr(ctx context.Context, g *Guard, c Call, fn func(context.Context) error) (Result[struct{}], error) {
	p, err := g.prepare(ctx, &c)
	if err != nil {
		return Result[struct{}]{}, nest(ctx, err)
	}
	defer p.release()
	if r, d := g.recall(&p); d.action != 0 {
		return recalled[struct{}](ctx, g, &p, r, d)
	}
	return doTyped(ctx, g, p, noValue(fn), false)
}

func noValue(fn func(context.Context) error) func(context.Context) (struct{}, error) {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }
}

// Once wraps fn, whose type does not change: each distinct argument runs once.
// A blocked call returns the zero Out and a *BlockedError.
func Once[In, Out any](g *Guard, tool string, fn func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		var run func(context.Context) (Out, error)
		if fn != nil {
			run = func(ctx context.Context) (Out, error) { return fn(ctx, in) }
		}
		res, err := Do(ctx, g, Call{Tool: tool, Args: in}, run)
		return res.Value, err
	}
}

// OnceErr is Once for functions that return only an error.
func OnceErr[In any](g *Guard, tool string, fn func(context.Context, In) error) func(context.Context, In) error {
	return func(ctx context.Context, in In) error {
		var run func(context.Context) error
		if fn != nil {
			run = func(ctx context.Context) error { return fn(ctx, in) }
		}
		_, err := DoErr(ctx, g, Call{Tool: tool, Args: in}, run)
		return err
	}
}

// tool is a typed tool, seen by the part of the guard that knows no types.
type tool interface {
	call(ctx context.Context) error
	encode(maxBytes int, plain *plainTypes) []byte // of the value; nil if it can not be recorded
	decode(data []byte) error                      // into the value
	fits(data []byte) bool                         // it decodes into a fresh value
	valid() bool
}

type typed[T any] struct {
	fn    func(context.Context) (T, error)
	value T
}

func (t *typed[T]) valid() bool { return t.fn != nil }

func (t *typed[T]) call(ctx context.Context) (err error) {
	t.value, err = t.fn(ctx)
	return err
}

// encode returns nil unless what it returns decodes into a fresh value again:
// a result that can not be replayed must be known before it is relied on.
func (t *typed[T]) encode(maxBytes int, plain *plainTypes) (data []byte) {
	defer func() {
		if recover() != nil { // a Marshaler of the user's
			data = nil
		}
	}()
	if raw, ok := any(t.value).(json.RawMessage); ok {
		data = rawJSON(raw)
	} else if tr, ok := any(t.value).(toolResult); ok {
		if tr.lost {
			return nil
		}
		data = rawJSON(tr.data)
	} else if data, _ = json.Marshal(t.value); data == nil || !plain.has(reflect.TypeFor[T]()) && !t.fits(data) {
		return nil
	}
	if len(data) > maxBytes {
		return nil
	}
	return data
}

// rawJSON returns a copy of raw; null for none, nil if it is not JSON.
func rawJSON(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	if !json.Valid(raw) {
		return nil
	}
	return bytes.Clone(raw)
}

func (t *typed[T]) fits(data []byte) (ok bool) {
	defer func() {
		if recover() != nil { // an Unmarshaler of the user's
			ok = false
		}
	}()
	fresh := typed[T]{}
	return fresh.decode(data) == nil
}

func (t *typed[T]) decode(data []byte) (err error) {
	defer func() {
		if thrown := recover(); thrown != nil { // an Unmarshaler of the user's
			err = fmt.Errorf("decoding panicked: %s", sprint(thrown))
		}
	}()
	switch value := any(&t.value).(type) {
	case *json.RawMessage:
		*value = bytes.Clone(data)
		return nil
	case *toolResult:
		value.data = bytes.Clone(data)
		return nil
	}
	var none T
	t.value = none
	if err = json.Unmarshal(data, &t.value); err != nil {
		t.value = none
	}
	return err
}

// Close refuses new calls, waits for running ones, writes counts and outcomes
// that are not recorded yet, and leaves the store open. When ctx ends it cancels the
// tools' contexts and waits up to 10 s more for them; a tool that ignores its
// context keeps its claim. It returns ErrUnrecorded with the IDs whose
// outcomes are not recorded, and ErrRunning with the number of tools still running. A
// second Close waits for the first and returns its result; when its ctx ends, it makes the first cancel.
func (g *Guard) Close(ctx context.Context) error {
	if err := g.core.close(ctx); err != nil {
		return fmt.Errorf("ledger: close: %w", err)
	}
	return nil
}

var errNoTool = errors.New("the function is nil")
