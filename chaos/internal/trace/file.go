package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Names of the files of a run's directory.
const (
	RunFile     = "run.json"
	HistoryDir  = "history"
	WorldFile   = "world.jsonl"
	FaultsFile  = "faults.jsonl"
	StoreFile   = "store.jsonl"
	FinalFile   = "final.jsonl"
	SummaryFile = "summary.json"
	ReportFile  = "report.html"
)

// HistoryFile is the file of a process, within a run's directory.
func HistoryFile(process string) string { return filepath.Join(HistoryDir, process+".jsonl") }

// A Writer appends lines to a file, each with a single write(2), so that what
// was written before a SIGKILL is there after it. It may be used by many goroutines.
type Writer struct {
	mu   sync.Mutex
	f    *os.File
	sync bool
	err  error
}

// Create makes the file for lines, with its directory. It fails if there is one.
// With synced, each line is on the disk before Write returns.
func Create(path string, synced bool) (*Writer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Writer{f: f, sync: synced}, nil
}

// Write appends v as one line. The first error stays, and is returned by all calls after it.
func (w *Writer) Write(v any) error { return w.WriteAll(v) }

// WriteAll appends the values as lines, in their order, with one write(2), and where
// the file is synced with one fsync for all of them. Its errors are those of Write.
func (w *Writer) WriteAll(values ...any) error {
	var lines []byte
	for _, v := range values {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if _, w.err = w.f.Write(lines); w.err == nil && w.sync {
		w.err = w.f.Sync()
	}
	return w.err
}

// Close closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.f.Close())
}

// Read yields the lines of a file. A last line without its end, of a process that
// was killed in its write, is left out. A file that does not exist has no lines.
func Read[T any](path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(none, err)
			return
		}
		defer f.Close()
		in := bufio.NewReaderSize(f, 1<<16)
		for n := 1; ; n++ {
			line, err := in.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return
			}
			var v T
			if err == nil {
				err = json.Unmarshal(line, &v)
			}
			if err != nil {
				yield(none, fmt.Errorf("%s:%d: %w", path, n, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Histories yields the lines of all processes of a run, process by process.
func Histories(dir string) iter.Seq2[string, iter.Seq2[Line, error]] {
	return func(yield func(string, iter.Seq2[Line, error]) bool) {
		files, _ := filepath.Glob(filepath.Join(dir, HistoryDir, "*.jsonl")) // in order of names; the pattern is good
		for _, f := range files {
			name := filepath.Base(f)
			if !yield(name[:len(name)-len(".jsonl")], Read[Line](f)) {
				return
			}
		}
	}
}

// Save writes v as indented JSON, whole or not at all.
func Save(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Load reads run.json of a run's directory.
func Load(dir string) (Run, error) {
	var r Run
	text, err := os.ReadFile(filepath.Join(dir, RunFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%s holds no chaos run: %w", dir, err)
	}
	if r.Schema > Schema {
		return r, fmt.Errorf("%s has schema %d, and this program knows %d: use a newer one", dir, r.Schema, Schema)
	}
	return r, nil
}
