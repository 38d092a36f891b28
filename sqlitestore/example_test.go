package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

func Example() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := sqlitestore.Open(ctx, filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	guard, err := ledger.New(store, &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer guard.Close(ctx)
	charge := ledger.Once(guard, "charge_card", func(_ context.Context, cents int) (string, error) {
		fmt.Println("charging", cents)
		return "receipt-1", nil
	})
	for range 2 { // a retry, a second worker, a restart: it makes no difference
		receipt, err := charge(ctx, 4200)
		fmt.Println(receipt, err)
	}
	// Output:
	// charging 4200
	// receipt-1 <nil>
	// receipt-1 <nil>
}

// A tool that only looks neither creates the file nor takes part in writing.
func ExampleOpenReadOnly() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, err = sqlitestore.OpenReadOnly(context.Background(), filepath.Join(dir, "ledger.db"), nil)
	files, _ := os.ReadDir(dir)
	fmt.Println(err != nil, len(files))
	// Output: true 0
}

// exampleStore is a store that is new, with one claim that it holds, and what ends both.
func exampleStore(ctx context.Context) (store *sqlitestore.Store, claimed ledger.Record, end func()) {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	store, err = sqlitestore.Open(ctx, filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if claimed, _, err = store.Claim(ctx, exampleClaim("charge_card", "a")); err != nil {
		log.Fatal(err)
	}
	return store, claimed, func() {
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}
}

func exampleClaim(tool, nonce string) ledger.Claim {
	id := ledger.ID{Workflow: "order-42", Tool: tool, Fingerprint: "00112233445566778899aabbccddeeff"}
	return ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: nonce}}
}

// What opens is what it is named as, or is refused.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(path, []byte("Not a database, but a file of some length, which must not be lost."), 0o600); err != nil {
		log.Fatal(err)
	}
	_, err = sqlitestore.Open(context.Background(), path, nil)
	fmt.Println(errors.Is(err, ledger.ErrInvalid))
	store, err := sqlitestore.Open(context.Background(), filepath.Join(dir, "ledger.db"), &sqlitestore.Options{Logger: slog.Default()})
	fmt.Println(err)
	fmt.Println(store.Close())
	// Output:
	// true
	// <nil>
	// <nil>
}

// One of all that claim wins; guards make the claims.
func ExampleStore_Claim() {
	ctx := context.Background()
	store, _, end := exampleStore(ctx)
	defer end()
	standing, won, err := store.Claim(ctx, exampleClaim("charge_card", "b"))
	fmt.Println(won, standing.Nonce, err)
	// Output: false a <nil>
}

func ExampleStore_Finish() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	claimed.State, claimed.Result = ledger.StateSucceeded, []byte(`"r-1"`)
	fmt.Println(store.Finish(ctx, claimed)) // it is on the disk
	claimed.State = ledger.StateFailed
	fmt.Println(errors.Is(store.Finish(ctx, claimed), ledger.ErrFenced))
	// Output:
	// <nil>
	// true
}

func ExampleStore_Tally() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	fmt.Println(store.Tally(ctx, []ledger.Tally{{ID: claimed.ID, Attempts: 2, Blocked: 2}}))
	record, err := store.Get(ctx, claimed.ID)
	fmt.Println(record.Blocked, err)
	// Output:
	// <nil>
	// 2 <nil>
}

func ExampleStore_Get() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	record, err := store.Get(ctx, claimed.ID)
	fmt.Println(record.State, record.Alive, err)
	_, err = store.Get(ctx, ledger.ID{Workflow: "order-42", Tool: "send_mail", Fingerprint: claimed.ID.Fingerprint})
	fmt.Println(errors.Is(err, ledger.ErrNotFound))
	// Output:
	// running true <nil>
	// true
}

func ExampleStore_List() {
	ctx := context.Background()
	store, _, end := exampleStore(ctx)
	defer end()
	for record, err := range store.List(ctx, ledger.Filter{States: []ledger.State{ledger.StateRunning}}) {
		fmt.Println(record.ID.Tool, err)
	}
	// Output: charge_card <nil>
}

func ExampleStore_ListNewest() {
	ctx := context.Background()
	store, _, end := exampleStore(ctx)
	defer end()
	_, _, _ = store.Claim(ctx, exampleClaim("a_later_one", "b"))
	for record, err := range store.ListNewest(ctx, ledger.Filter{Limit: 1}) {
		fmt.Println(record.ID.Tool, err)
	}
	// Output: a_later_one <nil>
}

func ExampleStore_Delete() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	fmt.Println(errors.Is(store.Delete(ctx, claimed.ID, claimed.Version), ledger.ErrRunning))
	claimed.State = ledger.StateFailed
	_ = store.Finish(ctx, claimed)
	record, _ := store.Get(ctx, claimed.ID)
	fmt.Println(store.Delete(ctx, record.ID, record.Version))
	// Output:
	// true
	// <nil>
}

func ExampleStore_Summarize() {
	ctx := context.Background()
	store, _, end := exampleStore(ctx)
	defer end()
	s, err := store.Summarize(ctx, ledger.Filter{})
	fmt.Println(s.Actions, s.Running, s.Oldest.ID.Tool, err)
	// Output: 1 1 charge_card <nil>
}

// Each open store is an owner.
func ExampleStore_Sessions() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	all, err := store.Sessions(ctx)
	fmt.Println(len(all), all[0].Alive, all[0].ID == claimed.Owner.Session, err)
	// Output: 1 true true <nil>
}

// The end of an owner is what a waiter waits for, too.
func ExampleStore_Close() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	other, err := sqlitestore.Open(ctx, store.Path(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer other.Close()
	fmt.Println(store.Close())
	record, err := other.Get(ctx, claimed.ID)
	fmt.Println(record.Status(), err) // its worker is gone
	// Output:
	// <nil>
	// in_doubt <nil>
}

// Another process, or another store of this one, finishes the call.
func ExampleStore_Await() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
	done := make(chan error)
	go func() { done <- store.Await(ctx, claimed.ID, claimed.Version) }()
	claimed.State = ledger.StateSucceeded
	_ = store.Finish(ctx, claimed)
	fmt.Println(<-done)
	// Output: <nil>
}

func ExampleStore_Watch() {
	ctx := context.Background()
	store, claimed, end := exampleStore(ctx)
	defer end()
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

// A child that inherits the file keeps the claims alive until it ends, as ledger(1)'s run does.
func ExampleStore_OwnerFile() {
	store, _, end := exampleStore(context.Background())
	defer end()
	child := exec.Command("charge-card", "--order", "42")
	child.ExtraFiles = []*os.File{store.OwnerFile()}
	fmt.Println(filepath.Base(filepath.Dir(child.ExtraFiles[0].Name())))
	// Output: ledger.db.owners
}

func ExampleStore_Path() {
	store, _, end := exampleStore(context.Background())
	defer end()
	fmt.Println(filepath.Base(store.Path()), filepath.IsAbs(store.Path()))
	// Output: ledger.db true
}
