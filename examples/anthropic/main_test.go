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
	want := `first start of the program
  (the service is overloaded)
  * refunding order-42 9900 cents
toolu_1 -> refunded
toolu_2 -> refunded
toolu_3 -> refunded
model: Your order is refunded.
second start of the program
  (the service is overloaded)
toolu_4 -> refunded
model: Your order is refunded.
asked for 4 times, executed 1 time
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
