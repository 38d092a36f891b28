package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func testService(t *testing.T, f faults, kill func(string) error) (*service, *bytes.Buffer) {
	t.Helper()
	var file bytes.Buffer
	s, err := startService(f, &file, kill)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return s, &file
}

func post(t *testing.T, s *service, path, n, key, body string) (status int, answer, replayed string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = nil
	req.Header.Set(headerCall, n)
	req.Header.Set(headerWorker, "worker-9")
	req.Header.Set(headerIdempotency, key)
	req.Header.Set(headerReference, key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), res.Header.Get(headerReplayed), err
}

func TestServiceHonoursKeys(t *testing.T) {
	s, file := testService(t, faults{}, nil)
	const body = `{"amount":1}`
	for _, path := range []string{"/charges", "/refunds"} {
		before := len(s.did().effects)
		status, first, replayed, err := post(t, s, path, "1", "k"+path, body)
		if err != nil || status != 200 || replayed != "" {
			t.Fatalf("%s: got %d, %q, %v", path, status, replayed, err)
		}
		status, second, replayed, err := post(t, s, path, "2", "k"+path, body)
		if err != nil || status != 200 || replayed != "true" || second != first {
			t.Errorf("%s again: got %d, %q, %q, %v; want the first answer %q", path, status, replayed, second, err, first)
		}
		if status, _, _, _ := post(t, s, path, "3", "k"+path, `{"amount":2}`); status != http.StatusUnprocessableEntity {
			t.Errorf("%s with another body: got %d, want 422", path, status)
		}
		if status, _, _, _ := post(t, s, path, "4", "", body); status != 200 {
			t.Errorf("%s without a key: got %d", path, status)
		}
		if got := len(s.did().effects) - before; got != 2 {
			t.Errorf("%s: %d effects, want 2", path, got)
		}
	}
	if got := s.did().deduped; got != 2 {
		t.Errorf("deduped %d, want 2", got)
	}
	if got := strings.Count(file.String(), "\n"); got != 4 {
		t.Errorf("the journal has %d lines, want 4", got)
	}
}

func TestServiceHasNoKeysForMailsAndTickets(t *testing.T) {
	s, _ := testService(t, faults{}, nil)
	for _, path := range []string{"/mails", "/mails", "/tickets", "/tickets"} {
		if status, _, replayed, err := post(t, s, path, "1", "ref 1", `{}`); err != nil || status != 200 || replayed != "" {
			t.Errorf("%s: got %d, %q, %v", path, status, replayed, err)
		}
	}
	if got := len(s.did().effects); got != 4 {
		t.Errorf("%d effects, want 4", got)
	}
	for ref, want := range map[string]bool{"ref+1": true, "other": false, "": false} {
		res, err := http.Get(s.url + "/mails?reference=" + ref)
		if err != nil {
			t.Fatal(err)
		}
		var got MailStatus
		err = json.NewDecoder(res.Body).Decode(&got)
		res.Body.Close()
		if err != nil || got.Sent != want {
			t.Errorf("mail %q: got %+v, %v; want sent %v", ref, got, err, want)
		}
	}
}

func TestServiceFaults(t *testing.T) {
	s, _ := testService(t, faults{Refuse: []int{1}, Lose: []int{2}}, nil)
	for _, c := range []struct {
		n       string
		status  int
		effects int
	}{
		{"1", 503, 0}, {"1", 200, 1}, // refused once, before the effect
		{"2", 504, 2}, {"2", 200, 3}, // lost once, after it
	} {
		status, _, _, err := post(t, s, "/mails", c.n, "", `{}`)
		if got := len(s.did().effects); err != nil || status != c.status || got != c.effects {
			t.Errorf("call %s: got %d and %d effects, %v; want %d and %d", c.n, status, got, err, c.status, c.effects)
		}
	}
	if status, _, _, _ := post(t, s, "/mails", "3", "", `{`); status != 400 {
		t.Errorf("not JSON: got %d, want 400", status)
	}
	if status, _, _, _ := post(t, s, "/mails", "3", "", `"`+strings.Repeat("x", maxBody)+`"`); status != 400 {
		t.Errorf("too large: got %d, want 400", status)
	}
	if got := len(s.did().effects); got != 3 {
		t.Errorf("%d effects, want 3", got)
	}
}

// The dangerous window: both effects are written down when the caller dies, and
// neither is answered.
func TestServiceKillsAfterTheEffects(t *testing.T) {
	killed := make(chan string, 2)
	var s *service
	s, _ = testService(t, faults{Kill: []int{1, 2}}, func(worker string) error {
		killed <- fmt.Sprintf("%s with %d effects", worker, len(s.did().effects))
		return nil
	})
	errs := make(chan error, 2)
	go func() {
		_, _, _, err := post(t, s, "/charges", "1", "k", `{}`)
		errs <- err
	}()
	go func() {
		_, _, _, err := post(t, s, "/mails", "2", "k", `{}`)
		errs <- err
	}()
	for range 2 {
		if err := <-errs; err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want a connection that is cut", err)
		}
	}
	if got, want := <-killed, "worker-9 with 2 effects"; got != want || len(killed) > 0 {
		t.Errorf("killed %s and %d more, want %s only", got, len(killed), want)
	}
	// The recovering worker is answered from memory where there is a key.
	if status, _, replayed, err := post(t, s, "/charges", "1", "k", `{}`); err != nil || status != 200 || replayed != "true" {
		t.Errorf("charge again: got %d, %q, %v", status, replayed, err)
	}
	if status, _, replayed, err := post(t, s, "/mails", "2", "k", `{}`); err != nil || status != 200 || replayed != "" {
		t.Errorf("mail again: got %d, %q, %v", status, replayed, err)
	}
	if got := len(s.did().effects); got != 3 {
		t.Errorf("%d effects, want 3: one charge, two mails", got)
	}
}

type brokenFile struct{}

func (brokenFile) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestServiceReportsItsJournal(t *testing.T) {
	s, err := startService(faults{}, brokenFile{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	defer http.DefaultClient.CloseIdleConnections()
	_, _, _, _ = post(t, s, "/mails", "1", "", `{}`)
	if err := s.did().err; err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got error %v, want disk full", err)
	}
}
