// The names that the fragments of the pages share. docstest puts each fragment into a function of a
// file of its own in this package; see internal/docstest/doc.go.
package page

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

var (
	ctx   context.Context
	t     *testing.T
	w     io.Writer
	url   string
	store ledger.Store
	guard *ledger.Guard // New's
	order *ledger.Guard // guard.Workflow's
	err   error

	logger *slog.Logger
	tools  map[string]ledger.Tool
	call   ledger.Call
	id     ledger.ID

	blocked *ledger.BlockedError

	in   ChargeArgs
	mail Mail
)

type (
	ChargeArgs struct {
		Order string
		Cents int64
	}
	Receipt struct{ ID string }
	Mail    struct {
		To, Text string
		SentAt   time.Time
	}
)

// What the user has: tools, and clients of downstreams.
func chargeCard(context.Context, ChargeArgs) (Receipt, error)              { panic("not called") }
func sendMail(context.Context, Mail) error                                 { panic("not called") }
func searchWeb(context.Context, json.RawMessage) (json.RawMessage, error)  { panic("not called") }
func rawSendSMS(context.Context, json.RawMessage) (json.RawMessage, error) { panic("not called") }
func agentLoop(context.Context, map[string]ledger.Tool) error              { panic("not called") }

var payments payment

type payment struct{}

func (payment) Charge(ctx context.Context, in ChargeArgs, idempotencyKey string) (Receipt, error) {
	panic("not called")
}
func (payment) Find(ctx context.Context, idempotencyKey string) (r Receipt, found bool, err error) {
	panic("not called")
}
func (payment) ChargeFenced(ctx context.Context, in ChargeArgs, key string, fence int64) (Receipt, error) {
	panic("not called")
}

var hooks struct{ Client *http.Client }
