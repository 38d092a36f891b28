package dashboard

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/callview"
)

const (
	maxTools  = 200
	maxOwners = 200
)

// A summary is what the cards say.
type summary struct {
	Calls         int64          `json:"calls"`
	Running       int64          `json:"running"`
	Succeeded     int64          `json:"succeeded"`
	Failed        int64          `json:"failed"`
	InDoubt       int64          `json:"in_doubt"`
	NeedsDecision int64          `json:"needs_decision"`
	Attempts      int64          `json:"attempts"`
	Executed      int64          `json:"executed"`
	Blocked       int64          `json:"blocked"`
	Oldest        *callview.Call `json:"oldest_running"`
	AsOf          time.Time      `json:"as_of"`
	Partial       bool           `json:"partial"`
}

type toolRow struct {
	Tool     string `json:"tool"`
	Calls    int64  `json:"calls"`
	Attempts int64  `json:"attempts"`
	Executed int64  `json:"executed"`
	Blocked  int64  `json:"blocked"`
	Failed   int64  `json:"failed"`
	InDoubt  int64  `json:"in_doubt"`
	Running  int64  `json:"running"`
}

type ownerRow struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Alive   bool      `json:"alive"`
}

// A health is how the store is.
type health struct {
	OK      bool          `json:"ok"`
	Latency time.Duration `json:"latency_ns"`
	Error   string        `json:"error"`
	Alive   int           `json:"owners_alive"`
	Owners  []ownerRow    `json:"owners"`
	Size    int64         `json:"size_bytes"`  // 0: not known
	Quota   int64         `json:"quota_bytes"` // 0: none, or not known
}

// A Sizer is a store that knows how many bytes it takes, and how many it may (0: no bound, or not known).
type Sizer interface {
	Size(ctx context.Context) (bytes, quota int64, err error)
}

// An overview is what the page shows above its lists.
type overview struct {
	Name     string    `json:"name"`
	ReadOnly bool      `json:"read_only"`
	Version  string    `json:"version"`
	Now      time.Time `json:"now"`
	Summary  *summary  `json:"summary"` // null as long as the store has never answered
	Tools    []toolRow `json:"tools"`
	LeftOff  int       `json:"tools_left_off"`
	Health   health    `json:"health"`
}

func (d *Dashboard) overview(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, d.feed.overview(r.Context()))
}

// look asks the store for all that an overview needs.
func (d *Dashboard) look(ctx context.Context) *overview {
	now := time.Now()
	o := d.unanswered(nil)
	o.Health = d.examine(ctx)
	if !o.Health.OK {
		return o
	}
	s, partial, err := d.summarize(ctx)
	if err != nil {
		o.Health.OK, o.Health.Error = false, err.Error()
		return o
	}
	o.Summary = &summary{
		Calls: s.Actions, Running: s.Running, Failed: s.Failed, InDoubt: s.InDoubt, NeedsDecision: s.NeedsDecision,
		Succeeded: s.Actions - s.Running - s.Failed - s.InDoubt,
		Attempts:  s.Attempts, Executed: s.Executed, Blocked: s.Blocked, AsOf: now.UTC(), Partial: partial,
	}
	if s.Oldest != nil {
		o.Summary.Oldest = callview.Of(s.Oldest)
	}
	slices.SortFunc(s.Tools, func(a, b ledger.ToolSummary) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Tool, b.Tool))
	})
	if n := len(s.Tools) - maxTools; n > 0 {
		o.LeftOff, s.Tools = n, s.Tools[:maxTools]
	}
	for _, t := range s.Tools {
		o.Tools = append(o.Tools, toolRow{t.Tool, t.Actions, t.Attempts, t.Executed, t.Blocked, t.Failed, t.InDoubt, t.Running})
	}
	return o
}

// unanswered is an overview of which the store has said nothing.
func (d *Dashboard) unanswered(err error) *overview {
	o := &overview{Name: d.o.Name, ReadOnly: d.o.ReadOnly, Version: d.o.Version, Now: time.Now().UTC(), Tools: []toolRow{}}
	o.Health.Owners = []ownerRow{}
	if err != nil {
		o.Health.Error = err.Error()
	}
	return o
}

// summarize counts all records, or, where that takes too long, those that can be read in scanFor: a
// store that is large is not one that is gone.
func (d *Dashboard) summarize(ctx context.Context) (s ledger.Summary, partial bool, err error) {
	cctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	if s, err = ledger.Summarize(cctx, d.store, ledger.Filter{}); err == nil || cctx.Err() == nil || ctx.Err() != nil {
		return s, false, err
	}
	sctx, stop := context.WithTimeout(ctx, scanFor)
	defer stop()
	var sum ledger.Summing
	for r, err := range d.store.List(sctx, ledger.Filter{}) {
		if err != nil && sctx.Err() == nil {
			return s, false, err
		}
		if sctx.Err() != nil {
			break
		}
		sum.Add(&r)
	}
	return sum.Summary(), true, nil
}

// probed is a call that nobody makes.
var probed = ledger.ID{Workflow: "ledger-dashboard", Tool: "probe", Fingerprint: "00000000000000000000000000000000"}

func (d *Dashboard) examine(ctx context.Context) health {
	h := health{Owners: []ownerRow{}}
	began := time.Now()
	_, err := d.store.Get(ctx, probed)
	h.Latency = time.Since(began)
	if err != nil && (!errors.Is(err, ledger.ErrNotFound) || unavailable(err)) { // a store that is not there matches both
		h.Error = err.Error()
		return h
	}
	h.OK = true
	if s, ok := d.store.(ledger.SessionLister); ok {
		all, err := s.Sessions(ctx)
		if err != nil {
			h.OK, h.Error = false, err.Error()
			return h
		}
		for _, o := range all {
			if o.Alive {
				h.Alive++
			}
			if len(h.Owners) < maxOwners {
				h.Owners = append(h.Owners, ownerRow{o.ID, o.Host, o.PID, o.Started.UTC(), o.Alive})
			}
		}
	}
	h.Size, h.Quota = d.size.of(ctx, d.store)
	return h
}

// A size remembers for a while what a store said: asking may cost each member of a cluster something.
type size struct {
	mu           sync.Mutex
	asked        time.Time
	bytes, quota int64
}

const sizeFor = 15 * time.Second

func (s *size) of(ctx context.Context, store ledger.Store) (bytes, quota int64) {
	sizer, ok := store.(Sizer)
	if !ok {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() || time.Since(s.asked) > sizeFor {
		var err error
		if s.bytes, s.quota, err = sizer.Size(ctx); err != nil {
			s.bytes, s.quota = 0, 0 // a role may not ask
		}
		s.asked = time.Now()
	}
	return s.bytes, s.quota
}
