package dashboard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// allRoutes are all that there are, by method.
var allRoutes = []string{
	"GET /", "GET /assets/app.js", "GET /api/overview", "GET /api/calls", "GET /api/call?id=a/b/00000000000000000000000000000000",
	"GET /api/rate", "GET /api/events", "GET /api/clear?workflow=w", "POST /api/resolve", "POST /api/retry", "POST /api/clear", "POST /api/login", "GET /nothing",
}

func (s *site) request(route string, body io.Reader, header ...string) *http.Response {
	s.Helper()
	method, path, _ := strings.Cut(route, " ")
	req, err := http.NewRequestWithContext(s.Context(), method, s.url+path, body)
	if err != nil {
		s.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestForeign(t *testing.T) {
	s := serve(t, &Options{Hosts: []string{"ops.example.com"}})
	id := s.made("pay", "w", 1, errors.New("timed out"))
	body := func() io.Reader {
		return strings.NewReader(fmt.Sprintf(`{"id":%q,"as":"forget","reason":"x"}`, id))
	}
	for _, route := range allRoutes {
		for _, host := range []string{"evil.example.com", "127.0.0.1.evil.example.com", "localhost.evil.example.com", "10.0.0.1", "ops.example.com.evil"} {
			if got := s.request(route, body(), "Host", host).StatusCode; got != http.StatusMisdirectedRequest {
				t.Errorf("%s for host %s: %d", route, host, got)
			}
		}
		if got := s.request(route, body(), "Origin", "http://evil.example.com").StatusCode; got != http.StatusForbidden {
			t.Errorf("%s of a foreign origin: %d", route, got)
		}
		if got := s.request(route, body(), "Origin", "null").StatusCode; got != http.StatusForbidden {
			t.Errorf("%s of the origin null: %d", route, got)
		}
		if got := s.request(route, body(), "Sec-Fetch-Site", "cross-site").StatusCode; got != http.StatusForbidden {
			t.Errorf("%s across sites: %d", route, got)
		}
		if strings.HasPrefix(route, "POST") {
			if got := s.request(route, body(), "Sec-Fetch-Site", "same-site").StatusCode; got != http.StatusForbidden {
				t.Errorf("%s of the same site: %d", route, got)
			}
			for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"} {
				if got := s.request(route, body(), "Content-Type", kind).StatusCode; got != http.StatusUnsupportedMediaType {
					t.Errorf("%s with content type %q: %d", route, kind, got)
				}
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		if got := s.request(method+" /api/retry", body()).StatusCode; got != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, got)
		}
	}
	for _, host := range []string{"localhost:4242", "LOCALHOST", "127.0.0.1:1", "[::1]:4242", "ops.example.com", "ops.example.com:4242"} {
		if got := s.request("GET /api/overview", nil, "Host", host).StatusCode; got != http.StatusOK {
			t.Errorf("host %s: %d, want 200", host, got)
		}
	}
	if r, err := s.store.Get(t.Context(), id); err != nil || r.Status() != ledger.StateInDoubt {
		t.Errorf("it is %s, %v; none of these may have changed it", r.Status(), err)
	}
}

func TestHeaders(t *testing.T) {
	s := serve(t, nil)
	for _, route := range allRoutes {
		h := s.request(route, strings.NewReader(`{}`)).Header
		if csp := h.Get("Content-Security-Policy"); csp != policy || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", route, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", route, name, h.Get(name))
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s lets others read it", route)
		}
	}
}

func TestReadOnly(t *testing.T) {
	s := serve(t, &Options{ReadOnly: true})
	id := s.made("pay", "w", 1, errors.New("timed out"))
	for _, path := range []string{"/api/resolve", "/api/retry", "/api/clear"} {
		if code, _ := s.post(path, map[string]any{"id": id.String(), "as": "forget", "reason": "x", "workflow": "w", "confirm": "w", "count": 1}); code != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", path, code)
		}
		for _, way := range []string{"//api" + path[4:], "/assets/.." + path, path + "/"} {
			if got := s.request("POST "+way, strings.NewReader(`{}`)).StatusCode; got == http.StatusOK {
				t.Errorf("%s gets through", way)
			}
		}
		if got := s.request("GET "+path, nil, "X-HTTP-Method-Override", "POST").StatusCode; got == http.StatusOK && path != "/api/clear" {
			t.Errorf("GET %s gets through", path)
		}
	}
	if r, err := s.store.Get(t.Context(), id); err != nil || r.Status() != ledger.StateInDoubt {
		t.Errorf("it is %s, %v", r.Status(), err)
	}
}

