package trace

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Lines that many goroutines write are whole, and a last one that a SIGKILL cut short is left out.
func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), HistoryFile(Process(3, 12)))
	w, err := Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range uint64(100) {
		group.Go(func() {
			if err := w.Write(Line{At: Now(), N: n, Kind: Claim, ID: "a/b/c", Seen: int64(n)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"at":1,"n":10`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for line, err := range Read[Line](path) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Seen != int64(line.N) || line.Kind != Claim || line.At == 0 {
			t.Errorf("got %+v", line)
		}
		seen[line.N] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d lines, want 100", len(seen))
	}
	for name := range Histories(filepath.Dir(filepath.Dir(path))) {
		if name != "w03.12" {
			t.Errorf("process %q, want w03.12", name)
		}
	}
	if _, err := Create(path, false); err == nil {
		t.Error("an existing history was opened for writing")
	}
}
