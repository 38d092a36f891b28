package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger/fingerprint"
)

// core is what the views of a guard share.
type core struct {
	store    Store
	watcher  Watcher // nil if the store is none
	leaser   Leaser  // nil if the store is none
	opts     Options
	policies map[string]*compiled
	byDef    *compiled

	flights flights
	cache   cache
	tallies tallies
	outbox  outbox
	footgun footgun

	deadlines deadlines
	plain     plainTypes
	// life ends when the guard is closed; it bounds everything in the background.
	life    context.Context
	endLife context.CancelFunc
	lifeMu  sync.Mutex
	workers sync.WaitGroup // goroutines in the background

	closeDone chan struct{} // closed when Close is through
	closeErr  error         // its result

	mu      sync.Mutex
	closed  atomic.Bool         // written under mu
	active  map[*visit]struct{} // calls past the closed check
	idle    chan struct{}       // closed when there are none after closing
	waited  chan struct{}       // closed when Close has waited long enough
	watches atomic.Bool         // the watch of notices was started; written under mu
}

func newCore(store Store, opts Options) (*core, error) {
	if store == nil {
		return nil, fmt.Errorf("%w: the store is nil; NewMemory gives one for tests", ErrInvalid)
	}
	if err := opts.fill(); err != nil {
		return nil, err
	}
	c := &core{store: store, opts: opts, policies: make(map[string]*compiled, len(opts.Policies)), idle: make(chan struct{})}
	c.opts.Policies = nil
	c.watcher, _ = store.(Watcher)
	c.leaser, _ = store.(Leaser)
	var err error
	if c.byDef, err = compile(opts.Default, &c.opts); err != nil {
		return nil, fmt.Errorf("default policy: %w", err)
	}
	for tool, p := range opts.Policies {
		if err := checkName("tool", tool, MaxNameBytes); err != nil {
			return nil, fmt.Errorf("policies: %w", err)
		}
		if c.policies[tool], err = compile(p, &c.opts); err != nil {
			return nil, fmt.Errorf("policy of %s: %w", tool, err)
		}
	}
	c.life, c.endLife = context.WithCancel(context.Background())
	c.active, c.waited, c.closeDone = make(map[*visit]struct{}), make(chan struct{}), make(chan struct{})
	c.flights.init()
	c.cache.init(c.opts.CacheSize)
	c.tallies.c, c.outbox.c, c.footgun.c = c, c, c
	c.tallies.writing = make(chan struct{}, 1)
	return c, nil
}

func (c *core) policy(tool string) *compiled {
	if p, ok := c.policies[tool]; ok {
		return p
	}
	return c.byDef
}

// A visit is a call that Close waits for, and cancels when it has waited long enough.
type visit struct{ cancel context.CancelCauseFunc }

// enter lets a call in. The context returned is the call's own; leave ends it.
func (c *core) enter(ctx context.Context) (context.Context, *visit, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	v := &visit{cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		cancel(nil)
		return nil, nil, fmt.Errorf("ledger: %w: this guard takes no more calls", ErrClosed)
	}
	c.active[v] = struct{}{}
	return ctx, v, nil
}

func (c *core) leave(v *visit) {
	v.cancel(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, v)
	if len(c.active) == 0 && c.closed.Load() {
		close(c.idle)
	}
}

// endWaiting cancels the calls that are still there.
func (c *core) endWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.waited:
	default:
		close(c.waited)
	}
	for v := range c.active {
		v.cancel(ErrClosed)
	}
}

// goBackground runs fn on a goroutine that close waits for; false if the guard is closed for good.
func (c *core) goBackground(fn func()) bool {
	c.lifeMu.Lock()
	defer c.lifeMu.Unlock()
	if c.life.Err() != nil {
		return false
	}
	c.workers.Add(1)
	go func() {
		defer c.workers.Done()
		fn()
	}()
	return true
}

func (c *core) close(ctx context.Context) error {
	c.mu.Lock()
	first := !c.closed.Swap(true)
	if first && len(c.active) == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	if !first {
		select {
		case <-c.closeDone:
		case <-ctx.Done(): // graceful first, forced then
			c.endWaiting()
			<-c.closeDone
		}
		return c.closeErr
	}
	c.closeErr = c.finishUp(ctx)
	close(c.closeDone)
	return c.closeErr
}

