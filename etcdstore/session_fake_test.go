package etcdstore

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errDown = status.Error(codes.Unavailable, "connection refused")

// A fakeLessor is a cluster in memory, with the clock of the test's bubble.
type fakeLessor struct {
	// fault, if set, is asked about each request. It may wait, and do apply by
	// itself, or not; a nil error answers with what apply has done last.
	fault func(ctx context.Context, method string, apply func()) error

	mu       sync.Mutex
	revision int64
	granted  clientv3.LeaseID
	leases   map[clientv3.LeaseID]*fakeLease
	keys     map[string]*mvccpb.KeyValue
	events   []*clientv3.Event
	watches  map[*fakeWatch]struct{}
	calls    map[string]int
	mute     bool          // watches tell nothing
	ttl      time.Duration // what is granted, whatever is asked for; 0: what is asked for
}

type fakeLease struct {
	ttl   time.Duration
	timer *time.Timer
}

type fakeWatch struct {
	key string
	out chan clientv3.WatchResponse
}

func newFakeLessor() *fakeLessor {
	return &fakeLessor{
		leases: make(map[clientv3.LeaseID]*fakeLease), keys: make(map[string]*mvccpb.KeyValue),
		watches: make(map[*fakeWatch]struct{}), calls: make(map[string]int), revision: 1, granted: 0xabc,
	}
}

// call carries out apply, with mu held, as the test's fault says.
func (f *fakeLessor) call(ctx context.Context, method string, apply func() error) error {
	f.mu.Lock()
	f.calls[method]++
	fault := f.fault
	f.mu.Unlock()
	var err error
	locked := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		err = apply()
	}
	if fault == nil {
		locked()
		return err
	}
	if e := fault(ctx, method, locked); e != nil {
		return e
	}
	return err
}

func (f *fakeLessor) setFault(fault func(ctx context.Context, method string, apply func()) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fakeLessor) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *fakeLessor) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	var lease clientv3.LeaseID
	err := f.call(ctx, "grant", func() error {
		if f.ttl != 0 {
			ttl = f.ttl
		}
		f.granted++
		id := f.granted
		lease = id
		f.leases[id] = &fakeLease{ttl, time.AfterFunc(ttl, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.drop(id)
		})}
		return nil
	})
	if err != nil { // it may be carried out yet
		return 0, 0, err
	}
	return lease, ttl, nil
}

func (f *fakeLessor) renewer(_ context.Context, id clientv3.LeaseID) renewer {
	return &fakeRenewer{f, id}
}

type fakeRenewer struct {
	f  *fakeLessor
	id clientv3.LeaseID
}

func (*fakeRenewer) close() {}

func (r *fakeRenewer) renew(ctx context.Context) (ttl time.Duration, err error) {
	f, id := r.f, r.id
	err = f.call(ctx, "renew", func() error {
		ttl = 0
		if l := f.leases[id]; l != nil {
			l.timer.Reset(l.ttl)
			ttl = l.ttl
		}
		return nil
	})
	return ttl, err
}

func (f *fakeLessor) revoke(ctx context.Context, id clientv3.LeaseID) error {
	return f.call(ctx, "revoke", func() error {
		if f.leases[id] == nil {
			return rpctypes.ErrLeaseNotFound
		}
		f.drop(id)
		return nil
	})
}

// drop ends a lease. It is called with mu held.
func (f *fakeLessor) drop(id clientv3.LeaseID) {
	if l := f.leases[id]; l != nil {
		l.timer.Stop()
		delete(f.leases, id)
		for key, kv := range f.keys {
			if kv.Lease == int64(id) {
				f.del(key)
			}
		}
	}
}

func (f *fakeLessor) held(ctx context.Context, id clientv3.LeaseID) (n int, err error) {
	err = f.call(ctx, "held", func() error {
		n = 0
		for _, kv := range f.keys {
			if kv.Lease == int64(id) {
				n++
			}
		}
		return nil
	})
	return n, err
}

func (f *fakeLessor) put(ctx context.Context, key, value string, lease clientv3.LeaseID, created int64) (*mvccpb.KeyValue, error) {
	var kv *mvccpb.KeyValue
	err := f.call(ctx, "put", func() error {
		if f.leases[lease] == nil {
			return rpctypes.ErrLeaseNotFound
		}
		if f.keys[key].GetCreateRevision() == created {
			f.set(key, value, lease)
		}
		kv = f.keys[key]
		return nil
	})
	if err != nil { // it may be carried out yet
		return nil, err
	}
	return kv, nil
}

// set writes a key. It is called with mu held.
func (f *fakeLessor) set(key, value string, lease clientv3.LeaseID) {
	f.revision++
	kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), Lease: int64(lease), ModRevision: f.revision, CreateRevision: f.revision}
	if old := f.keys[key]; old != nil {
		kv.CreateRevision = old.CreateRevision
	}
	f.keys[key] = kv
	f.tell(&clientv3.Event{Type: mvccpb.Event_PUT, Kv: kv})
}

