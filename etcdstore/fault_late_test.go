package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// A journal is kept by a tool: one entry for each effect.
type journal struct {
	mu      sync.Mutex
	entries []ledger.ClaimInfo
}

func (j *journal) tool(ctx context.Context) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	claim, _ := ledger.ClaimFrom(ctx)
	j.entries = append(j.entries, claim)
	return fmt.Sprint("receipt ", len(j.entries)), nil
}

func (j *journal) effects() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

func newGuard(t testing.TB, s ledger.Store, o ledger.Options) *ledger.Guard {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	g, err := ledger.New(s, &o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func closeGuard(t testing.TB, g *ledger.Guard) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Errorf("close the guard: %v", err)
	}
}

var replay = ledger.Options{Default: ledger.Policy{Replay: true}}

// TestFaultLostMessagesOfACall loses each message of a guarded call.
func TestFaultLostMessagesOfACall(t *testing.T) {
	st := newStage(t)
	call := ledger.Call{Tool: "charge_card", Workflow: "order-42"}
	plays := map[string]func(t testing.TB, g *ledger.Guard, call ledger.Call, j *journal){
		"do": func(t testing.TB, g *ledger.Guard, call ledger.Call, j *journal) {
			for n := range 2 {
				res, err := ledger.Do(t.Context(), g, call, j.tool)
				if err != nil || res.Value != "receipt 1" || res.Replayed != (n == 1) || j.effects() != 1 {
					t.Fatalf("call %d: %+v, %v, %d effects", n, res, err, j.effects())
				}
			}
		},
		"do again after a failure": func(t testing.TB, g *ledger.Guard, call ledger.Call, j *journal) {
			tries := 0
			res, err := ledger.Do(t.Context(), g, call, func(ctx context.Context) (string, error) {
				if tries++; tries == 1 {
					return "", ledger.NotDone(errors.New("declined"))
				}
				return j.tool(ctx)
			})
			if err != nil || res.Value != "receipt 1" || j.effects() != 1 || tries != 2 || res.Record.Attempt != 2 {
				t.Fatalf("%+v, %v, %d effects, %d tries", res, err, j.effects(), tries)
			}
		},
		"force": func(t testing.TB, g *ledger.Guard, call ledger.Call, j *journal) {
			if _, err := ledger.Do(t.Context(), g, call, j.tool); err != nil {
				t.Fatal(err)
			}
			res, err := ledger.Force(t.Context(), g, call, j.tool)
			if err != nil || res.Value != "receipt 2" || j.effects() != 2 || j.entries[0].Token == j.entries[1].Token {
				t.Fatalf("%+v, %v, journal %+v", res, err, j.entries)
			}
		},
		"retry": func(t testing.TB, g *ledger.Guard, call ledger.Call, j *journal) {
			for n := range 2 {
				res, err := ledger.Do(t.Context(), g, call, j.tool)
				if err != nil || res.Value != fmt.Sprint("receipt ", n+1) || j.effects() != n+1 {
					t.Fatalf("call %d: %+v, %v, %d effects", n, res, err, j.effects())
				}
				if n == 0 {
					if err := g.Retry(t.Context(), call); err != nil {
						t.Fatal(err)
					}
				}
			}
		},
	}
	for name, play := range plays {
		t.Run(name, func(t *testing.T) {
			run := func(name string, do fate) (requests int) {
				t.Run(name, func(t *testing.T) {
					var w wire
					s := st.open(t, &w, nil)
					opts := replay
					opts.Default.Backoff = func() ledger.Backoff { return backoff.NewConstantBackOff(time.Millisecond) }
					g := newGuard(t, s, opts)
					var j journal
					call := call
					call.Key = freshID().Fingerprint
					id, err := g.ID(t.Context(), call)
					if err != nil {
						t.Fatal(err)
					}
					w.set(do)
					play(t, g, call, &j)
					closeGuard(t, g)
					if err := s.Close(); err != nil {
						t.Errorf("close: %v", err)
					}
					requests = w.requests()
					r, err := st.rival.Get(t.Context(), id)
					last := j.entries[len(j.entries)-1]
					if err != nil || r.State != ledger.StateSucceeded || r.Fence != last.Fence || r.Token != last.Token || r.Takeovers != 0 {
						t.Errorf("the record is %+v, %v; want the success of %+v", r, err, last)
					}
				})
				return requests
			}
			for _, code := range answerNames(name == "do") {
				for kind, do := range map[string]fate{"answer": loseAnswer(ambiguousAnswers[code]), "request": loseRequest(ambiguousAnswers[code])} {
					for n := 0; !t.Failed() && run(fmt.Sprintf("%s %s %d", kind, code, n), only(n, do)) > n; n++ {
					}
				}
			}
			for n := 0; !t.Failed() && run(fmt.Sprintf("twice %d", n), only(n, twice)) > n; n++ {
			}
		})
	}
}

