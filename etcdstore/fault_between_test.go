package etcdstore_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
)

// What others do between a write and its second copy must not make the answer
// to the second one say that nothing was written.

// between has the first write be carried out, does what others do meanwhile, and loses the answer.
func between(meanwhile func()) fate {
	lost := false
	return func(_ int, r *rpc, deliver func() error) error {
		err := deliver()
		if lost || err != nil || !writes(asTxn(r.req)) {
			return err
		}
		lost = true
		meanwhile()
		return status.Error(codes.Unavailable, "the answer is lost")
	}
}

func TestFaultFinishThenClaimedAgain(t *testing.T) {
	st := newStage(t)
	w := &wire{}
	a, b := st.open(t, w, nil), st.open(t, nil, nil)
	for _, logged := range []bool{true, false} {
		r := mustClaim(t, a, claimOf(freshID(), 0))
		done := r
		done.State, done.Finished = ledger.StateSucceeded, time.Now()
		if logged { // as the guard does
			done.Log = []ledger.Attempt{{Fence: r.Fence, Owner: r.Owner, Started: r.Started, Ended: done.Finished, Outcome: ledger.OutcomeSucceeded}}
		}
		w.set(between(func() {
			stands, err := b.Get(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			c := claimOf(r.ID, stands.Version)
			c.Next.Log = stands.Log
			mustClaim(t, b, c)
		}))
		err := a.Finish(t.Context(), done)
		w.set(nil)
		if want := map[bool]error{true: nil, false: ledger.ErrFenced}[logged]; !errors.Is(err, want) {
			t.Errorf("logged %t: finish: got %v, want %v", logged, err, want)
		}
		// A finish that says something else of the same claim is no copy.
		done.State = ledger.StateFailed
		done.Error = &ledger.Failure{Message: "declined", Class: ledger.ClassPermanent}
		if err := a.Finish(t.Context(), done); !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("logged %t: another finish: got %v, want ErrFenced", logged, err)
		}
	}
}

func TestFaultDeletedThenClaimedAnew(t *testing.T) {
	st := newStage(t)
	w := &wire{}
	a, b := st.open(t, w, nil), st.open(t, nil, nil)
	id := freshID()
	r := mustClaim(t, a, claimOf(id, 0))
	done := r
	done.State, done.Finished = ledger.StateSucceeded, time.Now()
	mustFinish(t, a, done)
	old, err := a.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var fresh ledger.Record
	w.set(between(func() { fresh = mustClaim(t, b, claimOf(id, 0)) }))
	if err := a.Delete(t.Context(), id, old.Version); err != nil {
		t.Errorf("delete: got %v, want nil: what was to be deleted is gone", err)
	}
	w.set(nil)
	if stands, err := a.Get(t.Context(), id); err != nil || stands.Nonce != fresh.Nonce {
		t.Errorf("there is %+v, %v; want the claim made meanwhile", stands, err)
	}
	// Sent for the first time, the same is refused.
	if err := a.Delete(t.Context(), id, old.Version); !errors.Is(err, ledger.ErrRunning) {
		t.Errorf("delete of another's: got %v, want ErrRunning", err)
	}
}

// One Retry runs the call once more, not twice.
func TestFaultRetryOnce(t *testing.T) {
	st := newStage(t)
	w := &wire{}
	a, b := st.open(t, w, nil), st.open(t, nil, nil)
	ga, gb := newGuard(t, a, ledger.Options{}), newGuard(t, b, ledger.Options{})
	defer closeGuard(t, ga)
	defer closeGuard(t, gb)
	j := &journal{}
	call := ledger.Call{Tool: "charge_card", Key: "k"}
	if _, err := ledger.Do(t.Context(), ga, call, j.tool); err != nil {
		t.Fatal(err)
	}
	w.set(between(func() {
		if _, err := ledger.Do(t.Context(), gb, call, j.tool); err != nil {
			t.Error(err)
		}
	}))
	if err := ga.Retry(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	w.set(nil)
	if _, err := ledger.Do(t.Context(), gb, call, j.tool); !errors.Is(err, ledger.ErrDuplicate) {
		t.Errorf("after it: got %v, want ErrDuplicate", err)
	}
	if got := j.effects(); got != 2 {
		t.Errorf("%d runs, want 2: the first, and one for the Retry", got)
	}
}

// That a later copy is too large for the server says nothing of the first one.
func TestFaultTooLargeAfterLost(t *testing.T) {
	st := newStage(t)
	w := &wire{}
	s := st.open(t, w, nil)
	warm(t, s)
	n := 0
	w.set(func(_ int, r *rpc, deliver func() error) error {
		if r.method != "Txn" || !puts(asTxn(r.req), "/running/") {
			return deliver()
		}
		if n++; n == 1 {
			_ = deliver()
			return status.Error(codes.Unavailable, "the answer is lost")
		}
		return status.Error(codes.InvalidArgument, "etcdserver: request is too large")
	})
	_, won, err := s.Claim(t.Context(), claimOf(freshID(), 0))
	w.set(nil)
	if won || errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrNotWritten) || !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("got won %t, %v; want ErrUnavailable alone: the claim stands", won, err)
	}
}

func asTxn(req any) *pb.TxnRequest {
	txn, _ := req.(*pb.TxnRequest)
	return txn
}

func writes(r *pb.TxnRequest) bool {
	return slices.ContainsFunc(r.GetSuccess(), func(op *pb.RequestOp) bool { return op.GetRequestRange() == nil })
}
