package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ledger-once/ledger"
)

// A watching is a Watch on a goroutine of its own.
type watching struct {
	t       *testing.T
	changes chan ledger.Change
	end     chan error // the last element's
}

func watchOn(t *testing.T, s *Store, o ledger.WatchOptions) *watching {
	t.Helper()
	w := &watching{t, make(chan ledger.Change), make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var last error
		for c, err := range s.Watch(ctx, o) {
			if last = err; err == nil {
				select {
				case w.changes <- c:
				case <-ctx.Done():
				}
			}
		}
		w.end <- last
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	if c := w.next(); c.Kind != ledger.ChangeSync {
		t.Fatalf("a watch begins with %+v, want a ChangeSync", c)
	}
	return w
}

func (w *watching) next() ledger.Change {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case err := <-w.end:
		w.t.Fatalf("the watch ended with %v", err)
	case <-time.After(time.Minute):
		w.t.Fatal("the watch tells nothing")
	}
	panic("unreachable")
}

// TestWatchCut: a watch that is cut off goes on where it was; or says that it
// missed something, where that is gone.
func TestWatchCut(t *testing.T) {
	m := oneMember(t)
	w := &wire{}
	s, other := openOn(t, m, w, Options{}), openOn(t, m, nil, Options{})
	for _, notices := range []bool{false, true} {
		for _, compacted := range []bool{false, true} {
			t.Run(fmt.Sprint("notices ", notices, ", compacted ", compacted), func(t *testing.T) {
				watch := watchOn(t, s, ledger.WatchOptions{Notices: notices})
				r := finishNew(t, other, claimNew(t, other, testID(t.Name()), 0, nil))
				if !notices {
					watch.next()
					watch.next()
				}
				w.setCut(true)
				r = claimNew(t, other, r.ID, r.Version, nil)
				if compacted { // with something after it: the last revision stays
					if _, err := other.client.Put(t.Context(), "elsewhere", "x"); err != nil {
						t.Fatal(err)
					}
					compactNow(t, other)
				}
				w.setCut(false)
				want := ledger.Change{Kind: ledger.ChangePut, ID: r.ID, Version: r.Version}
				if compacted {
					want = ledger.Change{Kind: ledger.ChangeSync}
				}
				got := watch.next()
				if got.Record = nil; got != want {
					t.Fatalf("after it was cut off the watch tells %+v, want %+v", got, want)
				}
				r = finishNew(t, other, r)
				if err := other.Delete(t.Context(), r.ID, r.Version); err != nil {
					t.Fatal(err)
				}
				for got = watch.next(); got.Kind != ledger.ChangeDelete; got = watch.next() {
					if got.Kind == ledger.ChangeSync && notices && compacted {
						return // two watches were compacted, of claims and of deletions: what came before the second one's is not told
					}
					if got.Kind != ledger.ChangePut || got.ID != r.ID || notices {
						t.Fatalf("then it tells %+v", got)
					}
				}
				if got.ID != r.ID || got.Version <= r.Version {
					t.Errorf("of the deletion of version %d it tells %+v", r.Version, got)
				}
			})
		}
	}
}

