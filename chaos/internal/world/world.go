// Package world is the downstream of a chaos run: somebody else's system, in which tool calls
// have their effects. It is an HTTP server on loopback, in the harness process,
// that writes down each request it carried out, with fsync, before it answers. So its journal
// is the truth about effects, whatever becomes of the workers.
//
// What it does with a request depends on the request's tool: see the constants
// trace.WorldPlain and following. What happens around a request (its message lands late, its
// caller is killed before the answer) is the harness's [Plan] for it.
//
// A request that arrived whole is carried out even if its caller is gone, as a message on its way would be.
package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// DefaultHold is how long a tool of trace.WorldHold holds its answers.
const DefaultHold = 100 * time.Millisecond

// Options of a world.
type Options struct {
	Journal string       // the file for its effects; it must not exist
	Tools   []trace.Tool // all that may be asked for
	// Plan says what is to happen around a request. It is called as the request arrives, by
	// several goroutines at once. Defaults to nothing.
	Plan func(Request) Plan
	// Hold is how long tools of trace.WorldHold hold an answer whose Plan has no Hold. Defaults to DefaultHold.
	Hold time.Duration
}

// A Plan is what happens around one request. The zero Plan is nothing. The
// functions' context ends when the world closes; a request whose Before is cut short by
// that is not carried out. They run in the request's goroutine: one that returns late makes late what comes after it.
type Plan struct {
	// Before runs after the request has arrived and before the world decides: a message that lands
	// late, because the harness meanwhile kills or stops its sender. The effect is marked Late.
	Before func(context.Context)
	// Drop loses the request, after Before: it is not carried out, not in the journal, and not answered.
	Drop bool
	// After runs after the fsync and before the answer: "effect done, reply lost", if the harness kills, stops or cuts the caller here.
	After func(context.Context)
	// Lose closes the connection without an answer. The effect is marked Answer "lost".
	Lose bool
	// Hold is how long the answer is held, after After. It ends early if the caller goes away. The effect is marked Answer "held".
	Hold time.Duration
}

// A World is a running downstream. It remembers every call and every token it was asked for.
type World struct {
	url     string
	server  *http.Server
	writer  *trace.Writer
	journal journal
	plan    func(Request) Plan
	ctx     context.Context // of the requests: it ends with Close
	stop    context.CancelFunc
	serving sync.WaitGroup // the goroutine that accepts
	closing func() error

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup // requests; none is added once closed
	books  books          // what happened so far
	err    error          // of the journal; the first
}

// Start makes the journal and starts to serve. The caller must Close it.
func Start(o Options) (*World, error) {
	books, err := open(o.Tools, o.Hold)
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	writer, err := trace.Create(o.Journal, true)
	if err != nil {
		return nil, fmt.Errorf("world: its journal: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("world: %w", err), writer.Close())
	}
	w := &World{
		url: "http://" + listener.Addr().String(), writer: writer, journal: journal{to: writer}, plan: o.Plan, books: books,
	}
	if w.plan == nil {
		w.plan = func(Request) Plan { return Plan{} }
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /act", func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, false) })
	mux.HandleFunc("POST /query", func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, true) })
	w.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	w.closing = sync.OnceValue(w.close)
	w.serving.Go(func() {
		if err := w.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.fail(fmt.Errorf("world: it stopped serving: %w", err))
		}
	})
	return w, nil
}

// URL is where the world listens, for [Client].
func (w *World) URL() string { return w.url }

// Close ends all connections, waits for the requests and closes the journal. It returns the first
// error of the journal or the server: after one the run tells nothing. It may be called again.
func (w *World) Close() error { return w.closing() }

func (w *World) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	err := w.server.Close()
	w.serving.Wait()
	w.active.Wait()
	err = errors.Join(err, w.writer.Close()) // with the journal's own first error
	return errors.Join(w.Err(), err)
}

// Err is the first error of the journal or the server: from then on the world answers nothing but status 500.
func (w *World) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *World) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// begin admits a request, unless the world is closed.
func (w *World) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.active.Add(1)
	return true
}

func (w *World) serve(rw http.ResponseWriter, r *http.Request, query bool) {
	if !w.begin() {
		panic(http.ErrAbortHandler) // closes the connection
	}
	defer w.active.Done()
	var q Request
	// To its end: only then does the server notice that a caller goes away.
	text, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(text, &q)
	}
	if err != nil {
		http.Error(rw, "not a request: "+err.Error(), http.StatusBadRequest)
		return
	}
	q.Query = query
	if err := w.books.check(q); err != nil { // the tools do not change
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	plan := w.plan(q)
	if plan.Before != nil {
		plan.Before(w.ctx)
	}
	// The caller's own context does not count from here on: only Close stops what has arrived.
	if plan.Drop || w.ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	said, done, err := w.decide(q, &plan)
	if err == nil {
		err = w.journal.flush(done)
	}
	if err != nil {
		w.fail(fmt.Errorf("world: its journal: %w", err))
		http.Error(rw, "the journal failed", http.StatusInternalServerError)
		return
	}
	if plan.After != nil {
		plan.After(w.ctx)
	}
	if plan.Hold > 0 {
		select {
		case <-time.After(plan.Hold):
		case <-r.Context().Done(): // nobody is left to wait for the answer
		case <-w.ctx.Done():
		}
	}
	if plan.Lose {
		panic(http.ErrAbortHandler)
	}
	said.send(rw)
}

// decide carries the request out, and puts it into the journal in the order of the decisions.
func (w *World) decide(q Request, plan *Plan) (reply, *batch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return reply{}, nil, w.err
	}
	if w.books.worlds[q.Tool] == trace.WorldHold && plan.Hold == 0 {
		plan.Hold = w.books.hold
	}
	e, said := w.books.decide(q)
	e.Late = plan.Before != nil
	switch {
	case plan.Lose:
		e.Answer = "lost"
	case plan.Hold > 0:
		e.Answer = "held"
	}
	e.At = trace.Now()
	return said, w.journal.add(e), nil
}

// Effects is how often the call had its effect. Like the other counts it may be ahead of the journal by the fsync that is under way.
func (w *World) Effects(id string) int { return w.look(id).effects }

// Requests is how often the call's effect was asked for: with those that were refused, denied, or known by their token.
func (w *World) Requests(id string) int { return w.look(id).requests }

// Queries is how often a reconciliation asked for the call, with those that were refused.
func (w *World) Queries(id string) int { return w.look(id).queries }

// Happened reports whether the run with this token had an effect.
func (w *World) Happened(id, token string) bool { return w.look(id).effectsOf(token) > 0 }

// EffectsOf is how many effects the run with this token had.
func (w *World) EffectsOf(id, token string) int { return w.look(id).effectsOf(token) }

// Totals counts all requests by what the world did: trace.Done and so on.
func (w *World) Totals() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	totals := make(map[string]int, len(w.books.totals))
	for did, n := range w.books.totals {
		totals[did] = n
	}
	return totals
}

// look is a copy of what is known of a call.
func (w *World) look(id string) account {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.books.accounts[id]; a != nil {
		c := *a
		c.runs = slices.Clone(a.runs)
		return c
	}
	return account{}
}