func (c *core) finishUp(ctx context.Context) error {
	var errs []error
	select {
	case <-c.idle:
	case <-ctx.Done():
		c.endWaiting()
	case <-c.waited: // a second Close was more impatient
	}
	select {
	case <-c.idle:
	case <-time.After(closeGrace):
		c.mu.Lock()
		errs = append(errs, fmt.Errorf("%w: %d calls did not return after their context was cancelled", ErrRunning, len(c.active)))
		c.mu.Unlock()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	errs = append(errs, c.tallies.flush(last), c.outbox.drain(last))
	c.lifeMu.Lock() // no goroutine is started after this
	c.endLife()
	c.lifeMu.Unlock()
	c.workers.Wait()
	return errors.Join(errs...)
}

// A prepared call: its identity and everything that decides about it.
type prepared struct {
	id     ID // Fingerprint is "" until identify
	sum    fingerprint.Sum
	policy *compiled
	key    string
	caller string
	args   any
	digest string // of the arguments; without a key, only after identify
	canon  []byte // of the arguments; until release
	buf    *[]byte
}

// release gives back the memory of canon.
func (p *prepared) release() {
	if p.buf != nil {
		*p.buf = p.canon
		buffers.Put(p.buf)
		p.buf, p.canon = nil, nil
	}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// prepare validates a call and computes its fingerprint. It allocates nothing
// for a call whose arguments are in a struct. Without an error the caller releases it.
func (g *Guard) prepare(ctx context.Context, call *Call) (prepared, error) {
	p := prepared{
		id:     ID{Workflow: first(call.Workflow, fromContext(ctx, workflowKey), g.workflow), Tool: call.Tool},
		key:    first(call.Key, fromContext(ctx, keyKey), ""),
		caller: first(call.Caller, fromContext(ctx, callerKey), g.caller),
		args:   call.Args,
	}
	if err := p.id.Validate(); err != nil {
		return p, fmt.Errorf("ledger: %w", err)
	}
	if p.caller != "" {
		if err := checkName("caller", p.caller, MaxNameBytes); err != nil {
			return p, fmt.Errorf("ledger: %s: %w", p.id.Tool, err)
		}
	}
	if g.closed.Load() {
		return p, fmt.Errorf("ledger: %w: this guard takes no more calls", ErrClosed)
	}
	p.policy = g.policy(call.Tool)
	if p.policy.Unlimited {
		return p, nil
	}
	buf := buffers.Get().(*[]byte)
	canon, tagged, err := p.policy.hasher.Canon((*buf)[:0], call.Args)
	if err != nil {
		buffers.Put(buf)
		return p, fmt.Errorf("ledger: %s: %w: %w", p.id.Tool, ErrInvalid, err)
	}
	p.buf, p.canon = buf, canon
	if p.key == "" {
		p.key = tagged
	}
	if p.key != "" {
		if err := checkName("key", p.key, MaxKeyBytes); err != nil {
			p.release()
			return p, fmt.Errorf("ledger: %s: %w", p.id.Tool, err)
		}
		p.digest = p.policy.hasher.Digest(canon).String()
	}
	p.sum = p.policy.hasher.Sum(p.id.Workflow, p.id.Tool, p.key, canon)
	return p, nil
}

// identify completes what a call needs once it goes beyond what this process remembers.
func (p *prepared) identify() {
	p.id.Fingerprint = p.sum.String()
	if p.key == "" {
		p.digest = p.policy.hasher.Digest(p.canon).String()
	}
}

func first(a, b, c string) string {
	if a != "" {
		return a
	}
	if b != "" {
		return b
	}
	return c
}

// ask is what decide needs to know of the call, before record r.
func (p *prepared) ask(r *Record, waited bool) ask {
	return ask{policy: &p.policy.Policy, argsDiffer: p.argsDiffer(r), waited: waited}
}

func (p *prepared) argsDiffer(r *Record) bool {
	return r != nil && p.key != "" && r.ArgsDigest != "" && r.ArgsDigest != p.digest
}

// start is what a claim for the call brings along.
func (x *exec) start(ended Outcome) (start, error) {
	c, p := x.c, x.p
	s := start{
		id: p.id, key: p.key, argsDigest: p.digest, caller: p.caller, inDoubt: p.policy.InDoubt,
		token: rand.Text(), nonce: rand.Text(), ended: ended,
	}
	if x.stored == nil { // once: a tool may change what its arguments point to
		stored, err := p.policy.hasher.Stored(make([]byte, 0, len(p.canon)+64), p.args) // about as long
		if err != nil {
			return s, fmt.Errorf("ledger: %s: %w", p.id.Tool, err)
		}
		x.stored = stored
	}
	var err error
	if len(x.stored) <= maxStoredArgs {
		s.args, s.sealed, err = c.seal(p.id, x.stored)
	}
	return s, err
}

func (c *core) seal(id ID, plain []byte) (text []byte, sealed bool, err error) {
	if c.opts.Sealer == nil || plain == nil {
		return plain, c.opts.Sealer != nil, nil
	}
	err = errors.New("it panicked")
	c.harmless("Sealer.Seal", func() { text, err = c.opts.Sealer.Seal(plain, []byte(id.String())) })
	if err != nil {
		return nil, true, fmt.Errorf("ledger: %s: seal: %w", id, err)
	}
	return text, true, nil
}

// open returns r with its arguments and result readable.
func (c *core) open(r Record) (Record, error) {
	if !r.Sealed {
		return r, nil
	}
	if c.opts.Sealer == nil {
		return r, fmt.Errorf("ledger: %s is sealed, and this guard has no Sealer", r.ID)
	}
	for _, field := range []*[]byte{&r.Args, &r.Result} {
		if *field == nil {
			continue
		}
		plain, err := []byte(nil), errors.New("it panicked")
		c.harmless("Sealer.Open", func() { plain, err = c.opts.Sealer.Open(*field, []byte(r.ID.String())) })
		if err != nil {
			return r, fmt.Errorf("ledger: %s: open what is sealed: %w", r.ID, err)
		}
		*field = plain
	}
	r.Sealed = false
	return r, nil
}

// clock is the time that records keep.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
