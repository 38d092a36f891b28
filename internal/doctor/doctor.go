// Package doctor examines a store for the command: whether it can be used, how fast it
// answers, and what is about to go wrong. It writes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/internal/open"
)

// A Status is how bad a finding is.
type Status string

// OK needs nothing, Warn will need something, Fail keeps workers from working.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// A Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Do     string `json:"do,omitempty"` // what to do about it, unless it is ok
}

// A Report is what all checks found.
type Report struct {
	Store     string    `json:"store"`
	Reachable bool      `json:"reachable"`
	Findings  []Finding `json:"findings"`

	err error // why the store could not be opened
}

// Err is the error with which the store could not be opened.
func (r *Report) Err() error { return r.err }

// Count returns how many findings have that status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

func (r *Report) add(check string, s Status, found, do string) {
	if s == OK {
		do = ""
	}
	r.Findings = append(r.Findings, Finding{check, s, found, do})
}

// Bounds of what is normal.
const (
	slowRead    = 100 * time.Millisecond
	slowCommit  = 250 * time.Millisecond
	clockOff    = 3 * time.Second
	longRunning = time.Hour
	soon        = 30 * 24 * time.Hour // that a certificate expires
	listWithin  = 20 * time.Second
	manyStale   = 20
	gib         = 1 << 30
)

// Examine looks at the store that url names. It returns an error only where ctx has ended.
func Examine(ctx context.Context, url string) (*Report, error) {
	r := &Report{Store: url}
	path, file, err := connect.Path(url)
	file = err == nil && file
	if _, embedded, derr := open.Dir(url); embedded || derr != nil {
		file = false
	}
	if file {
		r.lookAtFile(path) // before it is opened: see header
	}
	store, closer, err := open.Existing(ctx, url, true)
	if ctx.Err() != nil {
		if err == nil {
			err = closer.Close()
		}
		return nil, errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		r.err = err
		do := "see what it says; name another store with --store, LEDGER_STORE or LEDGER_DB"
		if errors.Is(err, ledger.ErrNotFound) {
			do = "name another store with --store, LEDGER_STORE or LEDGER_DB; or start a worker, which creates it"
		}
		r.add("store", Fail, err.Error(), do)
		return r, nil
	}
	r.Reachable = true
	if s, ok := store.(fmt.Stringer); ok {
		r.add("store", OK, s.String()+" is reached", "")
	} else {
		r.add("store", OK, url+" is opened", "")
	}
	r.latency(ctx, store)
	if s, ok := store.(*etcdstore.Store); ok {
		r.etcd(ctx, s)
	}
	r.workers(ctx, store)
	r.calls(ctx, store)
	cerr := closer.Close()
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), cerr)
	}
	if cerr != nil {
		r.add("close", Warn, cerr.Error(), "see what it says")
	}
	return r, nil
}

// latency reads one record that is not there, a few times.
func (r *Report) latency(ctx context.Context, store ledger.Store) {
	took := make([]time.Duration, 0, 5)
	for range cap(took) {
		from := time.Now()
		_, err := store.Get(ctx, ledger.ID{Workflow: "ledger-doctor", Tool: "none", Fingerprint: "00000000000000000000000000000000"})
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			r.add("read", Fail, err.Error(), "see what it says")
			return
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	s := OK
	if took[len(took)/2] > slowRead {
		s = Warn
	}
	r.add("read", s, fmt.Sprintf("a read takes %s", rounded(took[len(took)/2])),
		"look at the load of the machine and its disk, and for etcd at the network in between: each call waits for a read or two")
}

// workers tells who is alive, and whether their clocks agree with this one.
func (r *Report) workers(ctx context.Context, store ledger.Store) {
	lister, ok := store.(ledger.SessionLister)
	if !ok {
		return
	}
	all, err := lister.Sessions(ctx)
	if err != nil {
		r.add("workers", Fail, err.Error(), "see what it says")
		return
	}
	alive, dead := 0, 0
	now := time.Now()
	var ahead time.Duration
	who := ""
	for _, s := range all {
		if s.Alive {
			alive++
			if d := s.Started.Sub(now); d > ahead {
				ahead, who = d, fmt.Sprintf("%s:%d", s.Host, s.PID)
			}
		} else {
			dead++
		}
	}
	r.add("workers", OK, fmt.Sprintf("%d alive", alive), "")
	switch {
	case dead > manyStale:
		r.add("stale owners", Warn, fmt.Sprintf("%d died without closing the ledger, and their lock files are still there", dead),
			"find out why workers die; the next program that opens the ledger to write removes the files")
	case dead > 0:
		r.add("stale owners", OK, fmt.Sprintf("%d died without closing the ledger; the next program that opens it to write removes their lock files", dead), "")
	default:
		r.add("stale owners", OK, "none", "")
	}
	if ahead > clockOff {
		r.add("workers' clocks", Warn, fmt.Sprintf("worker %s was started %s from now, by its clock", who, rounded(ahead)),
			"set the clocks of the workers by NTP: ages, --since and a policy's TTL go by them (who runs a call does not)")
	}
}

// calls counts those in doubt, and looks for one that has been running for long.
func (r *Report) calls(ctx context.Context, store ledger.Store) {
	lctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	doubt, waiting, running := 0, 0, 0
	var oldest ledger.Record
	for c, err := range store.List(lctx, ledger.Filter{States: []ledger.State{ledger.StateInDoubt, ledger.StateRunning}}) {
		if err != nil {
			if lctx.Err() != nil {
				r.add("calls in doubt", Warn, fmt.Sprintf("not counted within %s; so far %d are in doubt", listWithin, doubt), "count them with ledger stats, which takes its time")
			} else {
				r.add("calls in doubt", Fail, err.Error(), "see what it says")
			}
			return
		}
		if c.Status() == ledger.StateRunning {
			running++
			if oldest.Started.IsZero() || c.Started.Before(oldest.Started) {
				oldest = c
			}
			continue
		}
		doubt++
		if c.InDoubt != ledger.DoubtRetry {
			waiting++
		}
	}
	switch {
	case waiting > 0:
		r.add("calls in doubt", Warn, fmt.Sprintf("%d, of which %d are not run again by themselves", doubt, waiting),
			"list them with ledger show --status in_doubt, find out what happened, and settle each with ledger resolve")
	case doubt > 0:
		r.add("calls in doubt", OK, fmt.Sprintf("%d, which run again when they are asked for", doubt), "")
	default:
		r.add("calls in doubt", OK, "none", "")
	}
	if running == 0 {
		r.add("calls in flight", OK, "none", "")
		return
	}
	s, since := OK, time.Since(oldest.Started)
	if since > longRunning {
		s = Warn
	}
	r.add("calls in flight", s, fmt.Sprintf("%d, the oldest for %s: %s, by %s:%d", running, rounded(since), oldest.ID, oldest.Owner.Host, oldest.Owner.PID),
		"see whether its worker hangs: the call stays claimed until its tool returns or the worker ends; give its policy a Timeout")
}

// rounded is d with as many digits as a person reads.
func rounded(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute).String()
	case d >= time.Second:
		return d.Round(time.Second).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func bytesText(n int64) string {
	switch {
	case n >= gib:
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)/1024)
}