// TestFaultLateClaim holds a copy of a claim back, lets the call be claimed
// again, finished and deleted, and only then delivers the copy. It must not
// land: there would be a running record of a worker that lives and does not run it.
//
// Each case is also played with claims that do not compare with the session's
// key, to show that it would find them out.
func TestFaultLateClaim(t *testing.T) {
	st := newStage(t)
	cases := map[string]func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID{
		"settled by the caller": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			id := freshID()
			w.set(w.holding("/records/"))
			finishAndDelete(t, s, mustClaim(t, s, claimOf(id, 0)))
			return id
		},
		"settled by the caller, after a while under the same session": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			finishAndDelete(t, s, mustClaim(t, s, claimOf(freshID(), 0))) // the session is there
			id := freshID()
			w.set(w.holding("/records/"))
			finishAndDelete(t, s, mustClaim(t, s, claimOf(id, 0)))
			finishAndDelete(t, s, mustClaim(t, s, claimOf(freshID(), 0)))
			return id
		},
		"in a nested transaction": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			known := []ledger.ID{freshID(), freshID(), freshID(), freshID()}
			id := known[0]
			for _, hot := range known { // what was refused before goes nested
				other := mustClaim(t, st.rival, claimOf(hot, 0))
				mustRefuse(t, s, claimOf(hot, 0), other)
			}
			r, err := st.rival.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			finishAndDelete(t, st.rival, r)
			etcdstore.OneAtATime(s)
			release := w.gather(s, len(known), w.holding(id.Fingerprint))
			var group sync.WaitGroup
			group.Go(release)
			for _, hot := range known[1:] {
				group.Go(func() {
					if _, won, err := s.Claim(t.Context(), claimOf(hot, 0)); won || err != nil {
						t.Errorf("claim of %s: won %v, %v", hot, won, err)
					}
				})
			}
			r = mustClaim(t, s, claimOf(id, 0))
			group.Wait()
			if held := w.heldBack(); len(held) != 1 || len(held[0].Success) < 2 || held[0].Success[0].GetRequestTxn() == nil {
				t.Errorf("held back: %v; want one nested transaction of several claims", held)
			}
			finishAndDelete(t, s, r)
			return id
		},
		"of a stored record": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			// Here the version alone keeps the copy out.
			id := freshID()
			r := mustClaim(t, s, claimOf(id, 0))
			mustFinish(t, s, retryable(r))
			stands, err := s.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			w.set(w.holding("/records/"))
			finishAndDelete(t, s, mustClaim(t, s, claimOf(id, stands.Version)))
			return id
		},
		"given up, and settled by the guard": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			return giveUp(t, s, w, func(ledger.Call) {})
		},
		"given up, run by another, and settled by the guard": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			return giveUp(t, s, w, func(call ledger.Call) {
				g, j := newGuard(t, st.rival, replay), &journal{}
				if _, err := ledger.Do(t.Context(), g, call, j.tool); err != nil || j.effects() != 1 {
					t.Errorf("the other worker's call: %v, %d effects", err, j.effects())
				}
				if err := g.Retry(t.Context(), call); err != nil {
					t.Error(err)
				}
				closeGuard(t, g)
			})
		},
		"under a session that was lost": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			id := freshID()
			w.set(w.holding("/records/"))
			w.afterHold(func() { etcdstore.LoseSessions(s) })
			finishAndDelete(t, s, mustClaim(t, s, claimOf(id, 0)))
			return id
		},
		"given up, under a session that was lost": func(t *testing.T, s *etcdstore.Store, w *wire) ledger.ID {
			return giveUp(t, s, w, func(ledger.Call) { etcdstore.LoseSessions(s) })
		},
	}
	for name, play := range cases {
		for _, naive := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, naive %v", name, naive), func(t *testing.T) {
				var w wire
				s := st.open(t, &w, nil)
				if naive {
					w.edit = unfenced
				}
				id := play(t, s, &w)
				w.set(nil)
				if left := st.leftovers(t, id); len(left) > 0 {
					t.Fatalf("%q are left before the late copy comes", left)
				}
				landed, left := w.deliver(t, st.client, id), st.leftovers(t, id)
				if want := naive && name != "of a stored record"; landed != want || len(left) > 0 != want {
					t.Errorf("the late copy landed: %v, left %q; want %v", landed, left, want)
				}
				if naive {
					return
				}
				mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(id, 0)))) // the call can run
			})
		}
	}
}

