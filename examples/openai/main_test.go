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
	want := `  (the service fails with 500)
  * refunding order-42 9900 cents
call_1 -> "refunded"
  (the service fails with 500)
call_1 -> "refunded"
call_2 -> "refunded"
model: Your order is refunded.
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
