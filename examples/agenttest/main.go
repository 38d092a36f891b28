// Agenttest: how to test that your own agent does not act twice. The agent takes its guard as a parameter, so that
// its tests (main_test.go, which is what to read here) give it the memory store: no files, no servers, no waiting.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/ledger-once/ledger"
)

// policies are of the program and not of its tests: what is tested is what runs.
var policies = map[string]ledger.Policy{
	"book_flight": {Replay: true, InDoubt: ledger.DoubtBlock},
}

// Airline is the agent's side effect.
type Airline interface {
	Book(ctx context.Context, flight string) (ticket string, err error)
}

// agent books a flight and retries as its model pleases.
type agent struct {
	guard   *ledger.Guard
	airline Airline
}

// errStuck asks for a person: nobody knows whether the flight is booked.
var errStuck = errors.New("please look whether it is booked")

func (a *agent) book(ctx context.Context, trip, flight string) (string, error) {
	res, err := ledger.Do(ctx, a.guard, ledger.Call{Tool: "book_flight", Workflow: trip, Args: flight},
		func(ctx context.Context) (string, error) { return a.airline.Book(ctx, flight) })
	if errors.Is(err, ledger.ErrInDoubt) {
		return "", fmt.Errorf("%s: %w: %w", flight, errStuck, err)
	}
	return res.Value, err
}

type printer struct{ w io.Writer }

func (p printer) Book(_ context.Context, flight string) (string, error) {
	_, err := fmt.Fprintf(p.w, "  * booking %s\n", flight)
	return "T-1", err
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{Policies: policies})
	if err != nil {
		return err
	}
	defer guard.Close(ctx)
	a := &agent{guard, printer{w}}
	for range 2 {
		ticket, err := a.book(ctx, "trip-1", "LH454")
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "ticket", ticket)
	}
	return nil
}
