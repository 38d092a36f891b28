// Dailyreport: a job that several machines start by cron, and that is to run once a day.
//
// There are two ways, and they mean different things. A key names the day: one report per calendar day, whatever
// happens, and a missed day can be made up for. A TTL counts from the last finish: at least so long between two.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/ledger-once/ledger"
)

// report is one report's arguments: which, and of which day.
type report struct {
	Name string    `json:"name"`
	Day  time.Time `json:"day" ledger:"ignore"` // the TTL speaks of time; as an argument it would make each call another one
}

func main() {
	day := time.Date(2026, time.November, 2, 6, 0, 0, 0, time.UTC)
	if err := run(context.Background(), os.Stdout, day, func(time.Duration) {}); err != nil {
		log.Fatal(err)
	}
}

// run starts the job from three machines; sleep lets time pass between two days (nothing passes for go run).
func run(ctx context.Context, w io.Writer, day time.Time, sleep func(time.Duration)) error {
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{ // in production one store for all: an etcd
		Policies: map[string]ledger.Policy{
			// Shorter than a day: cron is not exact, and a report that took until 06:10 must not block that of 06:00.
			"sales_report": {TTL: 20 * time.Hour},
		},
	})
	if err != nil {
		return err
	}
	defer guard.Close(ctx)

	byTTL := ledger.OnceErr(guard, "sales_report", func(_ context.Context, r report) error {
		_, err := fmt.Fprintf(w, "  * %s report\n", r.Name)
		return err
	})
	byKey := ledger.OnceErr(guard, "invoice_run", func(_ context.Context, r report) error {
		_, err := fmt.Fprintf(w, "  * invoices of %s\n", r.Day.Format(time.DateOnly))
		return err
	})
	for range 2 {
		fmt.Fprintln(w, day.Format(time.DateOnly))
		for range 3 { // machines
			r := report{Name: "sales", Day: day}
			if err := byTTL(ctx, r); err != nil && !errors.Is(err, ledger.ErrBlocked) {
				return err
			}
			if err := byKey(ledger.WithKey(ctx, day.Format(time.DateOnly)), r); err != nil && !errors.Is(err, ledger.ErrBlocked) {
				return err
			}
		}
		sleep(24 * time.Hour)
		day = day.AddDate(0, 0, 1)
	}
	return nil
}
