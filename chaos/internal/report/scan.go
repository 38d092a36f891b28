package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// An op is an operation of a process, put together from its two lines.
type op struct {
	From, To int64 // To is math.MaxInt64 where the end is not known
	N, In    uint64
	Kind     trace.Kind
	ID       string
	Outcome  string
	Err      string
	Fence    int64
	Attempt  int
}

func (o op) open() bool { return o.To == math.MaxInt64 }

// mark is what is needed of a trace.Line. A history of hundreds of megabytes
// is read in a fraction of the time if the snapshots in it are not decoded.
type mark struct {
	At      int64      `json:"at"`
	N       uint64     `json:"n"`
	End     bool       `json:"end"`
	Kind    trace.Kind `json:"kind"`
	In      uint64     `json:"in"`
	ID      string     `json:"id"`
	Outcome string     `json:"outcome"`
	Err     string     `json:"err"`
	Fence   int64      `json:"fence"`
	Attempt int        `json:"attempt"`
}

// drawn are the kinds that the swimlanes show. Those of the store are parts of them.
var drawn = map[trace.Kind]bool{
	trace.Do: true, trace.Force: true, trace.Forget: true, trace.Resolve: true, trace.Attempt: true, trace.Query: true,
}

// slack is how far lines of one file may be out of order: writers take the time before they take the turn.
const slack = int64(1e9)

// scan yields the operations of one process that touch from..to, and that keep selects, in the order of their ends.
func scan(file string, from, to int64, keep func(op) bool, yield func(op)) error {
	pending := map[uint64]op{}
	within := 0 // how many of the pending may still end within
	for m, err := range trace.Read[mark](file) {
		if err != nil {
			return err
		}
		if !drawn[m.Kind] {
			continue
		}
		if m.At-slack > to && within == 0 {
			break
		}
		if !m.End {
			o := op{From: m.At, To: math.MaxInt64, N: m.N, In: m.In, Kind: m.Kind, ID: m.ID, Fence: m.Fence, Attempt: m.Attempt}
			if o.From <= to {
				pending[m.N] = o
				within++
			}
			continue
		}
		o, ok := pending[m.N]
		if !ok {
			continue
		}
		delete(pending, m.N)
		within--
		o.To, o.Outcome, o.Err = m.At, m.Outcome, m.Err
		if o.ID == "" {
			o.ID = m.ID
		}
		if m.Fence != 0 {
			o.Fence = m.Fence
		}
		if m.Attempt != 0 {
			o.Attempt = m.Attempt
		}
		if o.To >= from && keep(o) {
			yield(o)
		}
	}
	left := make([]op, 0, len(pending))
	for _, o := range pending {
		left = append(left, o)
	}
	slices.SortFunc(left, func(a, b op) int { return int(a.From - b.From) })
	for _, o := range left {
		if keep(o) {
			yield(o)
		}
	}
	return nil
}

// histories lists the files of the processes of a run by name.
func histories(dir string) (names []string, file func(name string) string) {
	paths, _ := filepath.Glob(filepath.Join(escapeGlob(dir), trace.HistoryDir, "*.jsonl"))
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".jsonl"))
	}
	return names, func(name string) string { return filepath.Join(dir, trace.HistoryFile(name)) }
}

// escapeGlob lets a directory's name stand for itself in a pattern.
func escapeGlob(dir string) string {
	if os.PathSeparator == '\\' {
		return dir // where nothing can be escaped
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// readAll reads a file of lines, at most most of them that keep selects.
func readAll[T any](file string, most int, keep func(T) bool) (all []T, err error) {
	for v, err := range trace.Read[T](file) {
		if err != nil {
			return nil, err
		}
		if !keep(v) {
			continue
		}
		if len(all) == most {
			return nil, fmt.Errorf("%s has more than %d lines of interest", file, most)
		}
		all = append(all, v)
	}
	return all, nil
}

// source is the directory that the swimlanes are drawn from: that of the first violation which has one, else
// the run's, else the first of its parts, a soak before others. ID is the violation's call.
func source(s *trace.Summary, dir string) (from, id string) {
	if dir == "" {
		return "", ""
	}
	has := func(d string) bool {
		_, err := os.Stat(filepath.Join(d, trace.HistoryDir))
		return err == nil
	}
	for _, v := range s.Findings.Violations {
		if v.ID == "" {
			continue
		}
		for _, d := range []string{v.Dir, filepath.Join(dir, v.Dir)} {
			if d != "" && has(d) {
				return d, v.ID
			}
		}
	}
	if has(dir) {
		return dir, ""
	}
	parts, err := os.ReadDir(dir)
	if err != nil {
		return "", ""
	}
	best := ""
	for _, p := range parts[:min(len(parts), 1000)] {
		d := filepath.Join(dir, p.Name())
		if !p.IsDir() || !has(d) {
			continue
		}
		if run, err := trace.Load(d); err == nil && run.Layer == "soak" {
			return d, ""
		}
		if best == "" {
			best = d
		}
	}
	return best, ""
}
