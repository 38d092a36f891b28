package etcdstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// An outcome is what became of one of the claims that were sent together.
type outcome struct {
	record ledger.Record
	won    bool
	err    error
}

// together sends claims that share as few requests as can be. They get the fate.
func together(t testing.TB, s *etcdstore.Store, w *wire, do fate, claims ...ledger.Claim) []outcome {
	t.Helper()
	if do == nil {
		do = func(_ int, _ *rpc, deliver func() error) error { return deliver() }
	}
	etcdstore.OneAtATime(s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	release := w.gather(s, len(claims), do)
	out := make([]outcome, len(claims))
	var group sync.WaitGroup
	group.Go(release)
	for i, c := range claims {
		group.Go(func() {
			o := &out[i]
			o.record, o.won, o.err = s.Claim(ctx, c)
		})
	}
	group.Wait()
	w.set(nil)
	return out
}

func freshClaims(n int) []ledger.Claim {
	var all []ledger.Claim
	for range n {
		all = append(all, claimOf(freshID(), 0))
	}
	return all
}

func withArgs(c ledger.Claim, size int) ledger.Claim {
	c.Next.Args = bytes.Repeat([]byte("x"), size)
	return c
}

// wantWon checks that all of these won, and finishes them.
func wantWon(t testing.TB, s *etcdstore.Store, all ...outcome) {
	t.Helper()
	var group sync.WaitGroup
	for i, o := range all {
		if o.err != nil || !o.won {
			t.Errorf("claim %d of %d: won %v, %v", i, len(all), o.won, o.err)
			continue
		}
		group.Go(func() {
			if err := s.Finish(t.Context(), sampleDone(o.record)); err != nil {
				t.Errorf("finish %d: %v", i, err)
			}
		})
	}
	group.Wait()
}

// open opens a session, so that what is sent next is claims.
func warm(t testing.TB, s *etcdstore.Store) {
	t.Helper()
	finishAndDelete(t, s, mustClaim(t, s, claimOf(freshID(), 0)))
}

func startServer(t testing.TB, change func(o *embedded.Options)) *embedded.Server {
	t.Helper()
	o := fast()
	if change != nil {
		change(o)
	}
	server, err := embedded.Start(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func stageOn(t testing.TB, endpoints []string) *stage {
	return &stage{endpoints: endpoints, prefix: "faults"}
}

// wantError checks an error's kind, and that its text says these things.
func wantError(t testing.TB, err error, kinds []error, texts ...string) {
	t.Helper()
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			t.Errorf("error %v; want one that matches %q", err, kind)
		}
	}
	for _, text := range texts {
		if err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("error %q; want it to say %q", err, text)
		}
	}
}

// One claim that can not be written does not fail those that it is sent with.
func TestFaultTooLarge(t *testing.T) {
	server := startServer(t, func(o *embedded.Options) { o.MaxRequestBytes = 64 << 10 })
	var w wire
	s := stageOn(t, server.Endpoints()).open(t, &w, nil)
	warm(t, s)
	tooLarge := []error{ledger.ErrInvalid, ledger.ErrNotWritten}
	t.Run("one of many", func(t *testing.T) {
		out := together(t, s, &w, nil, append(freshClaims(20), withArgs(claimOf(freshID(), 0), 100<<10))...)
		wantWon(t, s, out[:20]...)
		wantError(t, out[20].err, tooLarge, "--max-request-bytes")
	})
	t.Run("alone, and larger than a message", func(t *testing.T) {
		for _, size := range []int{100 << 10, 900 << 10} {
			_, _, err := s.Claim(t.Context(), withArgs(claimOf(freshID(), 0), size))
			wantError(t, err, tooLarge, "--max-request-bytes")
		}
	})
	t.Run("only together", func(t *testing.T) {
		var claims []ledger.Claim
		for _, c := range freshClaims(16) {
			claims = append(claims, withArgs(c, 50<<10))
		}
		out := together(t, s, &w, nil, claims...)
		wantWon(t, s, out...)
	})
	t.Run("and small ones share again", func(t *testing.T) {
		requests := 0
		out := together(t, s, &w, func(_ int, _ *rpc, deliver func() error) error { requests++; return deliver() }, freshClaims(20)...)
		wantWon(t, s, out...)
		if requests > 3 {
			t.Errorf("20 claims took %d requests after larger ones were refused; want 1, or some more", requests)
		}
	})
	t.Run("a finish", func(t *testing.T) {
		r := mustClaim(t, s, claimOf(freshID(), 0))
		done := sampleDone(r)
		done.Result = bytes.Repeat([]byte("x"), 100<<10)
		wantError(t, s.Finish(t.Context(), done), tooLarge, "--max-request-bytes")
		mustFinish(t, s, sampleDone(r)) // the claim is still held
	})
}

