package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/storetest"
)

func TestMemoryConforms(t *testing.T) {
	var mu sync.Mutex
	stores := map[string]*ledger.Memory{}
	storetest.RunInProcess(t, func(_ testing.TB, dir string) ledger.Store {
		mu.Lock()
		defer mu.Unlock()
		if first := stores[dir]; first != nil {
			return first.Session()
		}
		stores[dir] = ledger.NewMemory()
		return stores[dir]
	})
}

var memoryID = ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}

func memoryClaim(t *testing.T, s ledger.Store, seen ledger.Version, nonce string) ledger.Record {
	t.Helper()
	r, won, err := s.Claim(t.Context(), ledger.Claim{Seen: seen, Next: ledger.Record{ID: memoryID, State: ledger.StateRunning, Nonce: nonce}})
	if err != nil || !won {
		t.Fatalf("claim: won %t, error %v", won, err)
	}
	return r
}

func TestMemoryExpire(t *testing.T) {
	m := ledger.NewMemory()
	defer m.Close()
	other := m.Session()
	defer other.Close()
	first := memoryClaim(t, m, 0, "first")
	lost := m.LeaseLost(first.Owner.Session)
	m.Expire()
	select {
	case <-lost:
	default:
		t.Fatal("the lease expired, and LeaseLost does not tell")
	}
	if r, err := other.Get(t.Context(), memoryID); err != nil || r.Alive {
		t.Fatalf("after the lease expired the claim's owner is alive: %t, error %v", r.Alive, err)
	}
	second := memoryClaim(t, other, first.Version, "second")
	if err := m.Finish(t.Context(), finished(first)); !errors.Is(err, ledger.ErrFenced) {
		t.Fatalf("finish after the takeover: got error %v, want ErrFenced", err)
	}
	if err := other.Finish(t.Context(), finished(second)); err != nil {
		t.Fatal(err)
	}
	done, err := m.Get(t.Context(), memoryID)
	if err != nil {
		t.Fatal(err)
	}
	third := memoryClaim(t, m, done.Version, "third") // the session goes on, under another name
	if third.Owner.Session == first.Owner.Session || !third.Alive {
		t.Errorf("after the expiry the session is %+v, alive %t", third.Owner, third.Alive)
	}
}

func finished(r ledger.Record) ledger.Record {
	r.State = ledger.StateSucceeded
	return r
}

func TestMemoryLateFinish(t *testing.T) {
	m := ledger.NewMemory()
	defer m.Close()
	r := memoryClaim(t, m, 0, "n")
	m.Expire()
	if err := m.Finish(t.Context(), finished(r)); err != nil {
		t.Errorf("a late finish whose fence stands: %v", err)
	}
}

// TestMemoryCopies: neither what is put in nor what is read shares memory with what is stored.
func TestMemoryCopies(t *testing.T) {
	m := ledger.NewMemory()
	defer m.Close()
	args := []byte("before")
	r, _, err := m.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: memoryID, State: ledger.StateRunning, Nonce: "n", Args: args, Error: &ledger.Failure{Message: "before"}, Log: []ledger.Attempt{{Fence: 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	copy(args, "after!")
	copy(r.Args, "after!")
	r.Error.Message, r.Log[0].Fence = "after!", 2
	got, err := m.Get(t.Context(), memoryID)
	if err != nil || string(got.Args) != "before" || got.Error.Message != "before" || got.Log[0].Fence != 1 {
		t.Errorf("the caller changed the stored record to %+v, error %v", got, err)
	}
}

// TestMemoryAwait: a waiter blocks without polling, so that time stands still
// around it, and each kind of change wakes it.
func TestMemoryAwait(t *testing.T) {
	for name, change := range map[string]func(m *ledger.Memory, r ledger.Record) error{
		"finish": func(m *ledger.Memory, r ledger.Record) error { return m.Finish(context.Background(), finished(r)) },
		"expire": func(m *ledger.Memory, _ ledger.Record) error { m.Expire(); return nil },
		"close":  func(m *ledger.Memory, _ ledger.Record) error { return m.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory()
				waiter := m.Session()
				r := memoryClaim(t, m, 0, "n")
				start := time.Now()
				woken := make(chan error, 1)
				go func() { woken <- waiter.Await(context.Background(), r.ID, r.Version) }()
				time.Sleep(time.Hour)
				synctest.Wait()
				select {
				case err := <-woken:
					t.Fatalf("await returned without a change: %v", err)
				default:
				}
				if err := change(m, r); err != nil {
					t.Fatal(err)
				}
				if err := <-woken; err != nil || time.Since(start) != time.Hour {
					t.Errorf("await returned %v after %v, want nil after an hour", err, time.Since(start))
				}
			})
		})
	}
}

// TestMemorySlowWatcher: what a watcher does not take is not kept for it; it is told so.
func TestMemorySlowWatcher(t *testing.T) {
	m := ledger.NewMemory()
	defer m.Close()
	var kinds []ledger.ChangeKind
	for c, err := range m.Watch(t.Context(), ledger.WatchOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, c.Kind)
		if len(kinds) == 2 {
			break
		}
		for i := range 2000 {
			id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: fmt.Sprint(i)}
			if _, _, err := m.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "n"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kinds[1] != ledger.ChangeSync {
		t.Errorf("a watcher that missed 2,000 writes is told of a change of kind %d, want a ChangeSync", kinds[1])
	}
}

func ExampleMemory() {
	ctx := context.Background()
	worker := ledger.NewMemory()
	other := worker.Session() // a second owner on the same data
	defer other.Close()

	id := ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: "00112233445566778899aabbccddeeff"}
	claim := ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "a"}}
	_, won, _ := worker.Claim(ctx, claim)
	fmt.Println("first:", won)

	claim.Next.Nonce = "b"
	standing, won, _ := other.Claim(ctx, claim)
	fmt.Println("second:", won, standing.Status())

	worker.Close() // its claim dies with it, and can be taken over by who has seen it
	claim.Seen = standing.Version
	_, won, _ = other.Claim(ctx, claim)
	fmt.Println("takeover:", won)
	// Output:
	// first: true
	// second: false running
	// takeover: true
}
