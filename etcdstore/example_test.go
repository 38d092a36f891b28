package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// exampleServer is an etcd for all examples; TestMain stops it.
var exampleServer = sync.OnceValue(func() *embedded.Server {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		log.Fatal(err)
	}
	server, err := embedded.Start(context.Background(), dir, fast())
	if err != nil {
		log.Fatal(err)
	}
	etcdstore.AfterTests = func() {
		if err := server.Close(); err != nil {
			log.Fatal(err)
		}
		_ = os.RemoveAll(dir)
	}
	return server
})

// A prefix of its own makes a store an empty one.
func newPrefix() string { return "examples/" + uuid.NewString() }

func openExample(ctx context.Context, prefix string) *etcdstore.Store {
	store, err := etcdstore.Open(ctx, exampleServer().Endpoints(), &etcdstore.Options{Prefix: prefix})
	if err != nil {
		log.Fatal(err)
	}
	return store
}

// exampleStore is a store with records of its own, and one claim that it holds.
func exampleStore(ctx context.Context) (*etcdstore.Store, ledger.Record) {
	store := openExample(ctx, newPrefix())
	claimed, _, err := store.Claim(ctx, exampleClaim(0, "a"))
	if err != nil {
		log.Fatal(err)
	}
	return store, claimed
}

func exampleClaim(seen ledger.Version, nonce string) ledger.Claim {
	id := ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: "00112233445566778899aabbccddeeff"}
	return ledger.Claim{Seen: seen, Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: nonce}}
}

// Two workers of a fleet, which may be on two machines.
func Example() {
	ctx, endpoints := context.Background(), exampleServer().Endpoints() // http://10.0.0.1:2379, ... in earnest
	prefix := newPrefix()                                               // all workers with the same one share their records
	for range 2 {
		store, err := etcdstore.Open(ctx, endpoints, &etcdstore.Options{Prefix: prefix})
		if err != nil {
			log.Fatal(err)
		}
		guard, err := ledger.New(store, &ledger.Options{Default: ledger.Policy{Replay: true}})
		if err != nil {
			log.Fatal(err)
		}
		charge := ledger.Once(guard, "charge_card", func(_ context.Context, cents int) (string, error) {
			fmt.Println("charging", cents)
			return "receipt-1", nil
		})
		fmt.Println(charge(ctx, 4200))
		_ = guard.Close(ctx)
		_ = store.Close() // after the guard
	}
	// Output:
	// charging 4200
	// receipt-1 <nil>
	// receipt-1 <nil>
}

func ExampleOpen() {
	_, err := etcdstore.Open(context.Background(), exampleServer().Endpoints(), &etcdstore.Options{
		TTL: 1500 * time.Millisecond, // how long others wait before they take over what a dead worker held
	})
	fmt.Println(errors.Is(err, ledger.ErrInvalid), err)
	// Output: true etcdstore: open: invalid: a TTL of 1.5s; give whole seconds, between 1 s and 10 minutes
}

// On a client that the program has already.
func ExampleNew() {
	client, err := exampleServer().Client(nil) // clientv3.New with MaxUnaryRetries: 1
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store, err := etcdstore.New(context.Background(), client, &etcdstore.Options{Prefix: "agents/ledger"})
	fmt.Println(err)
	fmt.Println(store.Close()) // before the client
	// Output:
	// <nil>
	// <nil>
}

// One of all that claim wins; guards make the claims.
func ExampleStore_Claim() {
	ctx := context.Background()
	store, _ := exampleStore(ctx)
	defer store.Close()
	standing, won, err := store.Claim(ctx, exampleClaim(0, "b"))
	fmt.Println(won, standing.Nonce, err)
	// Output: false a <nil>
}

func ExampleStore_Finish() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	claimed.State, claimed.Result = ledger.StateSucceeded, []byte(`"r-1"`)
	fmt.Println(store.Finish(ctx, claimed))
	claimed.State = ledger.StateFailed
	fmt.Println(errors.Is(store.Finish(ctx, claimed), ledger.ErrFenced))
	// Output:
	// <nil>
	// true
}

