package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
)

// Charge is what charge_card and refund_payment take.
type Charge struct {
	Customer string  `json:"customer"`
	Amount   float64 `json:"amount"` // 100, 100.0 and 1e2 are one; so are 99.99 and 99.9900000001
	Currency string  `json:"currency"`
}

// Mail is what send_email takes.
type Mail struct {
	To       string `json:"to"`
	Template string `json:"template"`
	SentAt   string `json:"sent_at" ledger:"ignore"` // differs with every retry
}

// Ticket is what create_ticket takes. The model words the title anew with every
// retry, so the topic is the identity of the call.
type Ticket struct {
	Topic     string `json:"topic" ledger:"key"`
	Title     string `json:"title"`
	RequestID string `json:"request_id"`
}

// Query is what search_web takes.
type Query struct {
	Query string `json:"query"`
}

// Receipt is what the service answers.
type Receipt struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// MailStatus is what the service knows of a mail.
type MailStatus struct {
	Sent bool   `json:"sent"`
	ID   string `json:"id,omitempty"`
}

// blockedReturn stands in for the result of a duplicate that is not replayed.
var blockedReturn = json.RawMessage(`{"status":"blocked"}`)

// patience is how long a call waits for another run of it, or for the lease of that run's dead worker.
const patience = maxLease + 10*time.Second

// policies are those of the run with Ledger.
func (c *client) policies() map[string]ledger.Policy {
	return map[string]ledger.Policy{
		// The downstream honours idempotency keys: in doubt, send again with the same one.
		"charge_card":    {Replay: true, Wait: patience, InDoubt: ledger.DoubtRetry},
		"refund_payment": {Replay: true, Wait: patience, InDoubt: ledger.DoubtRetry},
		// It has none for mails, but can be asked: in doubt, ask.
		"send_email": {Replay: true, Wait: patience, InDoubt: ledger.DoubtReconcile, Reconcile: c.wasMailSent},
		// It has none for tickets, and can not be asked: in doubt, leave it to a person.
		"create_ticket": {InDoubt: ledger.DoubtBlock},
		"search_web":    {Unlimited: true},
	}
}

// tools are the same in both runs; with Ledger they are wrapped.
func (c *client) tools() map[string]ledger.Tool {
	return map[string]ledger.Tool{
		"charge_card": ledger.JSON(func(ctx context.Context, in Charge) (Receipt, error) {
			return c.post(ctx, "/charges", in)
		}),
		"refund_payment": ledger.JSON(func(ctx context.Context, in Charge) (Receipt, error) {
			return c.post(ctx, "/refunds", in)
		}),
		"send_email": ledger.JSON(func(ctx context.Context, in Mail) (Receipt, error) {
			return c.post(ctx, "/mails", in)
		}),
		"create_ticket": ledger.JSON(func(ctx context.Context, in Ticket) (Receipt, error) {
			return c.post(ctx, "/tickets", in)
		}),
		"search_web": ledger.JSON(c.search),
	}
}

// A delivery is one call as a worker got it. It travels to the tool in the context.
type delivery struct {
	call
	ran atomic.Bool // the tool was started
}

type deliveryKey struct{}

// A client talks to the service, for one worker.
type client struct {
	base   string
	worker string
	http   *http.Client
	tell   func(event) // of what is worth a line
}

func newClient(base, worker string, tell func(event)) *client {
	// No proxy, whatever the environment says: the service is on loopback.
	return &client{base: base, worker: worker, tell: tell, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: 30 * time.Second,
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// post asks the service to act. With Ledger the Idempotency-Key is the token of
// the call; without, the tool call's id is the best there is.
func (c *client) post(ctx context.Context, path string, in any) (Receipt, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return Receipt{}, ledger.NotDone(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return Receipt{}, ledger.NotDone(err)
	}
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	if d == nil {
		return Receipt{}, ledger.NotDone(fmt.Errorf("demo: a tool was called outside a delivery")) // unreachable unless program bug
	}
	d.ran.Store(true)
	key := ledger.Token(ctx)
	if key == "" {
		key = d.ID
	}
	req.GetBody = nil // net/http itself must not send it again
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(headerIdempotency, key)
	req.Header.Set(headerReference, key)
	req.Header.Set(headerCall, strconv.Itoa(d.N))
	req.Header.Set(headerWorker, c.worker)

	var receipt Receipt
	res, err := c.do(req, &receipt)
	kind := ""
	switch {
	case res == nil:
	case res.Header.Get(headerReplayed) == "true":
		kind = eventDeduped
	case res.StatusCode == http.StatusServiceUnavailable:
		kind = eventRefused
	case res.StatusCode == http.StatusGatewayTimeout:
		kind = eventTimeout
	}
	if kind != "" {
		c.tell(event{Kind: kind, Tool: d.Tool, Call: d.N})
	}
	return receipt, err
}

// wasMailSent settles a mail in doubt. It holds while the service does not
// accept a late request of the dead worker: on loopback, with the sender gone, it does not.
func (c *client) wasMailSent(ctx context.Context, r ledger.Record) (ledger.Verdict, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/mails?reference="+url.QueryEscape(r.Token), nil)
	if err != nil {
		return ledger.Unknown(), err
	}
	var status MailStatus
	if _, err := c.do(req, &status); err != nil {
		return ledger.Unknown(), err
	}
	c.tell(event{Kind: eventAsked, Tool: r.ID.Tool, Workflow: r.ID.Workflow, Happened: status.Sent})
	if !status.Sent {
		return ledger.DidNotHappen(), nil
	}
	return ledger.Happened(Receipt{ID: status.ID, Status: "ok"}), nil
}

func (c *client) search(ctx context.Context, in Query) (json.RawMessage, error) {
	if d, ok := ctx.Value(deliveryKey{}).(*delivery); ok {
		d.ran.Store(true)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/search?q="+url.QueryEscape(in.Query), nil)
	if err != nil {
		return nil, err
	}
	var out json.RawMessage
	_, err = c.do(req, &out)
	return out, err
}

// do decodes a good answer into out. Its error says where the effect is certain
// not to have happened. The response, without its body, is nil if there was none.
func (c *client) do(req *http.Request, out any) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err // in doubt: it may have been sent
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return res, json.Unmarshal(body, out)
	case http.StatusServiceUnavailable, http.StatusBadRequest, http.StatusUnprocessableEntity:
		// The service's documentation says so: nothing was done.
		return res, ledger.NotDone(fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, res.Status, body))
	default:
		return res, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, res.Status, body)
	}
}
