package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// An op is one conditional write, or one lookup, that can share a request with others.
type op struct {
	id    ledger.ID     // the members of one request have distinct ones
	fence fence         // on the session's key: shared by the claims of one session
	cmps  []*pb.Compare // all have to hold for then, or els is carried out
	then  []*pb.RequestOp
	els   func() []*pb.RequestOp // nil: nothing; made only where it is sent: a flat transaction has none
	// unsure ops are likely to be refused, and are kept out of flat transactions, which they would fail.
	unsure bool
	// single ops share no request.
	single bool

	mu    sync.Mutex
	state opState
	done  chan struct{} // closed when ans and err are there
	ans   answer
	err   error
}

type opState uint8

const (
	opWaiting opState = iota
	opSent
	opWithdrawn
)

// A fence is the compare with a session's key: that it still has the mod
// revision known. The zero fence is none.
type fence struct {
	key  string
	mark int64
}

func (f fence) compare() *pb.Compare {
	return modified(f.key, equal, f.mark)
}

// An answer is what one transaction said.
type answer struct {
	ok        bool  // the compares held
	revision  int64 // of the store when it was answered; of the write, if there was one
	responses []*pb.ResponseOp
}

func (a *answer) kvs(i int) []*mvccpb.KeyValue { return kvsOf(a.responses[i]) }

// errNotSent: the op's caller gave up before it was sent.
var errNotSent = errors.New("the request was not sent")

// errAbandoned: the op's caller gave up while the answer was on its way.
var errAbandoned = errors.New("the answer was not waited for")

// A batcher sends ops that arrive while requests are in flight together in
// the next one. Alone, an op waits for nobody, and is sent by its caller's own goroutine.
type batcher struct {
	client  kv
	life    context.Context // of the requests; ends after close
	timeout time.Duration

	mu        sync.Mutex
	queue     []*op
	inFlight  int
	slow      int // of those in flight: they no longer count against the window
	closed    bool
	idle      chan struct{}      // closed when closed and nothing is queued or in flight
	shared    context.Context    // of requests that begin at about the same time; see lifetime
	endShared context.CancelFunc // frees its timer, which frees itself at the deadline
	until     time.Time          // when the next of these contexts begins
	maxOps    int                // of one transaction: the server's limit, as far as it is known
	limit     int                // at most maxOps; less after shared requests that got no answer in time
	maxBytes  int                // of a request that several share; likewise
	pace      pace
}

const (
	// defaultMaxOps is etcd's own default of --max-txn-ops.
	defaultMaxOps = 128
	// maxBatchBytes keeps a request well under etcd's default limit of 1.5 MiB.
	maxBatchBytes = 1 << 20
	// minBatchBytes is what small records can share on any server.
	minBatchBytes = 32 << 10
	// slowAfter is when a request is no longer waited for before the next is sent;
	// maxSlow bounds how many such there may be.
	slowAfter = 100 * time.Millisecond
	maxSlow   = 16
	// minOps is the least that a transaction may have, and limitStep how much
	// more it may have after each that was answered.
	minOps    = 16
	limitStep = 4
	// nestedOps is what a nested transaction may have, and therefore the outer one has to leave.
	nestedOps = 6
	// opOverheadBytes is what protobuf and the compares of an op add to its keys and values.
	opOverheadBytes = 64
)

func newBatcher(life context.Context, client kv, timeout time.Duration) *batcher {
	return &batcher{client: client, life: life, timeout: timeout, maxOps: defaultMaxOps, limit: defaultMaxOps, maxBytes: maxBatchBytes, idle: make(chan struct{})}
}