func TestFaultFewOperations(t *testing.T) {
	for _, most := range []uint{4, 10, 100} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			server := startServer(t, func(o *embedded.Options) { o.MaxTxnOps = most })
			var w wire
			s := stageOn(t, server.Endpoints()).open(t, &w, nil)
			warm(t, s)
			out := together(t, s, &w, nil, freshClaims(60)...)
			wantWon(t, s, out...)
			for _, o := range out[:3] {
				if err := s.Tally(t.Context(), []ledger.Tally{{ID: o.record.ID, Attempts: 1}}); err != nil {
					t.Error(err)
				}
				r, err := s.Get(t.Context(), o.record.ID)
				if err == nil {
					err = s.Delete(t.Context(), r.ID, r.Version)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A call that many ask for does not slow those beside it down for long.
func TestFaultHotCall(t *testing.T) {
	server := startServer(t, nil)
	st := stageOn(t, server.Endpoints())
	var w wire
	s, rival := st.open(t, &w, nil), st.open(t, nil, nil)
	warm(t, s)
	hot := freshID()
	stands := mustClaim(t, rival, claimOf(hot, 0))
	for round := range 3 {
		var mu sync.Mutex
		failed, flat := 0, 0
		watch := func(_ int, r *rpc, deliver func() error) error {
			txn, ok := r.req.(*pb.TxnRequest)
			if ok && len(txn.Compare) > 4 && len(txn.Failure) == 0 {
				mu.Lock()
				flat++
				if puts(txn, hot.Fingerprint) {
					failed++
				}
				mu.Unlock()
			}
			return deliver()
		}
		claims := append(freshClaims(20), claimOf(hot, 0))
		out := together(t, s, &w, watch, claims...)
		wantWon(t, s, out[:20]...)
		if o := out[20]; o.err != nil || o.won || o.record.Version != stands.Version {
			t.Errorf("the hot one: won %v, %+v, %v", o.won, o.record, o.err)
		}
		if want := map[bool]int{true: 1, false: 0}[round == 0]; failed > want || flat == 0 {
			t.Errorf("round %d: of %d flat transactions %d had the hot call in it; want %d", round, flat, failed, want)
		}
	}
}

func TestFaultSameCallTwice(t *testing.T) {
	server := startServer(t, nil)
	var w wire
	s := stageOn(t, server.Endpoints()).open(t, &w, nil)
	warm(t, s)
	id := freshID()
	claims := append([]ledger.Claim{claimOf(id, 0), claimOf(id, 0)}, freshClaims(10)...)
	out := together(t, s, &w, nil, claims...)
	wantWon(t, s, out[2:]...)
	winner, loser := out[0], out[1]
	if loser.won {
		winner, loser = loser, winner
	}
	wantWon(t, s, winner)
	if loser.err != nil || loser.won || loser.record.Nonce != winner.record.Nonce {
		t.Errorf("the second: won %v, %+v, %v; want the record of the first", loser.won, loser.record, loser.err)
	}
	var group sync.WaitGroup
	for range 8 { // finishes of one claim, at the same time
		group.Go(func() {
			done := sampleDone(winner.record)
			done.Finished = done.Started
			if err := s.Finish(t.Context(), done); err != nil && !errors.Is(err, ledger.ErrFenced) {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// The leases of what several keys share can be revoked, too.
func TestFaultLeasesGone(t *testing.T) {
	server := startServer(t, nil)
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var w wire
	s := stageOn(t, server.Endpoints()).open(t, &w, &etcdstore.Options{Retention: time.Hour})
	revokeAll := func(t *testing.T, keepSessions bool) {
		t.Helper()
		leases, err := client.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases.Leases {
			ttl, err := client.TimeToLive(t.Context(), l.ID)
			if err == nil && (!keepSessions || ttl.GrantedTTL > 30) {
				_, err = client.Revoke(t.Context(), l.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	stored := func(t *testing.T) ledger.Record {
		t.Helper()
		r := mustClaim(t, s, claimOf(freshID(), 0))
		mustFinish(t, s, retryable(r))
		stands, err := s.Get(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		return stands
	}
	forget := stored(t)
	mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(forget.ID, forget.Version)))) // there is a lease of each kind
	t.Run("delete", func(t *testing.T) {
		r := stored(t)
		revokeAll(t, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Delete(ctx, r.ID, r.Version); err != nil {
			t.Error(err)
		}
	})
	t.Run("delete of a counter", func(t *testing.T) {
		id := freshID()
		id.Fingerprint = ""
		if err := s.Tally(t.Context(), []ledger.Tally{{ID: id, Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
		revokeAll(t, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Delete(ctx, id, 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("finish", func(t *testing.T) {
		r := mustClaim(t, s, claimOf(freshID(), 0))
		revokeAll(t, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Finish(ctx, sampleDone(r)); err != nil {
			t.Error(err)
		}
	})
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprint("claims, session stays ", keep), func(t *testing.T) {
			claims := freshClaims(10)
			for range 5 {
				r := stored(t)
				claims = append(claims, claimOf(r.ID, r.Version))
			}
			revokeAll(t, keep)
			etcdstore.OneAtATime(s)
			out := make([]outcome, len(claims))
			var group sync.WaitGroup
			for i, c := range claims {
				group.Go(func() { out[i].record, out[i].won, out[i].err = s.Claim(t.Context(), c) })
			}
			group.Wait()
			wantWon(t, s, out...)
			leases, err := client.Leases(t.Context())
			if err != nil || len(leases.Leases) > 6 {
				t.Errorf("%d leases, %v; want one of each kind, or some more", len(leases.Leases), err)
			}
		})
	}
}

// The caller walks away before its claim is sent, and after.
func TestFaultImpatientCallers(t *testing.T) {
	server := startServer(t, nil)
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var w wire
	st := &stage{endpoints: server.Endpoints(), prefix: "faults", client: client}
	s := st.open(t, &w, nil)
	warm(t, s)
	etcdstore.OneAtATime(s)
	before, afterwards := claimOf(freshID(), 0), claimOf(freshID(), 0)
	ctx, walkAway := context.WithCancel(t.Context())
	sent, carryOn := make(chan struct{}), make(chan struct{})
	var group, landed sync.WaitGroup
	w.set(only(0, func(_ int, r *rpc, deliver func() error) error {
		close(sent)
		select {
		case <-carryOn:
			return deliver()
		case <-r.ctx.Done(): // it is on its way all the same
			landed.Go(func() {
				<-carryOn
				_ = r.again()
			})
			return status.FromContextError(r.ctx.Err()).Err()
		}
	}))
	group.Go(func() {
		_, _, err := s.Claim(ctx, afterwards)
		wantError(t, err, []error{ledger.ErrUnavailable, context.Canceled})
		if errors.Is(err, ledger.ErrNotWritten) {
			t.Errorf("%v; but it was sent", err)
		}
	})
	<-sent
	waits, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, _, err := s.Claim(waits, before)
		left <- err
	}()
	for etcdstore.Queued(s) == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	wantError(t, <-left, []error{ledger.ErrUnavailable, context.Canceled, ledger.ErrNotWritten})
	walkAway()
	group.Wait()
	close(carryOn)
	landed.Wait()
	// The one that was sent is settled by sending it again.
	r, won, err := s.Claim(t.Context(), afterwards)
	if err != nil || !won {
		t.Fatalf("the claim again: won %v, %v", won, err)
	}
	mustFinish(t, s, sampleDone(r))
	if left := st.leftovers(t, before.Next.ID); len(left) > 0 {
		t.Errorf("%q are left of a claim that was not sent", left)
	}
	_, _, err = s.Claim(ctx, claimOf(freshID(), 0))
	wantError(t, err, []error{context.Canceled, ledger.ErrNotWritten})
}

func TestFaultCloseWhileInFlight(t *testing.T) {
	server := startServer(t, nil)
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	st := &stage{endpoints: server.Endpoints(), prefix: "faults", client: client}
	for name, do := range map[string]fate{
		"slow":   delay(10 * time.Millisecond),
		"lost":   loseAnswer(ambiguousAnswers["unavailable"]),
		"frozen": func(_ int, r *rpc, _ func() error) error { <-r.ctx.Done(); return r.ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			var w wire
			timeout := 10 * time.Second
			if name == "frozen" {
				timeout = 500 * time.Millisecond
			}
			s := st.open(t, &w, &etcdstore.Options{RequestTimeout: timeout})
			warm(t, s)
			w.set(do)
			out := make([]outcome, 50)
			var group, begun sync.WaitGroup
			for i := range out {
				begun.Add(1)
				group.Go(func() {
					begun.Done()
					out[i].record, out[i].won, out[i].err = s.Claim(t.Context(), claimOf(freshID(), 0))
				})
			}
			begun.Wait()
			start := time.Now()
			err := s.Close()
			took := time.Since(start)
			if name != "frozen" && err != nil || took > 20*time.Second {
				t.Errorf("close: %v, after %v", err, took)
			}
			if name == "frozen" {
				wantError(t, err, []error{ledger.ErrUnavailable}, "lease could not be given back")
			}
			group.Wait()
			for _, o := range out {
				if o.err != nil && !errors.Is(o.err, ledger.ErrClosed) && !errors.Is(o.err, ledger.ErrUnavailable) || o.err == nil && !o.won {
					t.Errorf("claim: won %v, %v", o.won, o.err)
				}
			}
			_, _, err = s.Claim(t.Context(), claimOf(freshID(), 0))
			wantError(t, err, []error{ledger.ErrClosed})
			r, err := client.Get(t.Context(), "faults/running/", clientv3.WithPrefix())
			if err != nil || r.Count > 0 && name != "frozen" {
				t.Errorf("%d running keys are left, %v", r.Count, err)
			}
		})
	}
}
