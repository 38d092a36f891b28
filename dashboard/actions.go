package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

// maxSaid is how many bytes a reason, and a name, may have.
const maxSaid = 1000

// A decision is what a person asks for.
type decision struct {
	ID       string          `json:"id"`
	Version  ledger.Version  `json:"version"` // of the record that the page showed; 0: it does not say
	As       string          `json:"as"`
	Result   json.RawMessage `json:"result"`
	Workflow string          `json:"workflow"`
	Confirm  string          `json:"confirm"`
	Count    int             `json:"count"`
	By       string          `json:"by"`
	Reason   string          `json:"reason"`
}

// A refusal is an answer with its own code.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// change is a handler for what changes a record.
func (d *Dashboard) change(do func(context.Context, *decision) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d.o.ReadOnly {
			refuse(w, http.StatusForbidden, "this dashboard only looks; start it without --read-only to change something")
			return
		}
		var in decision
		if !decode(w, r, &in) {
			return
		}
		in.By, in.Reason = strings.TrimSpace(in.By), strings.TrimSpace(in.Reason)
		switch {
		case in.Reason == "":
			refuse(w, http.StatusBadRequest, "say why: the reason is missing")
			return
		case len(in.Reason) > maxSaid || len(in.By) > maxSaid:
			refuse(w, http.StatusBadRequest, fmt.Sprintf("reason and name may have %d bytes each", maxSaid))
			return
		case in.By == "":
			in.By = d.o.By
		}
		// Whoever asked may go away: what was begun is ended, and recorded.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), clearTimeout)
		defer cancel()
		// Clearing takes as long as it takes; the server's own limit is for answers that are ready.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(clearTimeout + writeTimeout))
		out, err := do(ctx, &in)
		d.feed.poke()
		var no *refusal
		switch {
		case errors.As(err, &no):
			refuse(w, no.code, no.text)
		case err != nil:
			d.fail(w, r, err)
		default:
			answer(w, http.StatusOK, out)
		}
	}
}

func (d *Dashboard) decided(what string, in *decision, id string, more ...any) {
	d.o.Logger.Info("dashboard: "+what, append([]any{"call", id, "by", in.By, "reason", in.Reason}, more...)...)
}

// resolve settles a call in doubt.
func (d *Dashboard) resolve(ctx context.Context, in *decision) (any, error) {
	id, err := ledger.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	res := ledger.Resolution{By: in.By, Reason: in.Reason}
	for _, as := range []ledger.ResolveAs{ledger.ResolveHappened, ledger.ResolveDidNotHappen, ledger.ResolveForget} {
		if as.String() == in.As {
			res.As = as
		}
	}
	if res.As == 0 {
		return nil, &refusal{http.StatusBadRequest, `"as" is one of happened, did_not_happen and forget`}
	}
	if len(in.Result) > 0 && string(in.Result) != "null" {
		res.Result = in.Result
	}
	if res.Result != nil {
		r, err := d.store.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if r.Sealed {
			return nil, &refusal{http.StatusConflict, "its result would have to be sealed, for which the dashboard has no key; leave the result out"}
		}
	}
	guard, err := ledger.New(d.store, &ledger.Options{Caller: "dashboard", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	_, err = guard.Resolve(ctx, id, res)
	cctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if cerr := guard.Close(cctx); errors.Is(err, ledger.ErrUnrecorded) {
		err = cerr // the guard went on sending it until it was closed
	}
	switch {
	case errors.Is(err, ledger.ErrRunning):
		return nil, &refusal{http.StatusConflict, "it is running: its worker will say itself how it ended"}
	case errors.Is(err, ledger.ErrInvalid):
		return nil, &refusal{http.StatusConflict, err.Error()}
	case err != nil:
		return nil, err
	}
	d.decided("settled", in, in.ID, "as", in.As)
	return map[string]bool{"ok": true}, nil
}

// retry forgets a call that is not running.
func (d *Dashboard) retry(ctx context.Context, in *decision) (any, error) {
	id, err := ledger.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	r, err := d.store.Get(ctx, id)
	if err == nil && in.Version != 0 && in.Version != r.Version {
		err = ledger.ErrFenced // a late success must not be forgotten by a click on what looked failed
	}
	if err == nil {
		err = d.store.Delete(ctx, id, r.Version)
	}
	switch {
	case errors.Is(err, ledger.ErrRunning):
		return nil, &refusal{http.StatusConflict, "it is running: end its worker first, or let it finish"}
	case errors.Is(err, ledger.ErrFenced):
		return nil, &refusal{http.StatusConflict, "it was changed by another meanwhile; look at it again"}
	case err != nil:
		return nil, err
	}
	d.decided("forgotten, so that it runs again", in, in.ID, "was", r.Status())
	return map[string]bool{"ok": true}, nil
}

// A workflowCount is what clearing a workflow would do.
type workflowCount struct {
	Count   int `json:"count"`   // calls that would go
	Running int `json:"running"` // calls that would stay
	InDoubt int `json:"in_doubt"`
}

func (d *Dashboard) countWorkflow(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("workflow")
	if name == "" {
		refuse(w, http.StatusBadRequest, "name the workflow")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	n, err := d.count(ctx, name)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, n)
}

func (d *Dashboard) count(ctx context.Context, workflow string) (n workflowCount, err error) {
	s, err := ledger.Summarize(ctx, d.store, ledger.Filter{Workflow: workflow})
	if err != nil {
		return n, err
	}
	return workflowCount{Count: int(s.Actions - s.Running), Running: int(s.Running), InDoubt: int(s.InDoubt)}, nil
}

// clear deletes the calls of a workflow, those that run apart.
func (d *Dashboard) clear(ctx context.Context, in *decision) (any, error) {
	if in.Workflow == "" || in.Confirm != in.Workflow {
		return nil, &refusal{http.StatusBadRequest, "type the workflow's name to confirm"}
	}
	n, err := d.count(ctx, in.Workflow)
	if err != nil {
		return nil, err
	}
	if n.Count != in.Count {
		return nil, &refusal{http.StatusConflict, fmt.Sprintf("there are %d calls by now, not %d; look again", n.Count, in.Count)}
	}
	out := struct {
		Deleted int    `json:"deleted"`
		Left    int    `json:"running_left"`
		Error   string `json:"error,omitempty"`
	}{}
	began := time.Now()
	for r, err := range d.store.List(ctx, ledger.Filter{Workflow: in.Workflow}) {
		if err != nil {
			out.Error = err.Error() // some are gone: the answer says how many
			break
		}
		if r.Status() == ledger.StateRunning || r.Started.After(began) {
			out.Left++
			continue
		}
		switch err := d.store.Delete(ctx, r.ID, r.Version); {
		case err == nil:
			if !r.ID.IsCounter() {
				out.Deleted++
			}
		case errors.Is(err, ledger.ErrNotFound):
		case errors.Is(err, ledger.ErrRunning), errors.Is(err, ledger.ErrFenced):
			out.Left++
		default:
			out.Error = err.Error()
		}
		if out.Error != "" {
			break
		}
	}
	d.decided("cleared a workflow", in, in.Workflow, "deleted", out.Deleted, "left", out.Left, "error", out.Error)
	return out, nil
}
