package main

import (
	"strings"
	"testing"
)

func TestRefundsOnce(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := `  * refunding order-42
refunded order-42
This was done already. Do not repeat it.
  * refunding order-43
refunded order-43
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
