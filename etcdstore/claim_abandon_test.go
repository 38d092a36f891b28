package etcdstore

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
)

// A claim that was given up costs the others nothing: neither a request, nor a wait.
func TestAbandonedClaimStallsNoOther(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s := openOn(t, m, w, Options{})
	finishNew(t, s, claimNew(t, s, testID("the session is there"), 0, nil))

	given := ledger.Claim{Next: ledger.Record{ID: testID("given up"), State: ledger.StateRunning, Nonce: "n", Created: time.Now(), Started: time.Now()}}
	ctx, giveUp := context.WithCancel(t.Context())
	sent := make(chan struct{})
	var late *pb.TxnRequest
	w.onCall(func(_ string, req any, send func() error) error {
		if !writes(req) {
			return send()
		}
		late = req.(*pb.TxnRequest)
		close(sent)
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	})
	done := make(chan error, 1)
	go func() {
		_, _, err := s.Claim(ctx, given)
		done <- err
	}()
	<-sent
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ledger.ErrNotWritten) {
		t.Errorf("the claim that was given up: %v; want the end of the context, and no word on what was written", err)
	}
	sessions := keysOf(t, s, s.keys.session("")).Kvs
	var puts int
	w.onCall(func(_ string, req any, send func() error) error {
		if writes(req) {
			puts++
		}
		return send()
	})
	for _, name := range []string{"a", "b", "c"} {
		claimNew(t, s, testID(name), 0, nil)
	}
	if puts != 3 {
		t.Errorf("three claims beside one that was given up cost %d writes, want 3", puts)
	}
	w.onCall(nil)
	if r, err := newClientKV(s.client).Txn(t.Context(), late); err != nil || !r.Succeeded {
		t.Errorf("the copy that was given up did not land: %v", err)
	}
	if now := keysOf(t, s, s.keys.session("")).Kvs; len(now) != 1 || now[0].ModRevision != sessions[0].ModRevision {
		t.Error("the key of the session was written for claims that need no fence")
	}

	// The one that was given up waits for its fence, and for nothing else.
	fenced := false
	w.onCall(func(_ string, req any, send func() error) error {
		if r, ok := req.(*pb.TxnRequest); ok && string(r.Success[0].GetRequestPut().GetKey()) == string(sessions[0].Key) {
			fenced = true
		}
		return send()
	})
	if _, won, err := s.Claim(t.Context(), given); !won || err != nil {
		t.Errorf("the claim again: won %v, %v", won, err)
	}
	if !fenced {
		t.Error("the claim was sent again without a fence")
	}
}
