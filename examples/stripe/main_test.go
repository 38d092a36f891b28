package main

import (
	"strings"
	"testing"
)

func TestChargedOnceThoughTheWorkerDied(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := `  API: charged cus_42 9900 cents
worker 1 died before it could record the charge
  API: asked, and found "ch_1"
worker 2 has receipt ch_1
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