// TestFaultClaimOfALostSession: the claim landed, its answer was lost, and so is
// the session before it is asked for again. The tool does not run under a lease
// that nobody renews, and the call is free again.
func TestFaultClaimOfALostSession(t *testing.T) {
	st := newStage(t)
	var w wire
	s := st.open(t, &w, nil)
	g, j := newGuard(t, s, replay), &journal{}
	call := ledger.Call{Tool: "charge_card", Key: "k"}
	id, err := g.ID(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	lost := false
	w.set(func(_ int, r *rpc, deliver func() error) error {
		err := deliver()
		if txn, ok := r.req.(*pb.TxnRequest); ok && !lost && puts(txn, "/records/") {
			lost = true
			etcdstore.LoseSessions(s)
			return ambiguousAnswers["unavailable"]
		}
		return err
	})
	_, err = ledger.Do(t.Context(), g, call, j.tool)
	if !errors.Is(err, ledger.ErrLeaseLost) || j.effects() != 0 {
		t.Errorf("the call: %v, %d effects; want ErrLeaseLost, and none", err, j.effects())
	}
	if left := st.leftovers(t, id); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	if _, err = ledger.Do(t.Context(), g, call, j.tool); err != nil || j.effects() != 1 {
		t.Errorf("the next call: %v, %d effects", err, j.effects())
	}
	closeGuard(t, g)
}

func finishAndDelete(t testing.TB, s ledger.Store, r ledger.Record) {
	t.Helper()
	mustFinish(t, s, sampleDone(r))
	stands, err := s.Get(t.Context(), r.ID)
	if err == nil {
		err = s.Delete(t.Context(), r.ID, stands.Version)
	}
	if err != nil && !errors.Is(err, ledger.ErrNotFound) { // it may have been sent twice
		t.Fatal(err)
	}
}

// giveUp makes a call whose claim is held back, and whose caller walks away
// then; meanwhile happens before the guard settles the claim.
func giveUp(t *testing.T, s *etcdstore.Store, w *wire, meanwhile func(ledger.Call)) ledger.ID {
	t.Helper()
	g, j := newGuard(t, s, replay), &journal{}
	call := ledger.Call{Tool: "charge_card", Key: freshID().Fingerprint}
	id, err := g.ID(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	ctx, walkAway := context.WithCancel(t.Context())
	w.set(w.holding("/records/"))
	w.afterHold(func() { meanwhile(call); walkAway() })
	defer walkAway()
	if _, err := ledger.Do(ctx, g, call, j.tool); !errors.Is(err, context.Canceled) || j.effects() != 0 {
		t.Fatalf("the call that was given up: %v, %d effects", err, j.effects())
	}
	closeGuard(t, g) // settles it
	return id
}
