// Webhook: a receiver of events that are delivered at least once, often twice, and sometimes twice at the same time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

// event is the part of a delivery that matters. Its id is the same in each delivery; a timestamp or a count of
// deliveries in the body may differ, so the id is the key, and the body is no part of the fingerprint.
type event struct {
	ID    string `json:"id"`
	Order string `json:"order"`
}

// receiver answers 200 once an event is handled, however often it comes, so that the sender stops; and 409 while it
// is being handled or where nobody knows, so that the sender comes back. Some senders understand 425 (Too Early) better.
func receiver(guard *ledger.Guard, ship func(context.Context, event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		// A real receiver checks the sender's signature first: a key taken from a stranger lets him block your events.
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&e); err != nil || e.ID == "" {
			http.Error(w, "an event with an id is expected", http.StatusBadRequest)
			return
		}
		_, err := ledger.DoErr(r.Context(), guard, ledger.Call{Tool: "ship_order", Key: e.ID, Args: e}, func(ctx context.Context) error {
			// The sender may hang up while this runs; what was begun is better finished.
			return ship(context.WithoutCancel(ctx), e)
		})
		switch {
		case err == nil, errors.Is(err, ledger.ErrDuplicate), errors.Is(err, ledger.ErrUnrecorded):
			w.WriteHeader(http.StatusOK)
		case errors.Is(err, ledger.ErrInProgress), errors.Is(err, ledger.ErrInDoubt):
			w.Header().Set("Retry-After", "5") // seconds
			http.Error(w, "not settled yet", http.StatusConflict)
		case errors.Is(err, ledger.ErrFailed):
			http.Error(w, "refused", http.StatusUnprocessableEntity)
		default: // the tool failed, or the store is unreachable: nothing is lost if it comes again
			w.Header().Set("Retry-After", "30")
			http.Error(w, "try later", http.StatusServiceUnavailable)
		}
	})
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	guard, err := ledger.New(ledger.NewMemory(), nil)
	if err != nil {
		return err
	}
	defer guard.Close(ctx)

	began, goOn := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(receiver(guard, func(_ context.Context, e event) error {
		close(began) // panics if it is ever shipped twice
		<-goOn
		_, err := fmt.Fprintf(w, "  * shipping %s\n", e.Order)
		return err
	}))
	defer server.Close()
	deliver := func(body string) string {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		return res.Status
	}

	first := make(chan string, 1)
	go func() { first <- deliver(`{"id":"evt_1","order":"order-42","delivery":1}`) }()
	<-began
	second := deliver(`{"id":"evt_1","order":"order-42","delivery":2}`) // the sender was impatient
	close(goOn)
	fmt.Fprintf(w, "delivery 1: %s\n", <-first)
	fmt.Fprintf(w, "delivery 2, meanwhile: %s\n", second)
	_, err = fmt.Fprintf(w, "delivery 3: %s\n", deliver(`{"id":"evt_1","order":"order-42","delivery":3}`))
	return err
}
