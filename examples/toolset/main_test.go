package main

import (
	"strings"
	"testing"
)

func TestSecondRoundDoesNothing(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := `  * search for refunds
search -> "3 hits"
  * mail to ann@example.com: Refund
send_mail -> "sent"
  * ticket {"about":"refund"}
open_ticket -> {"ticket":7}
  * search for refunds
search -> "3 hits"
send_mail -> "already done, do not repeat it"
open_ticket -> {"ticket":7}
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
