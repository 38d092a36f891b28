package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Headers between the tools and the service.
const (
	headerCall        = "X-Call"            // the call's place in the transcript; the service only writes it down
	headerWorker      = "X-Worker"          // whom to kill
	headerIdempotency = "Idempotency-Key"   // honoured by charges and refunds, as payment providers do
	headerReplayed    = "Idempotent-Replay" // "true" on an answer from memory
	headerReference   = "X-Reference"       // kept with a mail, and searchable; nothing more
)

const maxBody = 64 << 10

// An effect is one thing that the service really did.
type effect struct {
	Seq       int             `json:"seq"`
	Tool      string          `json:"tool"`
	Call      int             `json:"call"`
	Worker    string          `json:"worker"`
	Reference string          `json:"reference,omitempty"`
	Body      json.RawMessage `json:"body"`
}

// A service is the world outside: it takes payments and sends mails. It writes
// down what it does before it answers, and it fails in the ways that matter.
type service struct {
	faults  faults
	kill    func(worker string) error // returns when the process is gone
	url     string
	server  *http.Server
	serving sync.WaitGroup // the server and its connections

	mu      sync.Mutex
	journal []effect
	file    io.Writer
	saved   map[string]saved // by idempotency key
	met     map[int]bool     // calls that met their fault
	dying   int              // effects of the killed worker so far
	killed  chan struct{}    // closed when the worker is gone
	reads   int
	deduped int
	err     error // of journal file or kill
}

type saved struct {
	path   string
	body   []byte
	answer []byte
}

// startService serves on a free port of the loopback interface until close.
func startService(f faults, file io.Writer, kill func(worker string) error) (*service, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		var err6 error
		if l, err6 = net.Listen("tcp", "[::1]:0"); err6 != nil {
			return nil, fmt.Errorf("demo: the service needs a port on the loopback interface: %w", err)
		}
	}
	s := &service{
		faults: f, kill: kill, file: file, url: "http://" + l.Addr().String(),
		saved: map[string]saved{}, met: map[int]bool{}, killed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", s.act("charge_card", true))
	mux.HandleFunc("POST /refunds", s.act("refund_payment", true))
	mux.HandleFunc("POST /mails", s.act("send_email", false))
	mux.HandleFunc("POST /tickets", s.act("create_ticket", false))
	mux.HandleFunc("GET /mails", s.findMail)
	mux.HandleFunc("GET /search", s.search)
	s.server = &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second, ConnState: s.connState}
	s.serving.Go(func() { _ = s.server.Serve(l) }) // always http.ErrServerClosed
	return s, nil
}

// connState counts connections; their handlers have returned when they are closed.
func (s *service) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.serving.Add(1)
	case http.StateClosed:
		s.serving.Done()
	}
}

// close ends the service; answers that are under way are cut off.
func (s *service) close() {
	_ = s.server.Close()
	s.serving.Wait()
}

// act handles a request that has an effect.
func (s *service) act(tool string, honoursKeys bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil || !json.Valid(body) {
			http.Error(w, "the body is not JSON", http.StatusBadRequest)
			return
		}
		n, _ := strconv.Atoi(r.Header.Get(headerCall))
		key := ""
		if honoursKeys {
			key = r.Header.Get(headerIdempotency)
		}
		e := effect{Tool: tool, Call: n, Worker: r.Header.Get(headerWorker), Reference: r.Header.Get(headerReference), Body: body}
		answer, status := s.perform(e, key, r.URL.Path)
		switch status {
		case statusDying:
			s.killCaller(r.Context(), e.Worker)
			panic(http.ErrAbortHandler) // no answer: there is nobody left to read it
		case statusReplayed:
			w.Header().Set(headerReplayed, "true")
			status = http.StatusOK
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}
}

// Outcomes of perform beside the HTTP statuses.
const (
	statusReplayed = -1 // done before under this key
	statusDying    = -2 // done, and the caller must not hear of it
)

// perform does what is asked, once per key if there is one, and says what to answer.
func (s *service) perform(e effect, key, path string) (answer []byte, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.saved[key]; ok && key != "" {
		if was.path != path || !bytes.Equal(was.body, e.Body) {
			return []byte(`{"error":"this idempotency key was used for another request"}`), http.StatusUnprocessableEntity
		}
		s.deduped++
		return was.answer, statusReplayed
	}
	fresh := !s.met[e.Call]
	s.met[e.Call] = true
	if fresh && slices.Contains(s.faults.Refuse, e.Call) {
		return []byte(`{"error":"busy, nothing was done"}`), http.StatusServiceUnavailable
	}

	e.Seq = len(s.journal) + 1
	if err := json.NewEncoder(s.file).Encode(e); err != nil && s.err == nil {
		s.err = fmt.Errorf("demo: the service's journal: %w", err)
	}
	s.journal = append(s.journal, e)
	answer = fmt.Appendf(nil, `{"id":"%s_%d","status":"ok"}`, e.Tool, e.Seq)
	if key != "" {
		s.saved[key] = saved{path, e.Body, answer}
	}

	switch {
	case fresh && slices.Contains(s.faults.Kill, e.Call):
		return nil, statusDying
	case fresh && slices.Contains(s.faults.Lose, e.Call):
		return []byte(`{"error":"gateway timeout"}`), http.StatusGatewayTimeout
	}
	return answer, http.StatusOK
}

// killCaller returns when the worker is dead, which it is as soon as all
// effects that it was to have by then have happened.
func (s *service) killCaller(ctx context.Context, worker string) {
	s.mu.Lock()
	s.dying++
	last := s.dying == len(s.faults.Kill)
	s.mu.Unlock()
	if last {
		if err := s.kill(worker); err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
		}
		close(s.killed)
	}
	select {
	case <-s.killed:
	case <-ctx.Done(): // the service is closed, or the caller died otherwise
	}
}

// findMail answers whether a mail with this reference was sent.
func (s *service) findMail(w http.ResponseWriter, r *http.Request) {
	ref := r.URL.Query().Get("reference")
	s.mu.Lock()
	defer s.mu.Unlock()
	found := MailStatus{}
	for _, e := range s.journal {
		if e.Tool == "send_email" && ref != "" && e.Reference == ref {
			found = MailStatus{Sent: true, ID: fmt.Sprintf("%s_%d", e.Tool, e.Seq)}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(found)
}

func (s *service) search(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"query": r.URL.Query().Get("q"), "results": []string{"found"}})
}

// Deeds are what the service did in all.
type deeds struct {
	effects []effect
	reads   int
	deduped int // requests answered from memory, by idempotency key
	err     error
}

func (s *service) did() deeds {
	s.mu.Lock()
	defer s.mu.Unlock()
	return deeds{slices.Clone(s.journal), s.reads, s.deduped, s.err}
}
