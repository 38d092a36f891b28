package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestFaultQuota fills the database while a call runs.
func TestFaultQuota(t *testing.T) {
	server := startServer(t, func(o *embedded.Options) { o.QuotaBytes = 4 << 20; o.History = -1 })
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	st := &stage{endpoints: server.Endpoints(), prefix: "faults", client: client}
	s := st.open(t, nil, nil)
	opts := replay
	opts.StoreTimeout = 500 * time.Millisecond
	g, j := newGuard(t, s, opts), &journal{}
	ctx := t.Context()
	call := ledger.Call{Tool: "charge_card", Key: "runs"}
	id, err := g.ID(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	var res ledger.Result[string]
	until(t, "the call runs", func() bool { // unless the disk takes longer than StoreTimeout
		res, err = ledger.Do(ctx, g, call, func(ctx context.Context) (string, error) {
			var err error
			for i := 0; ctx.Err() == nil && !errors.Is(err, rpctypes.ErrNoSpace); i++ {
				_, err = client.Put(ctx, fmt.Sprint("fill/", i), strings.Repeat("x", 256<<10))
			}
			return j.tool(ctx)
		})
		return j.effects() > 0 || !errors.Is(err, ledger.ErrUnavailable)
	})
	if !errors.Is(err, ledger.ErrUnrecorded) || errors.Is(err, ledger.ErrUnavailable) || res.Value != "receipt 1" {
		t.Errorf("the running call: %+v, %v; want its value, and ErrUnrecorded", res, err)
	}
	if res, err := ledger.Do(ctx, g, call, j.tool); err != nil || !res.Replayed || res.Value != "receipt 1" {
		t.Errorf("its duplicate: %+v, %v; want the outcome that is kept", res, err)
	}
	fresh := ledger.Call{Tool: "charge_card", Key: "fresh"}
	const why = "the cluster's quota is used up"
	until(t, "another call is refused", func() bool {
		_, err = ledger.Do(ctx, g, fresh, j.tool)
		return err == nil || strings.Contains(err.Error(), why)
	})
	wantError(t, err, []error{ledger.ErrUnavailable}, why, "defragment")
	if j.effects() != 1 {
		t.Errorf("%d effects; want those of the first call only", j.effects())
	}
	// The operator makes space, as docs/operations.md says.
	if _, err = client.Delete(ctx, "fill/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	r, err := client.Get(ctx, "x")
	if err == nil {
		_, err = client.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err == nil {
		_, err = client.Defragment(ctx, server.Endpoints()[0])
	}
	if err == nil {
		_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the outcome was recorded by itself", func() bool {
		r, err := s.Get(ctx, id)
		return err == nil && r.State == ledger.StateSucceeded
	})
	until(t, "the refused call runs", func() bool {
		_, err := ledger.Do(ctx, g, fresh, j.tool)
		return err == nil
	})
	if j.effects() != 2 {
		t.Errorf("the refused call, again: %d effects", j.effects())
	}
	closeGuard(t, g)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, key := range st.leftovers(t, id) {
		if strings.Contains(key, "/running/") {
			t.Errorf("%q is left", key)
		}
	}
}

// TestFaultMembers takes members away: one, then the majority, while a call runs.
func TestFaultMembers(t *testing.T) {
	c := cluster(t, 3)
	ctx := t.Context()
	st := &stage{endpoints: c.Endpoints(), prefix: "faults"}
	s := st.open(t, nil, &etcdstore.Options{TTL: 3 * time.Second, RequestTimeout: time.Second})
	opts := replay
	opts.StoreTimeout = 1500 * time.Millisecond
	g, j := newGuard(t, s, opts), &journal{}
	do := func(key string) error {
		_, err := ledger.Do(ctx, g, ledger.Call{Tool: "charge_card", Key: key}, j.tool)
		return err
	}
	leading := func() (leader int) {
		until(t, "a member leads", func() bool { leader = c.Leader(); return leader >= 0 })
		return leader
	}
	until(t, "calls run", func() bool { return do("before") == nil })
	first := leading()
	for _, which := range []int{first, (first + 1) % 3} {
		c.Kill(which)
		until(t, "calls run again", func() bool {
			err := do(fmt.Sprint("without ", which))
			return err == nil || errors.Is(err, ledger.ErrDuplicate)
		})
		if err := c.Restart(ctx, which); err != nil {
			t.Fatal(err)
		}
	}
	effects := j.effects()
	running := ledger.Call{Tool: "charge_card", Key: "running"}
	id, err := g.ID(ctx, running)
	if err != nil {
		t.Fatal(err)
	}
	leader := leading()
	lost := []int{leader, (leader + 1) % 3}
	var cause error
	var res ledger.Result[string]
	runs := func(ctx context.Context) (string, error) {
		c.Kill(lost...)
		start := time.Now()
		if err := do("in the dark"); !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("a call without a majority: %v, want ErrUnavailable", err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("that took %v; want about StoreTimeout, 1.5s", took)
		}
		<-ctx.Done() // the lease can not be renewed
		cause = context.Cause(ctx)
		return j.tool(ctx)
	}
	until(t, "the call runs", func() bool {
		res, err = ledger.Do(ctx, g, running, runs)
		return cause != nil || !errors.Is(err, ledger.ErrUnavailable)
	})
	if !errors.Is(cause, ledger.ErrLeaseLost) {
		t.Errorf("the running tool's context ended with %v, want ErrLeaseLost", cause)
	}
	if !errors.Is(err, ledger.ErrUnrecorded) || res.Value == "" {
		t.Errorf("the running call: %+v, %v; want its value, and ErrUnrecorded", res, err)
	}
	if n := j.effects(); n != effects+1 {
		t.Errorf("%d effects, want %d: none in the dark", n, effects+1)
	}
	if err := c.Restart(ctx, lost...); err != nil {
		t.Fatal(err)
	}
	until(t, "the outcome was recorded by itself", func() bool {
		r, err := s.Get(ctx, id)
		return err == nil && r.State == ledger.StateSucceeded
	})
	until(t, "the call in the dark runs", func() bool { return do("in the dark") == nil })
	if n := j.effects(); n != effects+2 {
		t.Errorf("%d effects, want %d", n, effects+2)
	}
	closeGuard(t, g)
}

// TestFaultRevokedLease has an operator revoke a worker's lease while its tool runs.
func TestFaultRevokedLease(t *testing.T) {
	st := newStage(t)
	s := st.open(t, nil, &etcdstore.Options{TTL: time.Minute}) // a renewal would tell after 15 s
	g := newGuard(t, s, replay)
	rival, other := newGuard(t, st.rival, replay), &journal{}
	for _, robbed := range []bool{false, true} {
		call := ledger.Call{Tool: "charge_card", Key: fmt.Sprint("robbed ", robbed)}
		id, err := g.ID(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		var session string
		res, err := ledger.Do(t.Context(), g, call, func(ctx context.Context) (string, error) {
			r, err := s.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			session = r.Owner.Session
			start := time.Now()
			revokeSession(t, st.client, session)
			<-ctx.Done()
			if took = time.Since(start); !errors.Is(context.Cause(ctx), ledger.ErrLeaseLost) {
				t.Errorf("the tool's context ended with %v, want ErrLeaseLost", context.Cause(ctx))
			}
			if robbed {
				if _, err := ledger.Do(t.Context(), rival, call, other.tool); err != nil {
					t.Errorf("the other worker: %v", err)
				}
			}
			return "mine", nil
		})
		if took > 10*time.Second {
			t.Errorf("the tool was told after %v; want milliseconds", took)
		}
		r, getErr := s.Get(t.Context(), id)
		if getErr != nil || r.State != ledger.StateSucceeded || r.Alive {
			t.Errorf("the record: %+v, %v", r, getErr)
		}
		if robbed {
			if !errors.Is(err, ledger.ErrFenced) || !errors.Is(err, ledger.ErrUnrecorded) || res.Value != "mine" || r.Takeovers != 1 || string(r.Result) != `"receipt 1"` {
				t.Errorf("the robbed call: %+v, %v; record %+v", res, err, r)
			}
		} else if err != nil || string(r.Result) != `"mine"` || r.Takeovers != 0 {
			t.Errorf("the call: %+v, %v; record %+v; want it recorded", res, err, r)
		}
		next := mustClaim(t, s, claimOf(freshID(), 0))
		if next.Owner.Session == session {
			t.Error("the next claim has the session that was lost")
		}
		mustFinish(t, s, sampleDone(next))
	}
	closeGuard(t, g)
	closeGuard(t, rival)
}

// TestFaultStrangeKeys puts keys below the prefix that this program has not written, or not like that.
func TestFaultStrangeKeys(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	var w wire
	s := st.open(t, &w, nil)
	warm(t, s)
	put := func(t *testing.T, key, value string) {
		t.Helper()
		if _, err := st.client.Put(ctx, st.prefix+"/"+key, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = st.client.Delete(context.Background(), st.prefix+"/"+key) })
	}
	list := func() (n int, err error) {
		for _, e := range s.List(ctx, ledger.Filter{}) {
			if n++; e != nil {
				return n, e
			}
		}
		return n, nil
	}
	for name, value := range map[string]string{
		"newer":  `{"v":99,"state":"levitating","claims":[1]}`,
		"not us": `hello`, "JSON": `{"hello":1}`, "empty": ``, "no object": `[1]`,
	} {
		t.Run("record "+name, func(t *testing.T) {
			id := freshID()
			put(t, "records/"+id.String(), value)
			text := "give ledger one of its own"
			if name == "newer" {
				text = "upgrade this program"
			}
			kinds := []error{ledger.ErrUnavailable}
			_, err := s.Get(ctx, id)
			wantError(t, err, kinds, id.String(), text)
			_, err = list()
			wantError(t, err, kinds, id.String(), text)
			out := together(t, s, &w, nil, append(freshClaims(5), claimOf(id, 0))...)
			wantError(t, out[5].err, kinds, id.String(), text)
			wantWon(t, s, out[:5]...)
			g, j := newGuard(t, s, replay), &journal{}
			_, err = ledger.Do(ctx, g, ledger.Call{Tool: "charge_card"}, j.tool)
			if err != nil || j.effects() != 1 {
				t.Errorf("a call beside it: %v", err)
			}
			if err := g.Retry(ctx, ledger.Call{Tool: "charge_card"}); err != nil {
				t.Error(err)
			}
			closeGuard(t, g)
		})
	}
	for _, kind := range []string{"records", "counters"} {
		t.Run(kind+" without an ID", func(t *testing.T) {
			put(t, kind+"/hello", "world")
			_, err := list()
			wantError(t, err, []error{ledger.ErrUnavailable}, "hello", "give ledger one of its own")
		})
	}
	t.Run("running without an ID", func(t *testing.T) {
		put(t, "running/hello", "world")
		if _, err := list(); err != nil {
			t.Error(err)
		}
	})
	t.Run("running without a record", func(t *testing.T) {
		id := freshID()
		put(t, "running/"+id.String(), "someone")
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, won, err := s.Claim(short, claimOf(id, 0))
		wantError(t, err, []error{ledger.ErrUnavailable, ledger.ErrNotWritten}, "running/"+id.String(), "etcdctl del")
		if won || short.Err() != nil {
			t.Errorf("won %v, after %v", won, short.Err())
		}
	})
	t.Run("a record that was deleted by hand", func(t *testing.T) {
		r := mustClaim(t, s, claimOf(freshID(), 0))
		if _, err := st.client.Delete(ctx, st.prefix+"/records/"+r.ID.String()); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(ctx, sampleDone(r)); !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("finish: %v, want ErrFenced", err)
		}
		mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(r.ID, 0)))) // it is free again
	})
	t.Run("sessions", func(t *testing.T) {
		put(t, "sessions/hello", "world")
		put(t, "sessions/newer", `{"v":99,"host":"h"}`)
		all, err := s.Sessions(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, x := range all {
			if x.ID == "hello" || x.ID == "newer" {
				t.Errorf("%+v is listed; no lease holds it", x)
			}
		}
	})
	t.Run("tallies", func(t *testing.T) {
		r := mustClaim(t, s, claimOf(freshID(), 0))
		mustFinish(t, s, sampleDone(r))
		key := fmt.Sprintf("tallies/%s/%d/", r.ID, r.Version)
		put(t, "tallies/"+r.ID.String()+"/hello", "not of this record, so not read")
		if _, err := s.Get(ctx, r.ID); err != nil {
			t.Error(err)
		}
		put(t, key+"hello", "world")
		_, err := s.Get(ctx, r.ID)
		wantError(t, err, []error{ledger.ErrUnavailable}, key+"hello", "give ledger one of its own")
		put(t, key+"hello", `{"v":2}`)
		_, err = s.Get(ctx, r.ID)
		wantError(t, err, []error{ledger.ErrUnavailable}, key+"hello", "upgrade this program")
	})
	t.Run("changes", func(t *testing.T) {
		watchCtx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		syncs := 0
		for c, err := range s.Watch(watchCtx, ledger.WatchOptions{Notices: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Kind == ledger.ChangeSync {
				if syncs++; syncs == 2 {
					break // what is not understood may be anything
				}
				put(t, "changes/hello", "world")
			}
		}
	})
	t.Run("schema", func(t *testing.T) {
		for value, text := range map[string]string{`{"ledger_schema":2}`: "upgrade this program", "hello": "a prefix of its own", "{}": "a prefix of its own"} {
			other := &stage{endpoints: st.endpoints, prefix: "faults-schema", client: st.client}
			if _, err := st.client.Put(ctx, "faults-schema/schema", value); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, st.endpoints, etcdstore.Options{Prefix: other.prefix}, text)
		}
	})
}