// do sends o and waits for its answer. An error is one of the request, see
// verdictOf; errNotSent, or errAbandoned with the cause of ctx's end.
func (b *batcher) do(ctx context.Context, o *op) (answer, error) {
	if ctx.Err() != nil {
		return answer{}, fmt.Errorf("%w: %w", errNotSent, context.Cause(ctx))
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return answer{}, fmt.Errorf("%w: %w", errNotSent, ledger.ErrClosed)
	}
	if len(b.queue) == 0 && b.inFlight-b.slow < b.pace.window() {
		b.inFlight++
		b.mu.Unlock()
		return b.direct(ctx, o)
	}
	o.done = make(chan struct{})
	b.queue = append(b.queue, o)
	b.dispatch()
	b.mu.Unlock()
	select {
	case <-o.done:
		return o.ans, o.err
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == opWaiting {
		o.state = opWithdrawn // whoever takes it out of the queue drops it
		return answer{}, fmt.Errorf("%w: %w", errNotSent, context.Cause(ctx))
	}
	select {
	case <-o.done:
		return o.ans, o.err
	default:
		return answer{}, fmt.Errorf("%w: %w", errAbandoned, context.Cause(ctx))
	}
}

// direct sends o, which shares its request with nobody, on its caller's goroutine. If the
// caller gives up the request is broken off: like one that is not waited for, it may be carried out all the same.
func (b *batcher) direct(ctx context.Context, o *op) (answer, error) {
	o.state = opSent
	b.request(func() {
		rctx, cancel := context.WithCancel(b.lifetime())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		o.ans, o.err = b.alone(rctx, o)
	})
	if o.err != nil && ctx.Err() != nil && verdictOf(o.err) == ambiguous {
		o.err = fmt.Errorf("%w: %w", errAbandoned, context.Cause(ctx))
	}
	return o.ans, o.err
}

// dispatch starts as many requests as may be in flight: those of the window, and
// more where there is enough waiting for full ones. It is called with mu held.
func (b *batcher) dispatch() {
	for len(b.queue) > 0 && (b.inFlight-b.slow < b.pace.window() || b.inFlight-b.slow < maxInFlight && len(b.queue) >= b.limit/2) {
		if members := b.take(); len(members) > 0 {
			b.inFlight++
			go b.request(func() { b.send(members) })
		}
	}
	if b.closed && b.inFlight == 0 && len(b.queue) == 0 {
		select {
		case <-b.idle:
		default:
			close(b.idle)
		}
	}
}

// take removes the members of the next request from the queue: those that can share it with the first.
func (b *batcher) take() []*op {
	var members, rest []*op
	ids := make(map[ledger.ID]struct{}, min(len(b.queue), b.limit))
	fences := make(map[string]int64)
	left, bytes := b.limit-nestedOps, 0
	for i, o := range b.queue {
		if o.withdrawn() {
			continue
		}
		cost, size := o.cost(), o.size()
		if len(members) > 0 {
			_, taken := ids[o.id]
			mark, known := fences[o.fence.key]
			clashes := known && mark != o.fence.mark // both can not hold
			if left < 2 || bytes > b.maxBytes {
				rest = append(rest, b.queue[i:]...)
				break
			}
			if taken || o.single || members[0].single || o.unsure != members[0].unsure || cost > left || bytes+size > b.maxBytes || clashes {
				rest = append(rest, o)
				continue
			}
		}
		if o.start() {
			members = append(members, o)
			ids[o.id] = struct{}{}
			left, bytes = left-cost, bytes+size
			if _, known := fences[o.fence.key]; !known && o.fence.key != "" {
				fences[o.fence.key] = o.fence.mark
				left--
			}
		}
	}
	b.queue = rest
	return members
}

func (o *op) withdrawn() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == opWithdrawn
}

func (o *op) start() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == opWithdrawn {
		return false
	}
	o.state = opSent
	return true
}

// cost is how many operations o adds to a transaction.
func (o *op) cost() int {
	if o.unsure {
		return 1 // nested: one of the outer transaction
	}
	return max(len(o.cmps), len(o.then))
}

func (o *op) size() int {
	n := opOverheadBytes
	for _, then := range o.then {
		n += sizeOf(then) + opOverheadBytes
	}
	for _, c := range o.cmps {
		n += len(c.Key) + opOverheadBytes
	}
	return n
}

func (o *op) answer(ans answer, err error) {
	o.ans, o.err = ans, err
	close(o.done)
}

// compares are all of o's, the session's among them.
func (o *op) compares() []*pb.Compare {
	if o.fence.key == "" {
		return o.cmps
	}
	return append(append(make([]*pb.Compare, 0, len(o.cmps)+1), o.cmps...), o.fence.compare())
}

func (o *op) otherwise() []*pb.RequestOp {
	if o.els == nil {
		return nil
	}
	return o.els()
}

// request runs send, which carries out one request, or those that its failure makes necessary. The
// next one starts when it is over, or takes long: one that hangs, on a member that is gone, say, must not hold up the others.
func (b *batcher) request(send func()) {
	wasSlow, over := false, false // with b.mu held
	timer := time.AfterFunc(slowAfter, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !over && b.slow < maxSlow {
			wasSlow = true
			b.slow++
			b.dispatch()
		}
	})
	defer func() { // even where an interceptor of the client's panics
		b.mu.Lock()
		defer b.mu.Unlock()
		timer.Stop()
		b.inFlight--
		if over = true; wasSlow {
			b.slow--
		}
		b.dispatch()
	}()
	send()
}

func (b *batcher) send(members []*op) {
	switch {
	case len(members) == 1:
		members[0].answer(b.alone(b.lifetime(), members[0]))
	case members[0].unsure:
		b.sendNested(members)
	default:
		b.sendFlat(members)
	}
}

// lifetimeParts is by what fraction of the timeout requests may end early.
const lifetimeParts = 64

// lifetime returns a context for one request. It does not end when a caller walks away: others may
// share the request, and what a caller keeps in a context is none of the cluster's business. Requests that begin at
// about the same time share it, with its timer.
func (b *batcher) lifetime() context.Context {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !now.Before(b.until) {
		b.until = now.Add(b.timeout / lifetimeParts)
		b.shared, b.endShared = context.WithDeadline(clientv3.WithRequireLeader(b.life), now.Add(b.timeout))
	}
	return b.shared
}

