// Stripe: a payment API with an Idempotency-Key header, a worker that dies between the charge and its record, and
// another one that asks the API what happened before it does anything.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/ledger-once/ledger"
)

type charge struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

type receipt struct {
	ID string `json:"id"`
}

type client struct{ url string }

// charge sends the token as the Idempotency-Key: it is the same in every attempt of one run, in whatever process.
func (c client) charge(ctx context.Context, in charge) (receipt, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return receipt{}, ledger.NotDone(err) // nothing was sent: the next call may try
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/charges", bytes.NewReader(body))
	if err != nil {
		return receipt{}, ledger.NotDone(err)
	}
	req.Header.Set("Idempotency-Key", ledger.Token(ctx))
	return answer(req)
}

// reconcile asks for the charge that was made under the token of the call in doubt.
func (c client) reconcile(ctx context.Context, r ledger.Record) (ledger.Verdict, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/charges?idempotency_key="+r.Token, nil)
	if err != nil {
		return ledger.Unknown(), err
	}
	found, err := answer(req)
	switch {
	case err != nil:
		return ledger.Unknown(), err // it stays in doubt, and the next call asks again
	case found.ID == "":
		// Right only where a late request can not arrive after this answer; here it is harmless, for the key is the same.
		return ledger.DidNotHappen(), nil
	}
	return ledger.Happened(found), nil
}

// answer leaves an error in doubt: a request without an answer may have been carried out.
func answer(req *http.Request) (receipt, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return receipt{}, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusPaymentRequired: // the card was declined, and always will be
		return receipt{}, ledger.Permanent(fmt.Errorf("payment API: %s", res.Status))
	case res.StatusCode != http.StatusOK:
		return receipt{}, fmt.Errorf("payment API: %s", res.Status)
	}
	var out receipt
	return out, json.NewDecoder(res.Body).Decode(&out)
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer) error {
	api := httptest.NewServer(newFakeAPI(w))
	defer api.Close()
	c := client{api.URL}
	policy := &ledger.Options{Default: ledger.Policy{
		Replay: true, InDoubt: ledger.DoubtReconcile, Reconcile: c.reconcile,
	}, Logger: slog.New(slog.DiscardHandler)} // the dying worker would complain
	in := charge{"cus_42", 9900}
	call := ledger.Call{Tool: "charge_card", Workflow: "order-42", Args: in}

	// The first worker dies once the charge is made: its session ends inside of the tool, so nothing more is recorded
	// than that it had begun. With sqlitestore or etcdstore the same follows a kill -9.
	alive := ledger.NewMemory()
	dying := alive.Session()
	first, err := ledger.New(dying, policy)
	if err != nil {
		return err
	}
	_, _ = ledger.Do(ctx, first, call, func(ctx context.Context) (receipt, error) {
		defer dying.Close()
		return c.charge(ctx, in)
	})
	fmt.Fprintln(w, "worker 1 died before it could record the charge")
	if err := first.Close(ctx); !errors.Is(err, ledger.ErrUnrecorded) {
		return fmt.Errorf("worker 1 closed with %v, not with an outcome that it could not record", err)
	}

	second, err := ledger.New(alive, policy)
	if err != nil {
		return err
	}
	defer second.Close(ctx)
	res, err := ledger.Do(ctx, second, call, func(ctx context.Context) (receipt, error) { return c.charge(ctx, in) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "worker 2 has receipt %s\n", res.Value.ID)
	return err
}
