//go:build unix

package child

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// A program has ended, and what it wrote was not read in time.
func TestLateReaderLosesNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()                                          // something in the background holds it
	wrote := bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // what a pipe holds
	if err := w.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(wrote); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var st streams
	var kept keeper
	var passed bytes.Buffer
	st.exited.Store(true)
	st.copy(r, &passed, 1, &kept)
	var replayed bytes.Buffer
	out := kept.output(0)
	if err := out.Replay(&replayed, &replayed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(passed.Bytes(), wrote) || !bytes.Equal(replayed.Bytes(), wrote) {
		t.Errorf("%d bytes were passed on and %d kept, want %d", passed.Len(), replayed.Len(), len(wrote))
	}
}