func ExampleStore_Tally() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	fmt.Println(store.Tally(ctx, []ledger.Tally{{ID: claimed.ID, Attempts: 2, Blocked: 2}}))
	record, err := store.Get(ctx, claimed.ID)
	fmt.Println(record.Blocked, err)
	// Output:
	// <nil>
	// 2 <nil>
}

func ExampleStore_Get() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	record, err := store.Get(ctx, claimed.ID)
	fmt.Println(record.State, record.Alive, err)
	// Output: running true <nil>
}

func ExampleStore_List() {
	ctx := context.Background()
	store, _ := exampleStore(ctx)
	defer store.Close()
	for record, err := range store.List(ctx, ledger.Filter{Workflow: "order-42"}) {
		fmt.Println(record.ID.Tool, err)
	}
	// Output: charge_card <nil>
}

func ExampleStore_Delete() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	fmt.Println(errors.Is(store.Delete(ctx, claimed.ID, claimed.Version), ledger.ErrRunning))
	claimed.State = ledger.StateFailed
	_ = store.Finish(ctx, claimed)
	record, _ := store.Get(ctx, claimed.ID)
	fmt.Println(store.Delete(ctx, record.ID, record.Version))
	// Output:
	// true
	// <nil>
}

// A worker that leaves in order gives back what it holds at once; others need not wait for its lease to end.
func ExampleStore_Close() {
	ctx := context.Background()
	prefix := newPrefix()
	store, other := openExample(ctx, prefix), openExample(ctx, prefix)
	defer other.Close()
	claimed, _, err := store.Claim(ctx, exampleClaim(0, "a"))
	fmt.Println(err)
	fmt.Println(store.Close())
	_, won, err := other.Claim(ctx, exampleClaim(claimed.Version, "b"))
	fmt.Println("takeover:", won, err)
	// Output:
	// <nil>
	// <nil>
	// takeover: true <nil>
}

// Guards cancel the contexts of their tools with it.
func ExampleStore_LeaseLost() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	lost := store.LeaseLost(claimed.Owner.Session)
	_ = store.Close()
	<-lost
	fmt.Println("lost")
	// Output: lost
}

// A store that claims nothing has no session.
func ExampleStore_Sessions() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	all, err := store.Sessions(ctx)
	fmt.Println(len(all), all[0].ID == claimed.Owner.Session, all[0].Alive, err)
	// Output: 1 true true <nil>
}

func ExampleStore_Await() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	done := make(chan error)
	go func() { done <- store.Await(ctx, claimed.ID, claimed.Version) }()
	claimed.State = ledger.StateSucceeded
	_ = store.Finish(ctx, claimed) // here, or on another machine
	fmt.Println(<-done)
	// Output: <nil>
}

func ExampleStore_Watch() {
	ctx := context.Background()
	store, claimed := exampleStore(ctx)
	defer store.Close()
	for change, err := range store.Watch(ctx, ledger.WatchOptions{Filter: ledger.Filter{Workflow: "order-42"}}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case change.Kind == ledger.ChangeSync: // it has begun
			claimed.State = ledger.StateSucceeded
			_ = store.Finish(ctx, claimed)
		default:
			fmt.Println(change.ID.Tool)
			return
		}
	}
	// Output: charge_card
}

func ExampleStore_Health() {
	ctx := context.Background()
	store, _ := exampleStore(ctx)
	defer store.Close()
	health, err := store.Health(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range health.Members {
		fmt.Println("leader:", m.Leader, "too old:", m.TooOld, m.Err, m.Errors)
	}
	fmt.Println(health.ReadErr, health.CommitErr)
	// Output:
	// leader: true too old: false <nil> []
	// <nil> <nil>
}

func ExampleMember_NoSpace() {
	ctx := context.Background()
	store, _ := exampleStore(ctx)
	defer store.Close()
	health, err := store.Health(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.Members[0].NoSpace()) // if so, docs/operations.md says what to do
	// Output: false
}
