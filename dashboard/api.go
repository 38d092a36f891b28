package dashboard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/callview"
)

const (
	pageSize    = 50
	maxPageSize = 200
	maxShown    = 4 << 10 // bytes of a call's arguments and result in a page of calls
)

// fail answers for an error of the store.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusInternalServerError
	switch {
	case unavailable(err): // first: the error of a file that is gone matches ErrNotFound too
		code = http.StatusServiceUnavailable
	case errors.Is(err, ledger.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ledger.ErrRunning), errors.Is(err, ledger.ErrFenced):
		code = http.StatusConflict
	case errors.Is(err, ledger.ErrInvalid):
		code = http.StatusBadRequest
	}
	if code >= 500 && r.Context().Err() == nil {
		d.o.Logger.Warn("dashboard: the store can not answer", "path", r.URL.Path, "error", err)
	}
	refuse(w, code, err.Error())
}

// call answers with one call in full.
func (d *Dashboard) call(w http.ResponseWriter, r *http.Request) {
	id, err := ledger.ParseID(r.URL.Query().Get("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	rec, err := d.store.Get(ctx, id)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"call": callview.Of(&rec), "timeline": timeline(&rec), "lease": leaseOf(&rec)})
}

type lease struct {
	Alive bool   `json:"alive"`
	Text  string `json:"text"`
}

func leaseOf(r *ledger.Record) lease {
	switch {
	case r.Status() == ledger.StateRunning:
		return lease{true, "its worker lives and holds the claim"}
	case r.State == ledger.StateRunning:
		return lease{false, "its worker is dead or has lost its lease; the claim can be taken over"}
	}
	return lease{false, "nobody holds a claim"}
}

// An event of a call's timeline.
type event struct {
	At    *time.Time      `json:"at"`
	Kind  string          `json:"kind"` // created, attempt, running, settled, blocked, takeovers
	Fence int64           `json:"fence,omitempty"`
	Owner *callview.Owner `json:"owner,omitempty"`
	Ended *time.Time      `json:"ended,omitempty"`
	Text  string          `json:"text"`
}

func timeline(r *ledger.Record) []event {
	c := callview.Of(r)
	events := []event{}
	if c.Created != nil {
		events = append(events, event{At: c.Created, Kind: "created", Text: "first claimed"})
	}
	if n := r.Starts - int64(len(r.Log)); n > 0 && len(r.Log) == ledger.MaxLog {
		events = append(events, event{Kind: "attempt", Text: fmt.Sprintf("%d earlier attempts, of which no more is kept", n)})
	}
	for i, a := range c.Log {
		events = append(events, event{At: a.Started, Kind: "attempt", Fence: a.Fence, Owner: a.Owner, Ended: a.Ended, Text: outcomeText(r.Log[i].Outcome)})
	}
	if r.State == ledger.StateRunning {
		text := "running"
		if !r.Alive {
			text = "its worker is gone: nobody knows whether its effect happened"
		}
		events = append(events, event{At: c.Started, Kind: "running", Fence: c.Fence, Owner: c.Owner, Text: text})
	}
	if s := c.Settled; s != nil {
		events = append(events, event{At: s.At, Kind: "settled", Text: strings.ReplaceAll(s.How, "_", " ") + ", said " + s.By + ": " + s.Reason})
	}
	if r.Takeovers > 0 {
		events = append(events, event{Kind: "takeovers", Text: fmt.Sprintf("taken over from dead workers: %d", r.Takeovers)})
	}
	if r.Blocked > 0 {
		events = append(events, event{Kind: "blocked", Text: fmt.Sprintf("callers blocked or answered with the recorded result: %d", r.Blocked)})
	}
	return events
}

func outcomeText(o ledger.Outcome) string {
	switch o {
	case ledger.OutcomeSucceeded:
		return "succeeded"
	case ledger.OutcomeFailed:
		return "failed"
	case ledger.OutcomeInDoubt:
		return "ended in doubt: its effect may have happened"
	case ledger.OutcomeLost:
		return "its worker died, or lost its lease"
	case ledger.OutcomeForced:
		return "its claim was taken by force"
	case ledger.OutcomeSettled:
		return "settled"
	}
	return string(o)
}

// calls answers with a page of those that the query selects.
func (d *Dashboard) calls(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query(), time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	p, err := d.find(ctx, q)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, p)
}

// A listing is one page of calls.
type listing struct {
	Calls   []*callview.Call `json:"calls"`
	Next    string           `json:"next"`    // after it the next page begins; "": this is the last
	Partial bool             `json:"partial"` // the search took too long: there may be more
	Newest  bool             `json:"newest"`  // newest first, else by ID
}

type query struct {
	filter ledger.Filter
	id     string // an ID, or the beginning of a fingerprint
	text   string
	limit  int
}

func parseQuery(v url.Values, now time.Time) (q query, err error) {
	q.limit = pageSize
	q.filter = ledger.Filter{Workflow: v.Get("wf"), Tool: v.Get("tool"), Caller: v.Get("caller"), Key: v.Get("key")}
	q.id, q.text = strings.TrimSpace(v.Get("id")), strings.TrimSpace(v.Get("q"))
	if s := v.Get("limit"); s != "" {
		if q.limit, err = strconv.Atoi(s); err != nil || q.limit < 1 || q.limit > maxPageSize {
			return q, fmt.Errorf("limit is %q; use a number from 1 to %d", s, maxPageSize)
		}
	}
	for _, name := range strings.FieldsFunc(v.Get("status"), func(c rune) bool { return c == ',' }) {
		switch s := ledger.State(name); s {
		case ledger.StateRunning, ledger.StateSucceeded, ledger.StateFailed, ledger.StateInDoubt:
			q.filter.States = append(q.filter.States, s)
		case "unlimited":
			q.filter.States = append(q.filter.States, ledger.StateNone)
		default:
			return q, fmt.Errorf("status %q is none of running, succeeded, failed, in_doubt, unlimited", name)
		}
	}
	if q.filter.Since, err = moment("since", v.Get("since"), now); err != nil {
		return q, err
	}
	if q.filter.Until, err = moment("until", v.Get("until"), now); err != nil {
		return q, err
	}
	if after := v.Get("after"); after != "" {
		if q.filter.After, err = ledger.ParseID(after); err != nil {
			return q, fmt.Errorf("after: %w", err)
		}
	}
	return q, nil
}

// moment understands RFC 3339, and a duration for how long ago it was.
func moment(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s is %q; use a time such as 2026-01-31T15:04:05Z, or how long ago it was, such as 24h", name, s)
	}
	return t, nil
}

