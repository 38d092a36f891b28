package etcdstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/recordjson"
)

var ratios = flag.String("ratios", "", "what TestRatios measures at length: all, or MEMBERSxCALLERS")

// TestRatios compares the store, and a whole guarded call on it, with what can
// be had without it, on the same cluster with etcd's own timings: two transactions of the same shape for
// each call, two bare puts, and the recipe of a mutex with a get and a put that check it.
//
//	go test ./etcdstore -run TestRatios -v -timeout 30m -args -ratios all
//	go test ./etcdstore -run TestRatios -v -args -ratios 3x128
//
// It measures, and never fails for being slow.
func TestRatios(t *testing.T) {
	if testing.Short() && *ratios == "" {
		t.Skip("nothing is measured with -short")
	}
	members, loads, rounds := []int{1}, []int{1, 16}, 1
	if *ratios != "" {
		members, loads, rounds = []int{1, 3}, []int{1, 16, 128, 512}, 7
	}
	if only, load, ok := strings.Cut(*ratios, "x"); ok { // members x callers
		n, err := strconv.Atoi(only)
		if err != nil {
			t.Fatal(err)
		}
		callers, err := strconv.Atoi(load)
		if err != nil {
			t.Fatal(err)
		}
		members, loads, rounds = []int{n}, []int{callers}, 15
	}
	for _, n := range members {
		t.Run(fmt.Sprint(n), func(t *testing.T) { compare(t, n, loads, rounds) })
	}
}

