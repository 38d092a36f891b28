package dashboard

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// slowStore takes its time to count; it obeys its context.
type slowStore struct {
	*ledger.Memory
	takes time.Duration
	looks atomic.Int64
	down  atomic.Bool
}

func (s *slowStore) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	if s.down.Load() { // out of reach: nothing answers until the deadline, as etcd does
		<-ctx.Done()
		return ledger.Record{}, ledger.ErrUnavailable
	}
	return s.Memory.Get(ctx, id)
}

func (s *slowStore) Summarize(ctx context.Context, f ledger.Filter) (ledger.Summary, error) {
	s.looks.Add(1)
	select {
	case <-time.After(s.takes):
		return ledger.SummarizeList(ctx, s.Memory, f)
	case <-ctx.Done():
		return ledger.Summary{}, ctx.Err()
	}
}

func slow(t *testing.T, takes time.Duration) (*slowStore, *Dashboard) {
	s := &slowStore{Memory: ledger.NewMemory(), takes: takes}
	d, err := New(s, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, d
}

func TestCancelledLookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := slow(t, time.Second/2)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		d.feed.overview(ctx) // this page goes away
		if o := d.feed.overview(t.Context()); !o.Health.OK {
			t.Errorf("another page is told that the store is gone: %q", o.Health.Error)
		}
	})
}

func TestManyAskOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := slow(t, 800*time.Millisecond)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { d.feed.overview(t.Context()) })
		}
		all.Wait()
		if s.looks.Load() > 2 {
			t.Errorf("50 pages at once looked %d times at the totals", s.looks.Load())
		}
	})
}

func TestComesBackSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := slow(t, 0)
		sub := d.feed.subscribe()
		defer d.feed.unsubscribe(sub)
		s.down.Store(true)
		wait := func(what string) {
			for m := range sub.events {
				if m.name == "store" && strings.Contains(string(m.data), what) {
					return
				}
			}
		}
		wait(`"ok":false`)
		s.down.Store(false)
		began := time.Now()
		wait(`"ok":true`)
		if time.Since(began) > 10*time.Second {
			t.Errorf("pages heard after %v that it is back", time.Since(began))
		}
	})
}

func TestSlowCountIsNotAStoreThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := slow(t, time.Minute)
		if o := d.feed.overview(t.Context()); !o.Health.OK {
			t.Errorf("the store answers, but the page says it is gone: %q", o.Health.Error)
		}
	})
}

func TestRetryOfWhatChanged(t *testing.T) {
	s, d := slow(t, 0)
	guard, err := ledger.New(s, &ledger.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(t.Context())
	res, err := ledger.Do(t.Context(), guard, ledger.Call{Tool: "charge", Key: "k"}, func(context.Context) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.Memory.Get(t.Context(), res.Record.ID)
	if err != nil {
		t.Fatal(err)
	}
	v := stored.Version
	for _, c := range []struct{ seen, code int }{{int(v) + 1, http.StatusConflict}, {int(v), http.StatusOK}} {
		r := httptest.NewRequest("POST", "http://localhost/api/retry", strings.NewReader(fmt.Sprintf(`{"id":%q,"version":%d,"reason":"it looked failed"}`, res.Record.ID, c.seen)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("retry of version %d, seen as %d: %d %s, want %d", v, c.seen, w.Code, w.Body, c.code)
		}
	}
}

// Over HTTP/2 a deadline that passes resets the stream, though nothing is being written: none may stay behind.
func TestStreamLeavesNoDeadline(t *testing.T) {
	_, d := slow(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder(), sent: make(chan time.Time, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "http://localhost/api/events", nil))
	}()
	last := <-w.sent
	for !last.IsZero() {
		select {
		case last = <-w.sent:
		case <-time.After(10 * time.Second):
			t.Error("a deadline stays after the first messages")
			last = time.Time{}
		}
	}
	cancel()
	go func() { // what is sent while it ends
		for range w.sent {
		}
	}()
	<-done
	close(w.sent)
}

// deadlines tells of each deadline for writing.
type deadlines struct {
	*httptest.ResponseRecorder
	sent chan time.Time
}

func (w *deadlines) SetWriteDeadline(at time.Time) error { w.sent <- at; return nil }
func (w *deadlines) SetReadDeadline(time.Time) error     { return nil }
