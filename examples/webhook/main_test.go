package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

func TestShipsOnce(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := `  * shipping order-42
delivery 1: 200 OK
delivery 2, meanwhile: 409 Conflict
delivery 3: 200 OK
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStatusOfFailures(t *testing.T) {
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{
		Default: ledger.Policy{InDoubt: ledger.DoubtBlock}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(t.Context())
	answers := map[string]error{
		"refused": ledger.Permanent(errors.New("no such order")),
		"doubt":   errors.New("connection reset"),
		"later":   ledger.NotDone(errors.New("connection refused")),
	}
	h := receiver(guard, func(_ context.Context, e event) error { return answers[e.Order] })
	for _, c := range []struct {
		body          string
		first, second int
	}{
		{`{"id":"1","order":"refused"}`, http.StatusServiceUnavailable, http.StatusUnprocessableEntity},
		{`{"id":"2","order":"doubt"}`, http.StatusServiceUnavailable, http.StatusConflict},
		{`{"id":"3","order":"later"}`, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		{`{"order":"no id"}`, http.StatusBadRequest, http.StatusBadRequest},
	} {
		for i, want := range []int{c.first, c.second} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(c.body)))
			if w.Code != want {
				t.Errorf("%s, delivery %d: got %d, want %d", c.body, i+1, w.Code, want)
			}
		}
	}
}
