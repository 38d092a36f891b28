package main

import (
	"strings"
	"testing"
)

func TestEachMailIsSentOnce(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "3 workers were asked for 5 mails each; 5 were sent\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
