package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// sampleRun describes a run that never was, with the shape of a real one.
type sampleRun struct {
	workers  int
	duration time.Duration
	gap      time.Duration // between calls of one of a worker's two hands
	twice    bool          // one call of block/plain has two effects
}

var sampleTools = []trace.Tool{
	{Name: "charge_card", InDoubt: "block", World: trace.WorldPlain, Replay: true, Wait: 2 * time.Second},
	{Name: "send_sms", InDoubt: "retry", World: trace.WorldPlain, Max: 2},
	{Name: "open_ticket", InDoubt: "retry", World: trace.WorldToken, Replay: true},
	{Name: "book_seat", InDoubt: "reconcile", World: trace.WorldFence, Timeout: 500 * time.Millisecond},
	{Name: "post_invoice", InDoubt: "reconcile", World: trace.WorldHold},
}

// sampler writes a run's directory.
type sampler struct {
	t       *testing.T
	dir     string
	r       *rand.Rand
	run     trace.Run
	lines   map[string][]trace.Line
	n       map[string]uint64
	faults  []trace.Fault
	effects []trace.Effect
	orphans []string // calls whose worker was killed in them
	version int64
	ops     int
	killID  string // the call that was violated
}

// writeSample makes the files of a run below dir, and says how many guarded calls they hold.
func writeSample(t *testing.T, dir string, o sampleRun) *sampler {
	t.Helper()
	from := int64(5_000_000_000_000)
	s := &sampler{t: t, dir: dir, r: rand.New(rand.NewPCG(1, 2)), lines: map[string][]trace.Line{}, n: map[string]uint64{}}
	s.run = trace.Run{
		Schema: trace.Schema, Layer: "soak", Seed: 1, Store: "etcd", Members: 3, Workers: o.workers, Duration: o.duration, TTL: time.Second, Tools: slices.Clone(sampleTools),
		Started: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC), From: from, To: from + int64(o.duration),
		Versions: trace.Versions{Go: "go1.26.0", Ledger: "v0.5.0-dev", Etcd: "3.7.3", SQLite: "3.53.0", OS: "linux/amd64"},
	}
	for w := range o.workers {
		s.worker(w, o)
	}
	for at := from + int64(7*time.Second); at < s.run.To; at += int64(45 * time.Second) {
		s.faults = append(s.faults, trace.Fault{At: at, Until: at + int64(1400*time.Millisecond), Kind: trace.FaultMember, Target: "member-1"})
		s.faults = append(s.faults, trace.Fault{At: at + int64(900*time.Millisecond), Kind: trace.FaultCompact, Target: "member-0"})
	}
	if o.twice {
		s.twoEffects(from + int64(o.duration)/2)
	}
	slices.SortStableFunc(s.faults, func(a, b trace.Fault) int { return int(a.At - b.At) })
	slices.SortStableFunc(s.effects, func(a, b trace.Effect) int { return int(a.At - b.At) })
	for i := range s.effects {
		s.effects[i].Seq = uint64(i + 1)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := trace.Save(filepath.Join(dir, trace.RunFile), s.run); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.lines)) {
		slices.SortStableFunc(s.lines[name], func(a, b trace.Line) int { return int(a.At - b.At) })
		writeLines(t, filepath.Join(dir, trace.HistoryFile(name)), s.lines[name])
	}
	writeLines(t, filepath.Join(dir, trace.FaultsFile), s.faults)
	writeLines(t, filepath.Join(dir, trace.WorldFile), s.effects)
	return s
}