// del removes a key. It is called with mu held.
func (f *fakeLessor) del(key string) {
	if f.keys[key] != nil {
		f.revision++
		delete(f.keys, key)
		f.tell(&clientv3.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: f.revision}})
	}
}

func (f *fakeLessor) remove(ctx context.Context, key string) error {
	return f.call(ctx, "remove", func() error { f.del(key); return nil })
}

func (f *fakeLessor) get(ctx context.Context, key string) (kv *mvccpb.KeyValue, revision int64, err error) {
	err = f.call(ctx, "get", func() error { kv, revision = f.keys[key], f.revision; return nil })
	return kv, revision, err
}

func (f *fakeLessor) follow(ctx context.Context, key string, from int64, handle func(*clientv3.WatchResponse) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range f.watch(ctx, key, from) {
		if !handle(&r) {
			return nil
		}
	}
	return errAgain
}

func (f *fakeLessor) watch(ctx context.Context, key string, from int64) clientv3.WatchChan {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["watch"]++
	w := &fakeWatch{key, make(chan clientv3.WatchResponse, 1000)}
	f.watches[w] = struct{}{}
	for _, e := range f.events {
		if e.Kv.ModRevision >= from && string(e.Kv.Key) == key {
			w.out <- clientv3.WatchResponse{Events: []*clientv3.Event{e}}
		}
	}
	context.AfterFunc(ctx, func() { f.endWatch(w) })
	return w.out
}

func (f *fakeLessor) tell(e *clientv3.Event) {
	f.events = append(f.events, e)
	for w := range f.watches {
		if w.key == string(e.Kv.Key) && !f.mute {
			w.out <- clientv3.WatchResponse{Events: []*clientv3.Event{e}}
		}
	}
}

func (f *fakeLessor) endWatch(w *fakeWatch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.watches[w]; ok {
		delete(f.watches, w)
		close(w.out)
	}
}

// endWatches breaks all watches off.
func (f *fakeLessor) endWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watches {
		delete(f.watches, w)
		close(w.out)
	}
}

// down refuses every request, and tells nobody anything.
func down(context.Context, string, func()) error { return errDown }

// A bench is what a test of sessions needs.
type bench struct {
	*testing.T
	f    *fakeLessor
	m    *sessions
	logs *bytes.Buffer
}

// inBubble runs test with sessions on a fake cluster and a fake clock.
func inBubble(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		life, end := context.WithCancel(t.Context())
		defer end()
		s := &Store{
			client: clientv3.NewCtxClient(context.Background()), life: life, keys: keyspace{"p/"}, host: "h", pid: 1, writer: "w",
			opts: Options{TTL: 15 * time.Second, RequestTimeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(&logs, nil))},
		}
		b := &bench{t, newFakeLessor(), newSessions(s), &logs}
		b.m.lessor = b.f
		test(b)
		b.f.setFault(nil)
		if err := b.m.close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// acquire is for one more claim of many.
func (b *bench) acquire() *session { b.Helper(); return b.acquireFor("another") }

// reacquire is for a claim of which x was told by suspectOne.
func (b *bench) reacquire() *session { b.Helper(); return b.acquireFor("suspect") }

func suspectOne(x *session) { x.suspect("suspect", x.fence().mark) }

func (b *bench) acquireFor(nonce string) *session {
	b.Helper()
	x, err := b.m.acquire(b.Context(), nonce)
	if err != nil {
		b.Fatalf("acquire: %v", err)
	}
	return x
}

func (b *bench) wantLost(x *session, want bool) {
	b.Helper()
	synctest.Wait()
	if x.isLost() != want {
		b.Fatalf("lost is %v, want %v; log: %s", !want, want, b.logs)
	}
}

// lostAfter waits for the loss, and returns how long that took.
func (b *bench) lostAfter(x *session) time.Duration {
	b.Helper()
	start := time.Now()
	select {
	case <-x.over:
	case <-time.After(time.Hour):
		b.Fatal("the session is not lost within an hour")
	}
	return time.Since(start)
}

// modOf is the mod revision of the session's key as it stands; 0: there is none.
func (b *bench) modOf(x *session) int64 {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	return b.f.keys[x.key].GetModRevision()
}

func (b *bench) wantCalls(method string, low, high int) {
	b.Helper()
	if n := b.f.count(method); n < low || n > high {
		b.Errorf("%d calls of %s; want %d to %d", n, method, low, high)
	}
}

func (b *bench) wantWarnings(n int) {
	b.Helper()
	synctest.Wait()
	if got := strings.Count(b.logs.String(), "level=WARN"); got != n {
		b.Errorf("%d warnings, want %d: %s", got, n, b.logs)
	}
}

// within fails unless got is want, or up to slack more.
func (b *bench) within(what string, got, want, slack time.Duration) {
	b.Helper()
	if got < want || got > want+slack {
		b.Errorf("%s: %v; want %v, or up to %v more", what, got, want, slack)
	}
}
