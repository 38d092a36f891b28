package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(put())
	}
	leakcheck.Main(m)
}

// both ends of one connection through a proxy.
type ends struct {
	p              *Proxy
	client, server *net.TCPConn
	listener       net.Listener
}

func listen(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func connect(t *testing.T) *ends {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	e := &ends{p: listen(t, l.Addr().String()), listener: l}
	e.client = e.dial(t)
	e.server = e.accept(t)
	return e
}

func (e *ends) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", e.p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func (e *ends) accept(t *testing.T) *net.TCPConn {
	t.Helper()
	s, err := e.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*net.TCPConn)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v, want %q", got, err, text)
	}
}

// silence fails if anything is heard, be it the end.
func silence(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 100))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %d bytes, %v, want silence", n, err)
	}
}

func broken(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 100))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %d bytes, %v, want a broken connection", n, err)
	}
}

// until waits for a condition that nothing tells of.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute) // a disk may stall
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

func TestForwards(t *testing.T) {
	e := connect(t)
	say(t, e.client, "ask")
	hear(t, e.server, "ask")
	say(t, e.server, "answer")
	hear(t, e.client, "answer")
	// The ends of the two directions are told apart.
	if err := e.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	say(t, e.server, "last")
	hear(t, e.client, "last")
	e.server.Close()
	if _, err := e.client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	until(t, "the pair is forgotten", func() bool { return e.pairs() == 0 })
}

// One way is silent, the other goes on, and in the end the connection is lost, since bytes are.
func TestCut(t *testing.T) {
	for _, tt := range []struct {
		name    string
		d       Direction
		out, in bool // passes
	}{{"out", Out, false, true}, {"in", In, true, false}, {"both", Both, false, false}} {
		t.Run(tt.name, func(t *testing.T) {
			e := connect(t)
			spared := e.dial(t)
			sparedServer := e.accept(t)
			e.p.Cut(tt.d)
			say(t, e.client, "ask")
			say(t, e.server, "answer")
			if tt.out {
				hear(t, e.server, "ask")
			} else {
				silence(t, e.server)
			}
			if tt.in {
				hear(t, e.client, "answer")
			} else {
				silence(t, e.client)
			}
			untimely := e.dial(t) // which TCP can not refuse, but nobody answers
			say(t, untimely, "hello")
			until(t, "the proxy has it", func() bool { return e.pairs() == 3 }) // else it may be made after the cut
			silence(t, untimely)
			e.p.Heal()
			broken(t, e.client)
			broken(t, e.server)
			broken(t, untimely)
			// Of this one nothing was lost.
			say(t, spared, "ask")
			hear(t, sparedServer, "ask")
			again := e.dial(t)
			say(t, again, "again")
			hear(t, e.accept(t), "again")
		})
	}
}

// The end of a connection is lost in a cut like anything else that is said.
func TestCutHidesTheEnd(t *testing.T) {
	e := connect(t)
	e.p.Cut(Out)
	e.client.Close()
	silence(t, e.server)
	e.p.Heal()
	broken(t, e.server)
}

// What was held arrives late, after the sender's death, and so does a connection that was made meanwhile.
func TestHold(t *testing.T) {
	e := connect(t)
	e.p.Hold(Out)
	say(t, e.client, "late")
	untimely := e.dial(t)
	say(t, untimely, "hello")
	silence(t, e.server)
	if err := e.client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	until(t, "the message is held", func() bool { return e.held() >= 4 })
	e.client.Close()
	e.p.Heal()
	hear(t, e.server, "late")
	if _, err := e.server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	hear(t, e.accept(t), "hello")
	// It is a connection like any other from now on.
	e.p.Cut(In)
	e.p.Heal()
	say(t, untimely, "more")
}

// pairs is how many connections the proxy has.
func (e *ends) pairs() int {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return len(e.p.pairs)
}

// held is what all connections have held back of what clients say.
func (e *ends) held() (n int64) { return held(e.p) }

func held(p *Proxy) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		n += c.out.held.Load()
	}
	return n
}

func TestDelay(t *testing.T) {
	e := connect(t)
	const d = 30 * time.Millisecond
	e.p.Delay(d)
	begin := time.Now()
	say(t, e.client, "ask")
	hear(t, e.server, "ask")
	say(t, e.server, "answer")
	hear(t, e.client, "answer")
	if took := time.Since(begin); took < 2*d {
		t.Errorf("the answer came after %v, want %v or more", took, 2*d)
	}
	e.p.Delay(time.Hour)
	say(t, e.client, "never")
	until(t, "it is on its way", func() bool { return e.held() > 0 })
	e.p.Break()
	broken(t, e.client)
	broken(t, e.server)
	e.p.Heal()
	again := e.dial(t)
	say(t, again, "ask")
	hear(t, e.accept(t), "ask")
}

// A target that does not listen is told to the client at once.
func TestTargetDown(t *testing.T) {
	e := connect(t)
	e.listener.Close()
	if c, err := net.Dial("tcp", e.p.Addr()); err == nil { // else it was broken before connect(2) returned
		defer c.Close()
		broken(t, c)
	}
	say(t, e.client, "ask")
	hear(t, e.server, "ask")
	e.p.Break()
	broken(t, e.client)
	broken(t, e.server)
	if _, err := Listen("nowhere"); err == nil {
		t.Error("a target without a port was taken")
	}
}

// A receiver who does not read does not keep a cut from being made, and no byte is lost,
// doubled or moved by holds that come and go in the middle of writes.
func TestHoldsLoseNothing(t *testing.T) {
	e := connect(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, 16<<20) // more than all buffers hold
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := io.Copy(e.client, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
		if err := e.client.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	until(t, "all buffers are full", func() bool { return e.held() > 1<<20 })
	begin := time.Now()
	e.p.Hold(Out)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("the cut took %v", took)
	}
	stop := make(chan struct{})
	group.Go(func() {
		for {
			e.p.Heal()
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(random.Uint64N(2_000_000))):
			}
			e.p.Hold(Out)
			select {
			case <-stop:
			case <-time.After(time.Duration(random.Uint64N(1_000_000))):
			}
		}
	})
	got := sha256.New()
	n, err := io.Copy(got, e.server)
	close(stop)
	group.Wait()
	if err != nil || int(n) != len(data) || [32]byte(got.Sum(nil)) != sha256.Sum256(data) {
		t.Errorf("%d of %d bytes arrived, or not the same: %v", n, len(data), err)
	}
}

func TestClose(t *testing.T) {
	e := connect(t)
	e.p.Cut(Both)
	say(t, e.client, "ask")
	e.dial(t)
	if err := errors.Join(e.p.Close(), e.p.Close()); err != nil {
		t.Error(err)
	}
	broken(t, e.client)
	broken(t, e.server)
	if _, err := net.Dial("tcp", e.p.Addr()); err == nil {
		t.Error("it listens after Close")
	}
}

// More connections than are allowed are refused, not queued.
func TestTooMany(t *testing.T) {
	e := connect(t)
	e.p.Cut(Both)
	for range maxPairs - 1 {
		e.dial(t)
	}
	c, err := net.Dial("tcp", e.p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		return // refused before the dialler looked
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	broken(t, c)
}
