// Package bulk fills a store with many made-up records, for measurements and for tests of what has to stay
// fast when a ledger is great. The records come by the store's own claims, finishes and tallies, without a guard.
package bulk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// Of each thousand records so many failed, are in doubt, and took two attempts; each tenth was blocked once or more, and each
// fifth has a key. Ten make a workflow.
const (
	failed  = 20
	doubted = 1
	retried = 10
	perFlow = 10
)

// Tools are those that the records are of.
var Tools = []string{"charge_card", "refund", "send_email", "send_sms", "open_ticket", "ship_parcel", "book_hotel", "post_message", "create_user", "sign_contract", "print_label", "pay_invoice"}

// Callers is how many callers there are: agent-00 and so on.
const Callers = 16

// Span is the time over which the calls started.
const Span = 30 * 24 * time.Hour

// workers is how many write at a time: stores write together what comes together.
const workers = 512

// ID returns that of record i.
func ID(i int) ledger.ID {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	sum := sha256.Sum256(b[:])
	return ledger.ID{Workflow: fmt.Sprintf("order-%06d", i/perFlow), Tool: Tools[mix(i)%uint64(len(Tools))], Fingerprint: hex.EncodeToString(sum[:16])}
}

func mix(i int) uint64 {
	x := uint64(i)*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
	x ^= x >> 31
	return x * 0xbf58476d1ce4e5b9 >> 20
}

// Fill stores n records, the last of which started now. Called again it fails: the records are there.
func Fill(ctx context.Context, s ledger.Store, n int, now time.Time) error {
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = one(ctx, s, i, now.Add(-Span+time.Duration(i+1)*(Span/time.Duration(n))))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func one(ctx context.Context, s ledger.Store, i int, at time.Time) error {
	draw := int(mix(i) >> 8 % 1000)
	r := ledger.Record{
		ID: ID(i), State: ledger.StateRunning, Attempt: 1, Starts: 1, Created: at, Started: at,
		Token: fmt.Sprintf("token-%030d", i), Nonce: fmt.Sprintf("nonce-%030d", i), Owner: ledger.Owner{Caller: fmt.Sprintf("agent-%02d", i%Callers)},
		Args: fmt.Appendf(nil, `{"amount":%d,"currency":"eur","customer":"cus_%08d"}`, 100+i%9900, i/7), ArgsDigest: ID(i).Fingerprint,
	}
	if i%5 == 0 {
		r.Key = fmt.Sprintf("key-%08d", i)
	}
	if draw%2 == 0 {
		r.InDoubt = ledger.DoubtBlock
	}
	r, won, err := s.Claim(ctx, ledger.Claim{Next: r})
	if err == nil && !won {
		err = errors.New("there is such a record already; fill a new ledger")
	}
	if err != nil {
		return fmt.Errorf("record %d: %w", i, err)
	}
	r.Finished = at.Add(time.Duration(200+draw) * time.Millisecond)
	switch {
	case draw < failed:
		r.State, r.Error = ledger.StateFailed, &ledger.Failure{Message: "the card was declined", Class: ledger.ClassPermanent}
	case draw < failed+doubted:
		r.State, r.Error = ledger.StateInDoubt, &ledger.Failure{Message: "the connection was reset", Class: ledger.ClassUncertain}
	default:
		r.State, r.Executed, r.Spent, r.Succeeded = ledger.StateSucceeded, 1, 1, r.Finished
		r.Result = fmt.Appendf(nil, `{"id":"ch_%016x","status":"succeeded"}`, mix(i))
	}
	if draw >= 1000-retried {
		r.Attempt, r.Starts = 2, 2
	}
	if err = s.Finish(ctx, r); err == nil && i%10 == 0 {
		blocked := int64(1 + i/10%3)
		err = s.Tally(ctx, []ledger.Tally{{ID: r.ID, Attempts: blocked, Blocked: blocked}})
	}
	if err != nil {
		return fmt.Errorf("record %d: %w", i, err)
	}
	return nil
}
