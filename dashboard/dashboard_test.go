package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// A site is a dashboard that is served, over a store in memory.
type site struct {
	*testing.T
	d     *Dashboard
	store *ledger.Memory
	guard *ledger.Guard
	log   *bytes.Buffer
	url   string
	*http.Client
}

func serve(t *testing.T, o *Options) *site {
	t.Helper()
	s := &site{T: t, store: ledger.NewMemory(), log: &bytes.Buffer{}}
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	if s.d, err = New(s.store, &opts); err != nil {
		t.Fatal(err)
	}
	s.guard, err = ledger.New(s.store, &ledger.Options{
		Caller: "agent", Logger: slog.New(slog.DiscardHandler), Default: ledger.Policy{Replay: true},
		Policies: map[string]ledger.Policy{"pay": {InDoubt: ledger.DoubtBlock, Replay: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.d)
	s.url, s.Client = server.URL, server.Client()
	s.Client.Timeout = time.Minute
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := s.guard.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// made makes a call that ends with err, and returns its ID.
func (s *site) made(tool, workflow string, args any, err error) ledger.ID {
	s.Helper()
	call := ledger.Call{Tool: tool, Workflow: workflow, Args: args}
	_, got := ledger.Do(s.Context(), s.guard, call, func(context.Context) (string, error) { return "done", err })
	if !errors.Is(got, err) {
		s.Fatal(got)
	}
	id, ierr := s.guard.ID(s.Context(), call)
	if ierr != nil {
		s.Fatal(ierr)
	}
	return id
}

// get asks for path, and returns the code and the answer decoded.
func (s *site) get(path string) (int, map[string]any) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	return s.answer(req)
}

func (s *site) post(path string, body any) (int, map[string]any) {
	s.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return s.answer(req)
}

func (s *site) answer(req *http.Request) (int, map[string]any) {
	s.Helper()
	resp, err := s.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	var out map[string]any
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &out); err != nil {
			s.Fatalf("%s: %v", text, err)
		}
	}
	return resp.StatusCode, out
}

func ids(t *testing.T, list map[string]any) (all []string) {
	t.Helper()
	calls, ok := list["calls"].([]any)
	if !ok {
		t.Fatalf("no calls in %v", list)
	}
	for _, c := range calls {
		all = append(all, c.(map[string]any)["id"].(string))
	}
	return all
}

func TestCalls(t *testing.T) {
	s := serve(t, nil)
	var made []string
	for i := range 5 {
		made = append(made, s.made("charge", fmt.Sprintf("order-%d", i), i, nil).String())
	}
	failed := s.made("mail", "order-1", "x", ledger.NotDone(errors.New("no route")))
	doubt := s.made("pay", "order-2", "y", errors.New("timed out"))

	for query, want := range map[string]int{
		"": 7, "?wf=order-1": 2, "?tool=charge": 5, "?caller=agent": 7, "?caller=other": 0, "?status=failed": 1, "?status=in_doubt,failed": 2,
		"?since=1h": 7, "?until=1h": 0, "?q=order-2": 2, "?q=charge": 5, "?q=nothing": 0, "?limit=3": 3,
		"?id=" + url.QueryEscape(failed.String()): 1, "?q=" + doubt.Fingerprint[:10]: 1, "?key=none": 0,
	} {
		code, list := s.get("/api/calls" + query)
		if code != 200 || len(ids(t, list)) != want {
			t.Errorf("%s: %d, %d calls, want %d", query, code, len(ids(t, list)), want)
		}
	}
	// Page by page, each once.
	seen, after := map[string]bool{}, ""
	for range 10 {
		_, list := s.get("/api/calls?limit=2&after=" + url.QueryEscape(after))
		for _, id := range ids(t, list) {
			if seen[id] {
				t.Errorf("%s is on two pages", id)
			}
			seen[id] = true
		}
		if after = list["next"].(string); after == "" {
			break
		}
	}
	if len(seen) != 7 || !seen[made[0]] {
		t.Errorf("%d calls on all pages, want 7", len(seen))
	}
	for _, bad := range []string{"?limit=0", "?limit=1000", "?limit=x", "?status=odd", "?since=odd", "?after=odd", "?id=odd%20id"} {
		if code, out := s.get("/api/calls" + bad); code != 400 || out["error"] == "" {
			t.Errorf("%s: %d %v, want 400", bad, code, out)
		}
	}
}

func TestCall(t *testing.T) {
	s := serve(t, nil)
	id := s.made("pay", "order-2", map[string]int{"amount": 7}, errors.New("timed out"))
	code, out := s.get("/api/call?id=" + url.QueryEscape(id.String()))
	if code != 200 {
		t.Fatal(code, out)
	}
	text, _ := json.Marshal(out)
	for _, want := range []string{`"status":"in_doubt"`, `"amount":7`, `ended in doubt`, `timed out`, `nobody holds a claim`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if code, _ := s.get("/api/call?id=a/b/00000000000000000000000000000000"); code != 404 {
		t.Errorf("unknown: %d, want 404", code)
	}
	if code, _ := s.get("/api/call?id=odd"); code != 400 {
		t.Errorf("no ID: %d, want 400", code)
	}
}

func TestResolve(t *testing.T) {
	s := serve(t, &Options{By: "ops"})
	id := s.made("pay", "order-1", 1, errors.New("timed out"))
	for _, tt := range []struct {
		body map[string]any
		code int
	}{
		{map[string]any{"id": id.String(), "as": "happened"}, 400}, // no reason
		{map[string]any{"id": id.String(), "as": "odd", "reason": "x"}, 400},
		{map[string]any{"id": "odd", "as": "happened", "reason": "x"}, 400},
		{map[string]any{"id": id.String(), "as": "happened", "reason": "x", "more": 1}, 400},
		{map[string]any{"id": id.String(), "as": "happened", "reason": strings.Repeat("x", 2000)}, 400},
		{map[string]any{"id": id.String(), "as": "happened", "reason": "on the statement", "result": "ch_1"}, 200},
		{map[string]any{"id": id.String(), "as": "happened", "reason": "again"}, 409},
	} {
		if code, out := s.post("/api/resolve", tt.body); code != tt.code {
			t.Errorf("%v: %d %v, want %d", tt.body, code, out, tt.code)
		}
	}
	r, err := s.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != ledger.StateSucceeded || string(r.Result) != `"ch_1"` || r.Settled == nil || r.Settled.By != "ops" || r.Settled.Reason != "on the statement" {
		t.Errorf("recorded %+v", r)
	}
	if !strings.Contains(s.log.String(), "on the statement") || strings.Contains(s.log.String(), "ch_1") {
		t.Errorf("logged %q; want who and why, and no result", s.log)
	}
}

func TestRetryAndClear(t *testing.T) {
	s := serve(t, nil)
	id := s.made("charge", "order-1", 1, nil)
	s.made("charge", "order-1", 2, nil)
	s.made("charge", "order-2", 2, nil)
	started, end := make(chan struct{}), make(chan struct{})
	ran := make(chan error, 1)
	go func() {
		_, err := ledger.Do(context.Background(), s.guard, ledger.Call{Tool: "charge", Workflow: "order-1", Args: 3}, func(context.Context) (int, error) {
			close(started)
			<-end
			return 0, nil
		})
		ran <- err
	}()
	<-started
	running, err := s.guard.ID(t.Context(), ledger.Call{Tool: "charge", Workflow: "order-1", Args: 3})
	if err != nil {
		t.Fatal(err)
	}
	if code, out := s.post("/api/retry", map[string]any{"id": running.String(), "reason": "x"}); code != 409 {
		t.Errorf("retry of a running call: %d %v, want 409", code, out)
	}
	if code, out := s.post("/api/resolve", map[string]any{"id": running.String(), "as": "happened", "reason": "x"}); code != 409 {
		t.Errorf("resolve of a running call: %d %v, want 409", code, out)
	}
	if code, out := s.post("/api/retry", map[string]any{"id": id.String(), "reason": "refunded"}); code != 200 {
		t.Errorf("retry: %d %v", code, out)
	}
	if code, _ := s.post("/api/retry", map[string]any{"id": id.String(), "reason": "refunded"}); code != 404 {
		t.Errorf("retry of what is gone: %d, want 404", code)
	}
	_, n := s.get("/api/clear?workflow=order-1")
	if n["count"] != 1.0 || n["running"] != 1.0 {
		t.Errorf("counted %v, want 1 and 1 running", n)
	}
	if code, _ := s.post("/api/clear", map[string]any{"workflow": "order-1", "confirm": "order", "count": 1, "reason": "x"}); code != 400 {
		t.Errorf("clear without the name: %d, want 400", code)
	}
	if code, _ := s.post("/api/clear", map[string]any{"workflow": "order-1", "confirm": "order-1", "count": 2, "reason": "x"}); code != 409 {
		t.Errorf("clear with another count: %d, want 409", code)
	}
	code, out := s.post("/api/clear", map[string]any{"workflow": "order-1", "confirm": "order-1", "count": 1, "reason": "a test"})
	if code != 200 || out["deleted"] != 1.0 || out["running_left"] != 1.0 {
		t.Errorf("clear: %d %v, want 1 deleted and 1 left", code, out)
	}
	close(end)
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, list := s.get("/api/calls"); len(ids(t, list)) != 2 {
		t.Errorf("left: %v", ids(t, list))
	}
}

// A stream is what a page gets.
type stream struct {
	*testing.T
	lines *bufio.Scanner
	body  io.Closer
}

func (s *site) follow() *stream {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url+"/api/events", nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := s.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	if resp.StatusCode != 200 {
		s.Fatal(resp.Status)
	}
	st := &stream{s.T, bufio.NewScanner(resp.Body), resp.Body}
	st.lines.Buffer(nil, 4<<20)
	return st
}

// next returns the next event.
func (s *stream) next() (name string, data map[string]any) {
	s.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(v), &data); err != nil {
				s.Fatal(err)
			}
			return name, data
		}
	}
	s.Fatalf("the stream ended: %v", s.lines.Err())
	return "", nil
}

