package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

// airline is a fake that counts, and fails as it is told.
type airline struct {
	booked int
	err    error
}

func (a *airline) Book(context.Context, string) (string, error) {
	a.booked++
	return "T-7", a.err
}

func newAgent(t *testing.T, store ledger.Store, a Airline) *agent {
	t.Helper()
	guard, err := ledger.New(store, &ledger.Options{
		Policies: policies, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A worker whose store was closed under it could not record its outcome, and Close says so.
		if err := guard.Close(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, ledger.ErrUnrecorded) {
			t.Error(err)
		}
	})
	return &agent{guard, a}
}

// The same agent asks again.
func TestBooksOnce(t *testing.T) {
	fake := &airline{}
	a := newAgent(t, ledger.NewMemory(), fake)
	for range 3 {
		if ticket, err := a.book(t.Context(), "trip-1", "LH454"); ticket != "T-7" || err != nil {
			t.Fatalf("got %q, %v", ticket, err)
		}
	}
	if fake.booked != 1 {
		t.Errorf("booked %d times, want 1", fake.booked)
	}
}

// Another process of the fleet asks: another session of the same store.
func TestBooksOnceInTheFleet(t *testing.T) {
	fake, store := &airline{}, ledger.NewMemory()
	for _, s := range []ledger.Store{store, store.Session()} {
		if ticket, err := newAgent(t, s, fake).book(t.Context(), "trip-1", "LH454"); ticket != "T-7" || err != nil {
			t.Fatalf("got %q, %v", ticket, err)
		}
	}
	if fake.booked != 1 {
		t.Errorf("booked %d times, want 1", fake.booked)
	}
}

// The worker dies in the middle: its session is closed while its tool runs, so that no outcome can be recorded.
func TestAsksForAPersonAfterACrash(t *testing.T) {
	store := ledger.NewMemory()
	dying := airlineFunc(func() { _ = store.Close() })
	_, _ = newAgent(t, store, dying).book(t.Context(), "trip-1", "LH454")
	next := &airline{}
	if ticket, err := newAgent(t, store.Session(), next).book(t.Context(), "trip-1", "LH454"); !errors.Is(err, errStuck) || ticket != "" {
		t.Errorf("got %q, %v, want a call for a person", ticket, err)
	}
	if next.booked != 0 {
		t.Errorf("booked %d times by itself, want 0", next.booked)
	}
}

// An error that says nothing about the effect.
func TestAsksForAPersonAfterATimeout(t *testing.T) {
	fake := &airline{err: errors.New("timeout")}
	a := newAgent(t, ledger.NewMemory(), fake)
	if _, err := a.book(t.Context(), "trip-1", "LH454"); err == nil {
		t.Fatal("the time-out went unseen")
	}
	if _, err := a.book(t.Context(), "trip-1", "LH454"); !errors.Is(err, errStuck) {
		t.Errorf("got %v, want %v", err, errStuck)
	}
	if fake.booked != 1 {
		t.Errorf("booked %d times, want 1", fake.booked)
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "  * booking LH454\nticket T-1\nticket T-1\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

type airlineFunc func()

func (f airlineFunc) Book(context.Context, string) (string, error) { f(); return "T-8", nil }