func compare(t *testing.T, members int, loads []int, rounds int) {
	c, err := embedded.Cluster(t.Context(), members, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	client := newClient(t, c.Endpoints())
	ways := []way{
		{name: "bare transactions", call: newBare(t, client).call},
		{name: "raw puts", call: rawPuts(client)},
		{name: "fenced mutex", call: newMutex(t, client).call},
		{name: "store", call: newPlain(t, c.Endpoints())},
		{name: "guarded call", call: newGuarded(t, c.Endpoints())},
	}
	for _, callers := range loads {
		calls := min(64*callers, 3000)
		for i := range ways {
			ways[i].took = nil
			perCall(t, ways[i].call, callers, calls/4)
		}
		for range rounds { // in turns, so that a noisy neighbour meets all
			for i := range ways {
				ways[i].took = append(ways[i].took, float64(perCall(t, ways[i].call, callers, calls)))
			}
		}
		for i := range ways {
			t.Logf("%d members, %3d callers: %-17s %6.0f calls/s; %5.2f of the rate of bare transactions, %5.2f of raw puts, %5.2f of the fenced mutex", members, callers, ways[i].name,
				1e9/median(slices.Clone(ways[i].took)), rate(ways[i], ways[0]), rate(ways[i], ways[1]), rate(ways[i], ways[2]))
		}
	}
}

// A way to carry out one call, once.
type way struct {
	name string
	call func(ctx context.Context, id ledger.ID) error
	took []float64 // a call, in ns, by round
}

// rate is how many times the calls per second of base w reaches.
func rate(w, base way) float64 {
	ratios := make([]float64, len(w.took))
	for i := range ratios {
		ratios[i] = base.took[i] / w.took[i]
	}
	return median(ratios)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func perCall(t *testing.T, call func(context.Context, ledger.ID) error, callers, calls int) time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	start := time.Now()
	each := max(calls/callers, 1)
	for range callers {
		wg.Go(func() {
			for range each {
				if err := call(t.Context(), randomID()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start) / time.Duration(each*callers)
}

func randomID() ledger.ID {
	return ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
}

func sampleClaim(id ledger.ID) ledger.Claim {
	now := time.Now()
	return ledger.Claim{Next: ledger.Record{
		ID: id, State: ledger.StateRunning, Token: uuid.NewString(), Nonce: uuid.NewString(), Attempt: 1, Starts: 1,
		Owner: ledger.Owner{Caller: "agent-A"}, Args: []byte(`{"amount":4200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3"}`),
		ArgsDigest: "9f86d081884c7d659a2feaa0c55ad015", Created: now, Started: now,
	}}
}

func sampleDone(r ledger.Record) ledger.Record {
	r.State, r.Finished = ledger.StateSucceeded, time.Now()
	r.Executed, r.Spent = 1, 1
	r.Result = []byte(`{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","status":"succeeded"}`)
	return r
}

func newClient(t testing.TB, endpoints []string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, MaxUnaryRetries: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openFor(t testing.TB, endpoints []string, o *etcdstore.Options) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.Open(t.Context(), endpoints, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newPlain(t *testing.T, endpoints []string) func(context.Context, ledger.ID) error {
	s := openFor(t, endpoints, &etcdstore.Options{Prefix: "plain", TTL: 10 * time.Minute})
	return func(ctx context.Context, id ledger.ID) error {
		r, won, err := s.Claim(ctx, sampleClaim(id))
		if err == nil && !won {
			err = errors.New("not won")
		}
		if err == nil {
			err = s.Finish(ctx, sampleDone(r))
		}
		return err
	}
}

func newGuarded(t *testing.T, endpoints []string) func(context.Context, ledger.ID) error {
	type chargeArgs struct {
		ID, Customer, Currency string
		Amount                 int
		Rate                   float64
	}
	type receipt struct{ ID, Status string }
	g, err := ledger.New(openFor(t, endpoints, &etcdstore.Options{Prefix: "guarded", TTL: 10 * time.Minute}), &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context, id ledger.ID) error {
		_, err := ledger.Do(ctx, g, ledger.Call{Tool: "charge_card", Key: id.Fingerprint, Args: chargeArgs{id.Fingerprint, "cus_9s6XKzkNRiz8i3", "eur", 4200, 1.25}},
			func(context.Context) (receipt, error) {
				return receipt{"ch_3MmlLrLkdIwHu7ix0snN0B15", "succeeded"}, nil
			})
		return err
	}
}

// bare is two transactions of the same shape as the store's claim and finish, each a request of its own.
type bare struct {
	client *clientv3.Client
	lease  clientv3.LeaseID
	mark   int64
}

func newBare(t *testing.T, client *clientv3.Client) *bare {
	g, err := client.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	p, err := client.Put(t.Context(), "bare/sessions/1", "{}", clientv3.WithLease(g.ID))
	if err != nil {
		t.Fatal(err)
	}
	return &bare{client, g.ID, p.Header.Revision}
}

func (b *bare) call(ctx context.Context, id ledger.ID) error {
	c := sampleClaim(id)
	c.Next.Owner.Session, c.Next.Owner.Host, c.Next.Owner.PID = "694d8c1b2f3a4e5d", "worker-17", 4242
	value, err := recordjson.Encode(&c.Next)
	if err != nil {
		return err
	}
	record, running := "bare/records/"+id.String(), "bare/running/"+id.String()
	r, err := b.client.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(record), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(running), "=", 0),
		clientv3.Compare(clientv3.ModRevision("bare/sessions/1"), "=", b.mark),
	).Then(
		clientv3.OpPut(record, string(value)),
		clientv3.OpPut(running, "1", clientv3.WithLease(b.lease)),
	).Else(clientv3.OpGet(record), clientv3.OpGet(running), clientv3.OpGet("bare/sessions/1")).Commit()
	if err == nil && !r.Succeeded {
		err = errors.New("refused")
	}
	if err != nil {
		return err
	}
	done := sampleDone(c.Next)
	done.Fence = ledger.Version(r.Header.Revision)
	if value, err = recordjson.Encode(&done); err != nil {
		return err
	}
	r, err = b.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(record), "=", r.Header.Revision)).
		Then(clientv3.OpPut(record, string(value)), clientv3.OpDelete(running)).
		Else(clientv3.OpGet(record)).Commit()
	if err == nil && !r.Succeeded {
		err = errors.New("refused")
	}
	return err
}

// rawPuts is what the cluster can do: two plain puts a call, of the same size.
func rawPuts(client *clientv3.Client) func(context.Context, ledger.ID) error {
	return func(ctx context.Context, id ledger.ID) error {
		c := sampleClaim(id)
		value, err := recordjson.Encode(&c.Next)
		for range 2 {
			if err == nil {
				_, err = client.Put(ctx, "raw/"+id.String(), string(value))
			}
		}
		return err
	}
}

// mutex is the recipe that people write by hand: a distributed lock for the
// call, a look whether it was done, and a put that checks that the lock is still held.
type mutex struct {
	client  *clientv3.Client
	session *concurrency.Session
}

func newMutex(t *testing.T, client *clientv3.Client) *mutex {
	s, err := concurrency.NewSession(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &mutex{client, s}
}

func (m *mutex) call(ctx context.Context, id ledger.ID) error {
	c := sampleClaim(id)
	lock := concurrency.NewMutex(m.session, "mutex/locks/"+id.String())
	if err := lock.Lock(ctx); err != nil {
		return err
	}
	r, err := m.client.Get(ctx, "mutex/records/"+id.String())
	if err != nil {
		return err
	}
	if len(r.Kvs) > 0 {
		return errors.New("done before")
	}
	done := sampleDone(c.Next)
	value, err := recordjson.Encode(&done)
	if err != nil {
		return err
	}
	p, err := m.client.Txn(ctx).If(lock.IsOwner()).Then(clientv3.OpPut("mutex/records/"+id.String(), string(value))).Commit()
	if err == nil && !p.Succeeded {
		err = errors.New("the lock is lost")
	}
	if err != nil {
		return err
	}
	return lock.Unlock(ctx)
}
