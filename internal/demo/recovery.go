package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// A Recovery is one call that was in doubt and was settled, as the store has it.
type Recovery struct {
	Tool     string   `json:"tool"`
	Workflow string   `json:"workflow"`
	Lost     bool     `json:"lost"`    // the first worker died; else it got no answer
	Workers  []string `json:"workers"` // of each attempt, in order
	Fences   []int64  `json:"fences"`  // of each attempt; each is greater than the one before
	Token    bool     `json:"same_token"`
	// Free is how long after its worker's death the claim stood, in seconds. 0 if it was free at once.
	Free float64 `json:"free_after_seconds,omitempty"`
}

// recovery returns what became of r, and whether it was in doubt and was settled.
func (p *pass) recovery(r *ledger.Record) (Recovery, bool) {
	i := slices.IndexFunc(r.Log, func(a ledger.Attempt) bool {
		return a.Outcome == ledger.OutcomeLost || a.Outcome == ledger.OutcomeInDoubt
	})
	if i < 0 || r.Status() == ledger.StateInDoubt {
		return Recovery{}, false
	}
	rec := Recovery{Tool: r.ID.Tool, Workflow: r.ID.Workflow, Lost: r.Log[i].Outcome == ledger.OutcomeLost}
	for _, a := range r.Log {
		rec.Workers = append(rec.Workers, a.Owner.Caller)
		rec.Fences = append(rec.Fences, int64(a.Fence))
	}
	// The service wrote down the token that came with the effect of the attempt in doubt.
	rec.Token = slices.ContainsFunc(p.effects, func(e effect) bool {
		return e.Reference == r.Token && e.Worker == r.Log[i].Owner.Caller
	})
	if v := p.vigils[r.ID]; v != nil {
		rec.Free = v.stood.Seconds()
	}
	return rec, true
}

// cells are those of its row in a table.
func (r Recovery) cells() []string {
	first, free := "no answer", ""
	if r.Lost {
		first, free = "killed", "at once"
		if r.Free > 0 {
			free = "after " + age(time.Duration(r.Free*float64(time.Second)))
		}
	}
	token := "same"
	if !r.Token {
		token = "other"
	}
	var workers, fences []string
	for i := range r.Workers {
		workers = append(workers, strings.TrimPrefix(r.Workers[i], "worker-"))
		fences = append(fences, fmt.Sprint(r.Fences[i]))
	}
	const then = " → "
	return []string{r.Tool + " of " + r.Workflow, strings.Join(workers, then), first, free, strings.Join(fences, then), token}
}

// String is the row in words.
func (r Recovery) String() string {
	c := r.cells()
	first := "got no answer"
	if r.Lost {
		first = "was killed, its claim free " + c[3]
	}
	return fmt.Sprintf("%s: workers %s (the first %s), fences %s, %s token", c[0], c[1], first, c[4], c[5])
}

// A vigil is kept over the claims of a worker that was killed, until others may have them.
type vigil struct {
	claims []ledger.Record // as they stood when the worker was dead
	over   chan struct{}   // closed when they are free, or the vigil was given up
	stood  time.Duration   // from the worker's death; valid once over is closed
}

// lookAfter reads which claims a dead worker has left. Where they still stand it
// watches over them, in a goroutine of group.
func (s *stage) lookAfter(ctx context.Context, group *sync.WaitGroup, w *worker, workflow string, standing func(time.Duration), free func(*vigil)) (*vigil, error) {
	v := &vigil{over: make(chan struct{})}
	alive := false
	for r, err := range s.store.List(ctx, ledger.Filter{Workflow: workflow, Caller: w.name}) {
		if err != nil {
			return nil, fmt.Errorf("demo: read the claims of %s: %w", w.name, err)
		}
		if r.State == ledger.StateRunning {
			v.claims = append(v.claims, r)
			alive = alive || r.Alive
		}
	}
	if !alive {
		close(v.over)
		return v, nil
	}
	group.Go(func() {
		defer close(v.over)
		for i := range v.claims {
			if !s.await(ctx, &v.claims[i], w.died, standing) {
				return
			}
		}
		v.stood = time.Since(w.died)
		free(v)
	})
	return v, nil
}

// await returns true when nobody holds the claim any more, by what the store
// says; false if that can not be told. It calls standing from time to time.
func (s *stage) await(ctx context.Context, claim *ledger.Record, since time.Time, standing func(time.Duration)) bool {
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 8*time.Second) {
		tick, cancel := context.WithTimeout(ctx, pause)
		if watcher, ok := s.store.(ledger.Watcher); ok {
			_ = watcher.Await(tick, claim.ID, claim.Version) // whatever it says, the record has to be read
		} else {
			<-tick.Done()
		}
		cancel()
		r, err := s.store.Get(ctx, claim.ID)
		if err != nil {
			return false
		}
		if r.Version != claim.Version || !r.Alive {
			return true
		}
		standing(time.Since(since))
	}
}

// fences tells the fences of the claims, for people.
func (v *vigil) fences() string {
	var all []string
	for _, r := range v.claims {
		all = append(all, fmt.Sprintf("%s with fence %d", r.ID.Tool, r.Fence))
	}
	return strings.Join(all, ", ")
}

// was returns the claim of that call before the takeover.
func (v *vigil) was(id ledger.ID) *ledger.Record {
	for i := range v.claims {
		if v.claims[i].ID == id {
			return &v.claims[i]
		}
	}
	return nil
}