// writeLines writes what trace.Writer does, without a system call for each line.
func writeLines[T any](t *testing.T, path string, lines []T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// worker lives as processes, one after the other, until the run ends.
func (s *sampler) worker(w int, o sampleRun) {
	at := s.run.From + s.r.Int64N(100e6)
	for k := 0; at < s.run.To-int64(200*time.Millisecond); k++ {
		name := trace.Process(w, k)
		died := min(s.run.To, at+int64(2*time.Second)+s.r.Int64N(int64(12*time.Second)))
		killed := died < s.run.To
		s.faults = append(s.faults, trace.Fault{At: at, Kind: trace.FaultStart, Target: name, PID: 1000 + 100*w + k})
		inCall := false
		for range 2 { // hands
			for now := at + int64(20*time.Millisecond) + s.r.Int64N(50e6); now < died; {
				now, inCall = s.call(name, now, died, inCall)
				now += int64(o.gap)/2 + s.r.Int64N(int64(o.gap)+1)
			}
		}
		if killed {
			s.faults = append(s.faults, trace.Fault{At: died, Until: died + 4e6, Kind: trace.FaultKill, Target: name, Done: true, InCall: inCall})
		} else {
			s.faults = append(s.faults, trace.Fault{At: died, Kind: trace.FaultExit, Target: name})
		}
		if s.r.IntN(3) == 0 && died-at > int64(4*time.Second) {
			when := at + int64(time.Second) + s.r.Int64N(int64(time.Second))
			kinds := []string{trace.FaultPause, trace.FaultCut, trace.FaultCutOut, trace.FaultDelay, trace.FaultRevoke}
			f := trace.Fault{At: when, Kind: kinds[s.r.IntN(len(kinds))], Target: name}
			if f.Kind != trace.FaultRevoke {
				f.Until = when + int64(1300*time.Millisecond)
				f.Beyond = f.Kind == trace.FaultPause
			}
			s.faults = append(s.faults, f)
		}
		at = died + int64(120*time.Millisecond)
	}
}

// call writes one guarded call, with its attempt and what the world did; one that outlives its process has no end.
func (s *sampler) call(name string, at, died int64, inCall bool) (end int64, cut bool) {
	s.ops++
	s.version += 3
	tool := sampleTools[s.r.IntN(len(sampleTools))]
	id := fmt.Sprintf("order-%d/%s/%032x", s.r.IntN(4000), tool.Name, s.r.Uint64())
	if len(s.orphans) > 0 && s.r.IntN(2) == 0 {
		id, s.orphans = s.orphans[0], s.orphans[1:]
	}
	do, attempt := s.next(name), s.next(name)
	end = at + int64(4*time.Millisecond) + s.r.Int64N(60e6)
	s.line(name, trace.Line{At: at, N: do, Kind: trace.Do, ID: id, Tool: tool.Name})
	if s.r.IntN(4) == 0 { // blocked
		s.finish(name, trace.Line{At: at + 2e6, N: do, Kind: trace.Do, Outcome: trace.Duplicate}, died)
		return at + 2e6, inCall
	}
	start := at + (end-at)/5
	if start >= died {
		return end, inCall
	}
	s.line(name, trace.Line{At: start, N: attempt, In: do, Kind: trace.Attempt, ID: id, Tool: tool.Name, Fence: s.version, Attempt: 1, Token: "01J"})
	did := trace.Done
	if tool.World == trace.WorldFence && s.r.IntN(20) == 0 {
		did = trace.Refused
	}
	if acted := at + (end-at)/2; acted < died {
		s.effects = append(s.effects, trace.Effect{At: acted, Did: did, ID: id, Tool: tool.Name, Fence: s.version, Worker: name})
		inCall = inCall || end > died
	}
	if end > died {
		s.orphans = append(s.orphans, id)
	}
	s.finish(name, trace.Line{At: end - (end-at)/5, N: attempt, Kind: trace.Attempt, Outcome: trace.OK, Value: `"ok"`}, died)
	s.finish(name, trace.Line{At: end, N: do, Kind: trace.Do, Outcome: trace.OK, Fence: s.version, Value: `"ok"`}, died)
	return end, inCall
}

func (s *sampler) next(name string) uint64 { s.n[name]++; return s.n[name] }

func (s *sampler) line(name string, l trace.Line) { s.lines[name] = append(s.lines[name], l) }

func (s *sampler) finish(name string, l trace.Line, died int64) {
	if l.At < died {
		l.End = true
		s.line(name, l)
	}
}

// twoEffects puts a call of block/plain into two processes, with an effect in each.
func (s *sampler) twoEffects(at int64) {
	s.killID = "order-77/charge_card/00112233445566778899aabbccddeeff"
	names := slices.Sorted(maps.Keys(s.lines))
	used := 0
	for _, name := range names {
		life := s.lines[name]
		if used == 2 || life[0].At > at-int64(time.Second) || life[len(life)-1].At < at+int64(2*time.Second) {
			continue
		}
		do, attempt := s.next(name), s.next(name)
		begin := at + int64(used)*int64(1200*time.Millisecond)
		s.line(name, trace.Line{At: begin, N: do, Kind: trace.Do, ID: s.killID, Tool: "charge_card"})
		s.line(name, trace.Line{At: begin + 5e6, N: attempt, In: do, Kind: trace.Attempt, ID: s.killID, Fence: s.version + int64(used)})
		s.effects = append(s.effects, trace.Effect{At: begin + 60e6, Did: trace.Done, ID: s.killID, Tool: "charge_card", Fence: s.version + int64(used), Worker: name})
		s.line(name, trace.Line{At: begin + 90e6, N: attempt, End: true, Kind: trace.Attempt, Outcome: trace.OK})
		s.line(name, trace.Line{At: begin + 100e6, N: do, End: true, Kind: trace.Do, Outcome: trace.OK})
		used++
	}
	if used != 2 {
		s.t.Fatal("the sample has no two processes that live at the same time")
	}
}