// find returns the page that q asks for.
func (d *Dashboard) find(ctx context.Context, q query) (listing, error) {
	f := q.filter
	switch {
	case q.id != "":
	case strings.Count(q.text, "/") >= 2:
		q.id = q.text
	case q.text != "":
		// A key first; where there is none, the beginning of a fingerprint, then a workflow, then a tool.
		p, err := listing{Calls: []*callview.Call{}}, error(nil)
		for _, as := range []func() bool{
			func() bool { f.Key = q.text; return q.filter.Key == "" },
			func() bool { f.Key, f.Fingerprint = q.filter.Key, q.text; return isDigits(q.text) },
			func() bool { f.Fingerprint, f.Workflow = "", q.text; return q.filter.Workflow == "" },
			func() bool { f.Workflow, f.Tool = q.filter.Workflow, q.text; return q.filter.Tool == "" },
		} {
			if !as() {
				continue
			}
			p, err = d.page(ctx, f, q.limit)
			if err != nil || len(p.Calls) > 0 || p.Partial { // partial: it is not known that there is none
				return p, err
			}
		}
		return p, nil
	}
	if q.id != "" {
		id, err := ledger.ParseID(q.id)
		switch {
		case err == nil:
			rec, err := d.store.Get(ctx, id)
			if err == nil {
				return listing{Calls: []*callview.Call{callview.Of(&rec)}}, nil
			}
			if !errors.Is(err, ledger.ErrNotFound) {
				return listing{}, err
			}
			f.Workflow, f.Tool, f.Fingerprint = id.Workflow, id.Tool, id.Fingerprint
		case isDigits(q.id):
			f.Fingerprint = q.id
		default:
			return listing{}, fmt.Errorf("%w: %q is no ID; use workflow/tool/fingerprint, or 4 or more hex digits of the fingerprint", ledger.ErrInvalid, q.id)
		}
	}
	return d.page(ctx, f, q.limit)
}

func isDigits(s string) bool {
	return len(s) >= 4 && len(s) <= 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// page lists what f selects. What takes too long ends as a partial page.
func (d *Dashboard) page(ctx context.Context, f ledger.Filter, limit int) (listing, error) {
	p := listing{Calls: []*callview.Call{}}
	f.Limit = limit + 1 // whether there is another page
	sctx, cancel := context.WithTimeout(ctx, scanFor)
	defer cancel()
	var all iter.Seq2[ledger.Record, error]
	prefix := ""
	if s, ok := d.store.(ledger.NewestLister); ok {
		all, p.Newest = s.ListNewest(sctx, f), true
	} else { // all that is looked through is seen here: so a search that takes too long goes on from there
		prefix, f.Fingerprint = f.Fingerprint, ""
		if prefix != "" {
			f.Limit = 0
		}
		all = d.store.List(sctx, f)
	}
	last := f.After
	for rec, err := range all {
		if err != nil {
			if sctx.Err() != nil && ctx.Err() == nil {
				p.Partial, p.Next = true, next(last)
				return p, nil
			}
			return p, err
		}
		if !strings.HasPrefix(rec.ID.Fingerprint, prefix) {
			last = rec.ID
			continue
		}
		if len(p.Calls) == limit {
			p.Next = next(last)
			return p, nil
		}
		last = rec.ID
		c := callview.Of(&rec)
		if len(rec.Args)+len(rec.Result) > maxShown {
			c.Args, c.Result = nil, nil // a page of them could be 200 MiB; one call has its own request
		}
		p.Calls = append(p.Calls, c)
	}
	return p, nil
}

func next(last ledger.ID) string {
	if last == (ledger.ID{}) {
		return ""
	}
	return last.String()
}