// What a record says is never HTML: neither on the page nor in an answer.
func TestScriptInEveryField(t *testing.T) {
	const evil = `<script>alert(1)</script>`
	s := serve(t, &Options{Name: evil, Version: evil, By: `"><img src=x onerror=alert(1)>`})
	id := s.made(evil, evil, map[string]string{evil: evil}, errors.New(evil))
	for _, route := range []string{"GET /", "GET /api/overview", "GET /api/calls", "GET /api/call?id=" + url.QueryEscape(id.String()), "GET /api/calls?status=" + url.QueryEscape(evil), "GET /" + url.PathEscape(evil)} {
		resp := s.request(route, nil)
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("<script>alert")) || bytes.Contains(text, []byte("<img src=x")) {
			t.Errorf("%s answers with it as it is: %s", route, text)
		}
		if kind := resp.Header.Get("Content-Type"); route != "GET /" && !strings.HasPrefix(kind, "application/json") {
			t.Errorf("%s answers with %s", route, kind)
		}
	}
}

func TestOversizedAndSlowBodies(t *testing.T) {
	s := serve(t, nil)
	big := strings.NewReader(`{"reason":"` + strings.Repeat("x", maxBody+10) + `"}`)
	if got := s.request("POST /api/retry", big).StatusCode; got != http.StatusRequestEntityTooLarge {
		t.Errorf("an oversized body: %d, want 413", got)
	}
	s.d.slow = 50 * time.Millisecond
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /api/retry HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"re")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer, err := io.ReadAll(conn) // the server ends it
	if err != nil || !bytes.Contains(answer, []byte("400")) {
		t.Errorf("a slow body: %q, %v; want 400 and the end", answer, err)
	}
}

func TestManyStreams(t *testing.T) {
	s := serve(t, nil)
	ok, refused := 0, 0
	for range 1000 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		switch resp.StatusCode {
		case http.StatusOK:
			ok++
			t.Cleanup(func() { _ = resp.Body.Close() })
		case http.StatusServiceUnavailable:
			refused++
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		default:
			t.Fatal(resp.Status)
		}
	}
	if ok != maxStreams || refused != 1000-maxStreams {
		t.Errorf("%d streams and %d refused, want %d and %d", ok, refused, maxStreams, 1000-maxStreams)
	}
	if code, _ := s.get("/api/overview"); code != 200 {
		t.Errorf("the rest is not served any more: %d", code)
	}
}

func TestToken(t *testing.T) {
	const token = "a token of 24 characters"
	s := serve(t, &Options{Token: token})
	for _, route := range allRoutes {
		resp := s.request(route, strings.NewReader(`{"token":"wrong"}`))
		switch {
		case route == "GET /": // the page that asks for it
			if text, _ := io.ReadAll(resp.Body); !bytes.Contains(text, []byte("login.js")) {
				t.Errorf("%s shows %s", route, text)
			}
		case resp.StatusCode != http.StatusUnauthorized:
			t.Errorf("%s without the token: %d, want 401", route, resp.StatusCode)
		}
	}
	if got := s.request("GET /api/overview", nil, "Authorization", "Bearer "+token).StatusCode; got != 200 {
		t.Errorf("with the token: %d", got)
	}
	if got := s.request("GET /api/overview", nil, "Authorization", "Bearer "+token+"x").StatusCode; got != 401 {
		t.Errorf("with another: %d", got)
	}
	resp := s.request("POST /api/login", strings.NewReader(fmt.Sprintf(`{"token":%q}`, token)))
	cookies := resp.Cookies()
	if resp.StatusCode != 200 || len(cookies) != 1 {
		t.Fatal(resp.Status, cookies)
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, token) {
		t.Errorf("cookie %v", c)
	}
	if got := s.request("GET /api/overview", nil, "Cookie", cookieName+"="+cookies[0].Value).StatusCode; got != 200 {
		t.Errorf("with the cookie: %d", got)
	}
	if strings.Contains(s.log.String(), token) || !strings.Contains(s.log.String(), "a wrong token was given") {
		t.Errorf("logged %q", s.log)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]*Options{
		"short token": {Token: "short"},
		"odd host":    {Hosts: []string{"http://x"}},
	} {
		if _, err := New(ledger.NewMemory(), o); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, nil); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("no store: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Handler does not panic")
		}
	}()
	Handler(nil, nil)
}

// Mounted below a prefix it works as well: the page's links are relative.
func TestMounted(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/ledger/", http.StripPrefix("/ledger", Handler(ledger.NewMemory(), nil)))
	for _, path := range []string{"/ledger/", "/ledger/assets/app.js", "/ledger/api/overview"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
		mux.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
		if path == "/ledger/" && (strings.Contains(w.Body.String(), `src="/`) || strings.Contains(w.Body.String(), `href="/`)) {
			t.Errorf("the page has absolute links: %s", w.Body)
		}
	}
}
