package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a day passes at once
		var out strings.Builder
		if err := run(t.Context(), &out, time.Now(), time.Sleep); err != nil {
			t.Fatal(err)
		}
		want := `2000-01-01
  * sales report
  * invoices of 2000-01-01
2000-01-02
  * sales report
  * invoices of 2000-01-02
`
		if got := out.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestWithoutTimePassingTheTTLHolds(t *testing.T) {
	var out strings.Builder
	day := time.Date(2026, time.November, 2, 6, 0, 0, 0, time.UTC)
	if err := run(t.Context(), &out, day, func(time.Duration) {}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "sales report"); got != 1 {
		t.Errorf("got %d sales reports, want 1:\n%s", got, out.String())
	}
	if got := strings.Count(out.String(), "invoices of"); got != 2 {
		t.Errorf("got %d invoice runs, want 2, a day each:\n%s", got, out.String())
	}
}
