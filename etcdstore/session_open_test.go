package etcdstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/ledger-once/ledger"
)

func TestSessionOpening(t *testing.T) {
	t.Run("is shared", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			b.f.setFault(func(_ context.Context, method string, apply func()) error {
				time.Sleep(time.Second)
				apply()
				return nil
			})
			impatient, cancel := context.WithTimeout(b.Context(), time.Millisecond)
			defer cancel()
			var group sync.WaitGroup
			group.Go(func() {
				if _, err := b.m.acquire(impatient, "another"); !errors.Is(err, context.DeadlineExceeded) {
					b.Errorf("the impatient one got %v", err)
				}
			})
			synctest.Wait()
			for range 50 {
				group.Go(func() {
					if _, err := b.m.acquire(b.Context(), "another"); err != nil {
						b.Error(err)
					}
				})
			}
			group.Wait()
			b.wantCalls("grant", 1, 1)
			if x := b.acquire(); x.keys != 51 {
				b.Errorf("%d claims are counted, want 51", x.keys)
			}
		})
	})
	t.Run("goes on when its answers are lost", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			n := 0
			b.f.setFault(func(_ context.Context, method string, apply func()) error {
				apply()
				if n++; n < 5 {
					return errDown
				}
				return nil
			})
			x := b.acquire()
			if x.fence().mark != b.modOf(x) {
				b.Errorf("the mark is %d, want %d", x.fence().mark, b.modOf(x))
			}
			b.wantCalls("grant", 5, 5)
			b.wantCalls("put", 1, 1)
		})
	})
	t.Run("does not pile leases up", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			b.f.setFault(func(_ context.Context, method string, apply func()) error {
				if method == "put" {
					return rpctypes.ErrPermissionDenied
				}
				apply()
				return nil
			})
			for range 100 {
				if _, err := b.m.acquire(b.Context(), "another"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
					b.Fatalf("acquire: %v; want the refusal at once", err)
				}
			}
			b.wantCalls("grant", 1, 1)
			time.Sleep(10 * time.Second)
			b.f.setFault(nil)
			b.acquire()
			b.wantCalls("grant", 2, 2) // the first is too old to begin with
		})
	})
	t.Run("is refused after close", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			x := b.acquire()
			if err := b.m.close(b.Context()); err != nil {
				b.Error(err)
			}
			<-b.m.lost(x.name)
			if _, err := b.m.acquire(b.Context(), "another"); !errors.Is(err, ledger.ErrClosed) {
				b.Errorf("acquire: %v, want ErrClosed", err)
			}
			b.wantWarnings(0)
			if len(b.f.leases) != 0 {
				b.Error("a lease is left behind")
			}
		})
	})
	t.Run("is cut short by close", func(t *testing.T) {
		for _, method := range []string{"grant", "put"} {
			inBubble(t, func(b *bench) {
				b.f.setFault(func(ctx context.Context, m string, apply func()) error {
					apply()
					if m == method {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
				got := make(chan error, 1)
				go func() {
					_, err := b.m.acquire(b.Context(), "another")
					got <- err
				}()
				synctest.Wait()
				if err := b.m.close(b.Context()); err != nil {
					b.Error(err)
				}
				if err := <-got; !errors.Is(err, ledger.ErrClosed) {
					b.Errorf("acquire: %v, want ErrClosed", err)
				}
				if len(b.f.leases) != 0 && method == "put" { // of a grant without an answer nobody knows
					b.Error("the lease is left behind")
				}
			})
		}
	})
}

func TestSessionCloseWithoutACluster(t *testing.T) {
	inBubble(t, func(b *bench) {
		x := b.acquire()
		b.f.setFault(func(ctx context.Context, _ string, _ func()) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		err := b.m.close(ctx)
		b.within("closed after", time.Since(start), 0, 2*time.Second)
		if !errors.Is(err, ledger.ErrUnavailable) {
			b.Errorf("close: %v; want an error that matches ErrUnavailable", err)
		}
		b.wantLost(x, true)
	})
}