// awaitSeen waits until the feed knows that the call is done.
func (s *site) awaitSeen(id ledger.ID) {
	s.Helper()
	seen := func() bool {
		s.d.feed.changed.Lock()
		defer s.d.feed.changed.Unlock()
		return s.d.feed.known[id] == ledger.StateSucceeded
	}
	for until := time.Now().Add(time.Minute); !seen(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			s.Fatalf("the feed does not hear of %s", id)
		}
	}
}

// A burst is coalesced: few messages of bounded size come of it, and what came last is shown.
func TestBurst(t *testing.T) {
	s := serve(t, nil)
	st := s.follow()
	defer st.body.Close()
	if name, _ := st.next(); name != "overview" {
		t.Fatalf("first came %s", name)
	}
	await := func(tool string) (messages, shown, skipped int) {
		for n := 0; ; n++ {
			// Until one of them comes: the watch may begin, or begin anew, after the first.
			s.made(tool, "w", n, nil)
			name, data := st.next()
			if name != "changes" {
				continue
			}
			changes := data["changes"].([]any)
			messages, shown, skipped = messages+1, shown+len(changes), skipped+int(data["skipped"].(float64))
			for _, c := range changes {
				if call, _ := c.(map[string]any)["call"].(map[string]any); call["tool"] == tool {
					return messages, shown, skipped
				}
			}
		}
	}
	await("warm")
	const calls, atOnce = 5000, 200
	for i := range calls {
		id := s.made("burst", "w", i, nil)
		if i%atOnce == atOnce-1 { // a watcher that lags by more than 1024 writes is not told of them
			s.awaitSeen(id)
		}
	}
	messages, shown, skipped := await("last")
	if shown > messages*maxChanges || messages > 100 {
		t.Errorf("%d changes shown and %d skipped in %d messages", shown, skipped, messages)
	}
	if shown+skipped < calls {
		t.Errorf("%d changes shown and %d skipped, of %d calls", shown, skipped, calls)
	}
	t.Logf("%d changes shown and %d skipped in %d messages", shown, skipped, messages)
}

func TestOverviewAndRate(t *testing.T) {
	s := serve(t, &Options{Name: "prod"})
	s.made("charge", "w", 1, nil)
	s.made("charge", "w", 1, nil)
	s.made("pay", "w", 1, errors.New("timed out"))
	if _, err := s.guard.Stats(t.Context(), ledger.Filter{}); err != nil { // the counts are written
		t.Fatal(err)
	}
	_, o := s.get("/api/overview")
	sum := o["summary"].(map[string]any)
	if o["name"] != "prod" || sum["calls"] != 2.0 || sum["in_doubt"] != 1.0 || sum["needs_decision"] != 1.0 || sum["blocked"] != 1.0 || sum["executed"] != 1.0 {
		t.Errorf("overview %v", o)
	}
	if code, out := s.get("/api/rate?minutes=5"); code != 200 || out["points"] == nil {
		t.Errorf("rate: %d %v", code, out)
	}
	if code, _ := s.get("/api/rate?minutes=0"); code != 400 {
		t.Errorf("rate of no minutes: %d, want 400", code)
	}
}