// txn carries out a transaction.
func (b *batcher) txn(ctx context.Context, cmps []*pb.Compare, then, els []*pb.RequestOp) (*pb.TxnResponse, error) {
	if failpoint.On && isWrite(cmps, then) {
		failpoint.Hit(failpoint.EtcdWriting)
	}
	start := time.Now()
	r, err := b.client.Txn(ctx, &pb.TxnRequest{Compare: cmps, Success: then, Failure: els})
	if failpoint.On && isWrite(cmps, then) {
		failpoint.Hit(failpoint.EtcdWritten)
	}
	if err == nil {
		b.mu.Lock()
		b.pace.took(time.Since(start))
		b.limit = min(b.maxOps, b.limit+limitStep)
		b.mu.Unlock()
	}
	return r, err
}

func (b *batcher) alone(ctx context.Context, o *op) (answer, error) {
	r, err := b.txn(ctx, o.compares(), o.then, o.otherwise())
	if err != nil {
		return answer{}, err
	}
	return answer{r.Succeeded, r.Header.Revision, r.Responses}, nil
}

// sendFlat tries everything in one transaction that holds all compares and all
// writes: the cheapest, as long as nobody is refused.
func (b *batcher) sendFlat(members []*op) {
	cmps := make([]*pb.Compare, 0, 2*len(members)+1)
	then := make([]*pb.RequestOp, 0, 2*len(members))
	fences := make(map[string]bool)
	for _, o := range members {
		cmps = append(cmps, o.cmps...)
		if o.fence.key != "" && !fences[o.fence.key] {
			fences[o.fence.key] = true
			cmps = append(cmps, o.fence.compare())
		}
		then = append(then, o.then...)
	}
	r, err := b.txn(b.lifetime(), cmps, then, nil)
	switch {
	case err != nil:
		b.failed(members, err)
	case !r.Succeeded:
		b.sendNested(members)
	default:
		i := 0
		for _, o := range members {
			o.answer(answer{true, r.Header.Revision, r.Responses[i : i+len(o.then)]}, nil)
			i += len(o.then)
		}
	}
}

// sendNested gives each member a transaction of its own inside of one request,
// and so its own answer.
func (b *batcher) sendNested(members []*op) {
	then := make([]*pb.RequestOp, len(members))
	for i, o := range members {
		then[i] = nested(o.compares(), o.then, o.otherwise())
	}
	r, err := b.txn(b.lifetime(), nil, then, nil)
	if err != nil {
		b.failed(members, err)
		return
	}
	for i, o := range members {
		t := r.Responses[i].GetResponseTxn()
		o.answer(answer{t.Succeeded, r.Header.Revision, t.Responses}, nil) // the header of a nested one carries revision 0
	}
}

// failed deals with an error of a shared request. Where it says that nothing
// was written, it may be due to one member alone: each is sent by itself.
func (b *batcher) failed(members []*op, err error) {
	v := verdictOf(err)
	b.mu.Lock()
	switch v {
	case tooMany:
		b.maxOps = max(minOps, b.maxOps/2)
		b.limit = min(b.limit, b.maxOps)
	case tooLarge:
		b.maxBytes = max(minBatchBytes, b.maxBytes/2)
	case ambiguous: // perhaps it, or its answer, was too large to come in time
		b.limit = max(minOps, b.limit/2)
	}
	b.mu.Unlock()
	if v == ambiguous {
		for _, o := range members {
			o.answer(answer{}, err)
		}
		return
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, o := range members {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			o.answer(b.alone(b.lifetime(), o))
		})
	}
	group.Wait()
}

// close refuses new ops and returns when those that there are have been
// answered, or ctx ends.
func (b *batcher) close(ctx context.Context) {
	b.mu.Lock()
	b.closed = true
	b.dispatch()
	b.mu.Unlock()
	select {
	case <-b.idle:
	case <-ctx.Done():
	}
}

// pace decides how many requests may be in flight: few on a fast disk, where
// the members of a greater batch share more; more where each waits for milliseconds.
type pace struct {
	fastest [2]time.Duration // of the requests before, and of those now; 0: none
	n       int              // of those now
	fixed   int              // for tests; 0: none
}

const (
	minInFlight = 2
	maxInFlight = 8
	// paceEvery is after how many requests older ones begin to be forgotten.
	paceEvery = 128
)

func (p *pace) took(d time.Duration) {
	if p.n++; p.n > paceEvery {
		p.fastest[0], p.fastest[1], p.n = p.fastest[1], 0, 1
	}
	if p.fastest[1] == 0 || d < p.fastest[1] {
		p.fastest[1] = d
	}
}

// window goes by the fastest of the last requests: it says what the cluster needs
// for one; the others also say how busy it and this process are, and
// then more requests in place of greater ones make it worse.
func (p *pace) window() int {
	if p.fixed > 0 {
		return p.fixed
	}
	fastest := p.fastest[1]
	if fastest == 0 || p.fastest[0] > 0 && p.fastest[0] < fastest {
		fastest = p.fastest[0]
	}
	return max(minInFlight, min(maxInFlight, int(fastest/(2*time.Millisecond))))
}

func kvsOf(r *pb.ResponseOp) []*mvccpb.KeyValue {
	if g := r.GetResponseRange(); g != nil {
		return g.Kvs
	}
	return nil
}