// TestWatchSlow: a caller who does not take what is told costs a bounded amount of memory,
// and is told that there was more.
func TestWatchSlow(t *testing.T) {
	m := oneMember(t)
	s, other := openOn(t, m, nil, Options{}), openOn(t, m, nil, Options{})
	o := ledger.WatchOptions{Notices: true}
	f, stop, err := s.watches.feed(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	<-f.bell
	if events, missed, failed := f.take(); len(events) > 0 || !missed || failed != nil {
		t.Fatalf("a feed begins with %d events, missed %t, %v", len(events), missed, failed)
	}
	const wrote = 2*feedEvents + 100
	var last *clientv3.TxnResponse
	for i := 0; i < wrote; {
		var puts []clientv3.Op
		for ; len(puts) < 100 && i < wrote; i++ {
			puts = append(puts, clientv3.OpPut(other.keys.change(testID(fmt.Sprint(i))), `{"v":1,"kind":"put"}`))
		}
		if last, err = other.client.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	missed := false
	for deadline := time.After(time.Minute); ; {
		select {
		case <-f.bell:
		case <-deadline:
			t.Fatal("the last event does not come")
		}
		f.mu.Lock()
		n, newest := len(f.events), int64(0)
		if n > 0 {
			newest = f.events[n-1].Kv.ModRevision
		}
		missed = missed || f.missed
		f.mu.Unlock()
		if n > feedEvents {
			t.Fatalf("%d events are held, want %d at most", n, feedEvents)
		}
		if newest == last.Header.Revision {
			break
		}
	}
	if !missed {
		t.Errorf("of %d events not all can be held, and nothing was said", wrote)
	}
	// A large one is told, for all its size.
	f.take()
	for range 3 {
		if _, err := other.client.Put(t.Context(), other.keys.change(testID("large")), `{"v":1,"kind":"put","pad":"`+strings.Repeat("x", 1<<20)+`"}`); err != nil {
			t.Fatal(err)
		}
		<-f.bell
	}
	if f.mu.Lock(); f.bytes > feedBytes {
		t.Errorf("%d bytes are held", f.bytes)
	}
	f.mu.Unlock()
}

func TestFeedBounds(t *testing.T) {
	f := &feed{bell: make(chan struct{}, 1)}
	event := func(revision int64, size int) *clientv3.Event {
		e := &clientv3.Event{}
		e.Kv = newKV(revision, size)
		return e
	}
	f.push([]*clientv3.Event{event(1, feedBytes/2)})
	f.push([]*clientv3.Event{event(2, feedBytes/2)})
	f.push([]*clientv3.Event{event(3, 1)})
	events, missed, _ := f.take()
	if !missed || len(events) > 2 || events[len(events)-1].Kv.ModRevision != 3 {
		t.Errorf("%d events, missed %t; want the last ones, after what was missed", len(events), missed)
	}
	f.push([]*clientv3.Event{event(4, 2*feedBytes)})
	if events, missed, _ = f.take(); missed || len(events) != 1 {
		t.Errorf("one that is too large alone: %d events, missed %t; want it told", len(events), missed)
	}
}

// TestWatchDenied: who may not watch is told so at once, with advice; others are not.
func TestWatchDenied(t *testing.T) {
	m := oneMember(t)
	root, err := m.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx := t.Context()
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(root.UserAdd(ctx, "root", "root-secret"))
	do(root.UserGrantRole(ctx, "root", "root"))
	do(root.RoleAdd(ctx, "worker"))
	do(root.RoleGrantPermission(ctx, "worker", "mine/", clientv3.GetPrefixRangeEnd("mine/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	do(root.UserAdd(ctx, "worker", "worker-secret"))
	do(root.UserGrantRole(ctx, "worker", "worker"))
	do(root.AuthEnable(ctx))
	admin, err := clientv3.New(clientv3.Config{Endpoints: m.Endpoints(), Username: "root", Password: "root-secret", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()

	// A role for the prefix is enough.
	s := openOn(t, m, nil, Options{Prefix: "mine", Username: "worker", Password: "worker-secret"})
	watch := watchOn(t, s, ledger.WatchOptions{})
	r := finishNew(t, s, claimNew(t, s, testID("a"), 0, nil))
	watch.next()
	watch.next()
	if err := s.Tally(ctx, []ledger.Tally{blocked(r.ID, 1), {ID: ledger.ID{Workflow: "w", Tool: "t"}, Attempts: 1}}); err != nil {
		t.Fatal(err)
	}
	if n := len(listed(t, s, ledger.Filter{})); n != 2 {
		t.Errorf("%d records are listed, want 2", n)
	}
	running := claimNew(t, s, testID("running"), 0, nil)
	watch.next()

	// Only reads of the session's keys are left.
	do(admin.RoleRevokePermission(ctx, "worker", "mine/", clientv3.GetPrefixRangeEnd("mine/")))
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range s.Watch(ctx, ledger.WatchOptions{Notices: true}) {
			last = err
		}
		ended <- last
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(err.Error(), "grant-permission") || strings.Contains(err.Error(), "secret") {
			t.Errorf("the watch ended with %v; want ErrUnavailable, and what to do", err)
		}
	case <-time.After(time.Minute):
		t.Error("a watch that is not permitted does not end")
	}
	for _, err := range []error{
		s.Await(ctx, running.ID, running.Version),
		s.Tally(ctx, []ledger.Tally{blocked(r.ID, 1)}),
	} {
		if !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(err.Error(), "grant-permission") {
			t.Errorf("got %v; want ErrUnavailable, and what to do", err)
		}
	}
	do(admin.RoleGrantPermission(ctx, "worker", "mine/", clientv3.GetPrefixRangeEnd("mine/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	finishNew(t, s, running)
}
