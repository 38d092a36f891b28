package worker

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// StepOf is the operation number n of a caller. It depends on nothing but its
// arguments, so a run can be repeated from its seed: the n-th operation of each caller is the same.
//
// Of a hundred operations about 45 are calls that nobody else makes, 40 are shared by all
// callers that come by at about the same time, 9 are of a few hot calls, and 6 go to
// keys that are forgotten, forced and resolved besides.
func StepOf(seed uint64, worker, caller int, n uint64, tools []trace.Tool) Step {
	// Options bound workers and callers to 64, so no two share a stream.
	r := rand.New(rand.NewPCG(seed^uint64(worker)<<40^uint64(caller)<<32, n))
	s := Step{Kind: trace.Do, Tool: tools[r.IntN(len(tools))].Name}
	switch p := r.IntN(100); {
	case p < 45:
		s.Key = fmt.Sprintf("own-%d-%d-%d", worker, caller, n)
	case p < 85:
		s.Key = fmt.Sprintf("slot-%d", n/3+r.Uint64N(4))
	case p < 94:
		s.Key = fmt.Sprintf("hot-%d", r.IntN(12))
	default:
		s.Key = fmt.Sprintf("free-%d", n/40+r.Uint64N(3)) // calls of this key have any number of runs
		switch r.IntN(8) {
		case 0:
			s.Kind = trace.Force
		case 1:
			s.Kind = trace.Forget
		case 2:
			s.Kind, s.As = trace.Resolve, []string{"happened", "did_not_happen", "forget"}[r.IntN(3)]
		}
	}
	if s.Kind != trace.Do && s.Kind != trace.Force {
		return s
	}
	switch p := r.IntN(100); {
	case p < 5:
		s.Ask = "deny"
	case p < 7:
		s.Ask = "permanent"
	case p < 10:
		s.Ask = "fail"
	}
	return s
}

// Digest adds the first n operations of each caller to h.
func Digest(h hash.Hash, seed uint64, workers, callers int, n uint64, tools []trace.Tool) {
	var length [8]byte
	for w := range workers {
		for c := range callers {
			for i := range n {
				text := fmt.Sprint(StepOf(seed, w, c, i, tools))
				binary.LittleEndian.PutUint64(length[:], uint64(len(text)))
				h.Write(length[:])
				h.Write([]byte(text))
			}
		}
	}
}

// load makes the workload's calls until stop is closed.
func (w *worker) load(ctx context.Context, stop <-chan struct{}) {
	l := w.job.Load
	var callers sync.WaitGroup
	for c := range l.Callers {
		n := uint64(0)
		if c < len(l.Base) {
			n = l.Base[c]
		}
		callers.Go(func() {
			for ; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				w.progress[c].Store(n)
				s := StepOf(l.Seed, w.job.Worker, c, n, w.job.Tools)
				s.Timeout = l.Timeout
				end := w.do(ctx, s)
				if end.Outcome == trace.InDoubt && n%4 == 0 { // somebody decides, by what the downstream knows
					w.do(ctx, Step{Kind: trace.Resolve, Tool: s.Tool, Key: s.Key, Timeout: l.Timeout})
				}
				if l.Pause > 0 {
					rest(stop, l.Pause)
				}
			}
		})
	}
	callers.Wait()
}

func rest(stop <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	}
}
