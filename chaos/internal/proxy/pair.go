package proxy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pieceBytes = 8 << 10
	maxPieces  = 512 // read and not yet delivered, in one direction: 4 MiB

	// lateEnd is how long after the last bytes the end of a connection arrives that was held: a
	// server that hears of it together with a request drops the request.
	lateEnd = time.Second
)

// A pair is a client's connection and the one to the server that belongs to it.
type pair struct {
	p        *Proxy
	client   *net.TCPConn
	out, in  *pipe
	ctx      context.Context // ends with reset
	cancel   context.CancelFunc
	untimely bool // accepted during a cut, with p.mu held

	mu     sync.Mutex
	server *net.TCPConn // nil until it is dialled
	dead   bool         // reset
}

// newPair is called with p.mu held.
func newPair(p *Proxy, client *net.TCPConn) *pair {
	c := &pair{p: p, client: client, out: newPipe(p), in: newPipe(p), untimely: p.cut != 0}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.block(p.cut)
	return c
}

// run forwards until both directions have ended.
func (c *pair) run() {
	defer c.reset()
	if !c.connect() {
		return
	}
	var group sync.WaitGroup
	for _, half := range []struct {
		pipe     *pipe
		from, to *net.TCPConn
	}{{c.out, c.client, c.server}, {c.in, c.server, c.client}} {
		group.Go(func() { half.pipe.read(c.ctx, half.from) })
		group.Go(func() { half.pipe.write(c.ctx, half.to) })
	}
	group.Wait()
}

// connect dials the server. A connection takes both directions: during a cut there is none to be had.
func (c *pair) connect() bool {
	for healed := c.p.passable(); healed != nil; healed = c.p.passable() {
		select {
		case <-healed:
		case <-c.ctx.Done():
			return false
		}
	}
	dialer := net.Dialer{Timeout: dialLimit}
	conn, err := dialer.DialContext(c.ctx, "tcp", c.p.target)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = conn.(*net.TCPConn)
	if c.dead {
		reset(c.server)
	}
	return !c.dead
}

// reset breaks both connections.
func (c *pair) reset() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	c.dead = true
	reset(c.client)
	if c.server != nil {
		reset(c.server)
	}
}

func (c *pair) block(d Direction) {
	if d&Out != 0 {
		c.out.block()
	}
	if d&In != 0 {
		c.in.block()
	}
}

func (c *pair) open() {
	c.out.open()
	c.in.open()
}

// lost reports whether a cut of these directions has held anything back. It is called with p.mu held.
func (c *pair) lost(d Direction) bool {
	return c.untimely || d&Out != 0 && c.out.held.Load() > 0 || d&In != 0 && c.in.held.Load() > 0
}

// A pipe is one direction of a pair.
type pipe struct {
	p     *Proxy
	queue chan piece
	held  atomic.Int64 // what was read and not yet delivered as a whole; see piece.size

	writing sync.Mutex // while bytes may be on their way to the receiver
	mu      sync.Mutex
	to      *net.TCPConn  // nil until the pair is connected
	opened  chan struct{} // nil: nothing blocks the pipe; else closed when it is open again
	wasHeld bool          // it was blocked once
	last    time.Time     // of the last delivery; of write alone
}

// A piece is some bytes, or, without any, the sender's end.
type piece struct {
	data []byte
	due  time.Time // when it may arrive; zero: now
}

// size is its bytes; the sender's end counts as one.
func (x *piece) size() int64 { return int64(max(1, len(x.data))) }

func newPipe(p *Proxy) *pipe { return &pipe{p: p, queue: make(chan piece, maxPieces)} }

// block keeps what was read from arriving. When it returns, nothing is on its way any more.
func (q *pipe) block() {
	q.mu.Lock()
	if q.opened == nil {
		q.opened = make(chan struct{})
	}
	if q.to != nil {
		_ = q.to.SetWriteDeadline(time.Unix(1, 0)) // ends a write to somebody who does not read
	}
	q.mu.Unlock()
	q.writing.Lock()
	defer q.writing.Unlock()
}

func (q *pipe) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.opened == nil {
		return
	}
	close(q.opened)
	q.opened = nil
	q.wasHeld = true
	if q.to != nil {
		_ = q.to.SetWriteDeadline(time.Time{})
	}
}

// read reads all that the sender says, as far as there is room.
func (q *pipe) read(ctx context.Context, from *net.TCPConn) {
	buf := make([]byte, pieceBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			q.push(ctx, piece{append([]byte(nil), buf[:n]...), q.p.due()})
		}
		if err != nil {
			q.push(ctx, piece{nil, q.p.due()})
			return
		}
	}
}

func (q *pipe) push(ctx context.Context, x piece) {
	q.held.Add(x.size())
	select {
	case q.queue <- x:
	case <-ctx.Done():
	}
}

// write delivers what was read, until the sender's end. A receiver who is gone
// does not end it: the sender learns of that from the other direction, and no earlier.
func (q *pipe) write(ctx context.Context, to *net.TCPConn) {
	q.mu.Lock()
	q.to = to
	if q.opened != nil {
		_ = to.SetWriteDeadline(time.Unix(1, 0))
	}
	q.mu.Unlock()
	gone := false
	for {
		var x piece
		select {
		case x = <-q.queue:
		case <-ctx.Done():
			return
		}
		if !x.due.IsZero() && !sleep(ctx, time.Until(x.due)) {
			return
		}
		for rest := x.data; ; {
			n, ok := q.deliver(ctx, to, rest, gone)
			if ctx.Err() != nil {
				return
			}
			if rest = rest[n:]; len(rest) == 0 && ok {
				break
			}
			if ok {
				gone = true
				break
			}
		}
		q.held.Add(-x.size())
		if x.data == nil {
			return
		}
	}
}

// sleep reports whether it slept that long, and ctx did not end before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// deliver waits until the pipe is open, and writes as much of data as it lets pass. It
// reports false if a block came in between: the rest is to be delivered later. Without data, it ends what the receiver hears.
func (q *pipe) deliver(ctx context.Context, to *net.TCPConn, data []byte, gone bool) (int, bool) {
	for {
		q.writing.Lock()
		q.mu.Lock()
		opened, wait := q.opened, time.Duration(0)
		if len(data) == 0 && q.wasHeld {
			wait = time.Until(q.last.Add(lateEnd))
		}
		q.mu.Unlock()
		if opened == nil && wait <= 0 {
			break
		}
		q.writing.Unlock()
		if opened == nil {
			if !sleep(ctx, wait) {
				return 0, false
			}
			continue
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return 0, false
		}
	}
	defer q.writing.Unlock()
	if gone {
		return len(data), true
	}
	if len(data) == 0 {
		_ = to.CloseWrite() // fails if it is gone
		return 0, true
	}
	n, err := to.Write(data)
	q.last = time.Now()
	if err == nil {
		return n, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return n, q.opened == nil
}
