// Package proxy is a TCP proxy that treats connections badly: it cuts them off without
// closing them, one way or both, delays what they carry, delivers it late, and breaks them.
//
// TCP promises that bytes arrive in order or not at all, and so does this proxy: where bytes are lost, the
// connection is lost with them, but only once the cut is over. Until then both ends see what they see
// of a broken network: silence.
//
// There is one Proxy for each worker and member, so that one worker can be cut off from one
// member, or from all.
package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A Direction says whose bytes are meant, of those that pass the proxy.
type Direction int

// The directions.
const (
	Out  Direction = 1 << iota // what the client says
	In                         // what the server says
	Both = Out | In
)

// maxPairs bounds the connections of a proxy; more are broken at once.
const maxPairs = 256

// dialLimit is for a target on the same machine.
const dialLimit = 5 * time.Second

// A Proxy forwards the connections to its address to its target. Its methods may
// be called from any goroutine.
type Proxy struct {
	target   string
	listener net.Listener
	group    sync.WaitGroup // all goroutines

	mu     sync.Mutex
	closed bool
	cut    Direction
	late   bool // what the cut holds is delivered when it ends
	delay  time.Duration
	healed chan struct{} // closed when the cut that is on ends
	pairs  map[*pair]struct{}
}

// Listen begins to forward to target ("127.0.0.1:2379"), which need not listen yet, from a free port of 127.0.0.1.
func Listen(target string) (*Proxy, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("proxy: the target: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, pairs: make(map[*pair]struct{})}
	p.group.Go(p.accept)
	return p, nil
}

// Addr returns the address to connect to: "127.0.0.1:31234".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut loses what is said in that direction, in addition to what is cut already: once it returns,
// nothing of it arrives any more. No connection is closed, and none that is made meanwhile gets an answer. A
// sender may go on for at most 4 MiB; then it is not read any more.
//
// Heal breaks each connection of which anything was lost, and those made meanwhile.
func (p *Proxy) Cut(d Direction) { p.block(d, false) }

// Hold is Cut, but for its end: Heal then delivers what was held, late. That includes what a
// process said that is dead by then; that it is dead arrives a second later. Where there was a Cut before, nothing is lost any more.
func (p *Proxy) Hold(d Direction) { p.block(d, true) }

func (p *Proxy) block(d Direction, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == 0 {
		p.healed = make(chan struct{})
	}
	p.cut |= d
	p.late = late
	for c := range p.pairs {
		c.block(p.cut)
	}
}

// Delay lets what is said from now on, in both directions, arrive that much later; 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Heal ends Cut, Hold and Delay; see there for what becomes of what was held.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = 0
	if p.cut == 0 {
		return
	}
	for c := range p.pairs {
		if !p.late && c.lost(p.cut) {
			c.reset()
		}
		c.open()
		c.untimely = false
	}
	p.cut, p.late = 0, false
	close(p.healed)
}

// Break resets all connections, at once and whatever else is on. New ones are welcome.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// Close breaks all connections, stops listening, and waits until nothing is left.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // Close, again
	}
	p.Break()
	p.group.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of files, perhaps
			continue
		}
		client := conn.(*net.TCPConn)
		if !p.admit(client) {
			reset(client)
		}
	}
}

// admit begins to forward a connection.
func (p *Proxy) admit(client *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.pairs) >= maxPairs {
		return false
	}
	c := newPair(p, client)
	p.pairs[c] = struct{}{}
	p.group.Go(func() {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.pairs, c)
		}()
		c.run()
	})
	return true
}

// passable returns nil if nothing is cut, and otherwise what to wait for.
func (p *Proxy) passable() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == 0 {
		return nil
	}
	return p.healed
}

// due is when what was read now may arrive.
func (p *Proxy) due() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay == 0 {
		return time.Time{}
	}
	return time.Now().Add(p.delay)
}

// reset closes a connection so that its other end learns of it as an error.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
