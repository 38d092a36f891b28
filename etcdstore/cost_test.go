package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// What is sent to the cluster is counted. The counts of blocked calls, which are written in
// the background, and the renewals of the lease come on top.
func TestRequests(t *testing.T) {
	p := newPair(t)
	t.Run("costs", p.costs)
	t.Run("waiters do not poll", p.waiters)
	t.Run("changes reach other workers", p.changes)
}

func (p *pair) costs(t *testing.T) {
	for _, tt := range []struct {
		what  string
		tool  string
		guard *ledger.Guard
		meter *meter
		want  int
	}{
		{"a call that nobody contends for", "replay", p.g1, p.m1, 2},
		{"its duplicate in the same process", "replay", p.g1, p.m1, 0},
		{"a duplicate of another worker's call", "replay", p.g2, p.m2, 1},
		{"and once more", "replay", p.g2, p.m2, 0},
		{"a call without a recorded result", "plain", p.g2, p.m2, 2},
		{"its duplicate in the same process", "plain", p.g2, p.m2, 0},
		{"a duplicate of another worker's call", "plain", p.g1, p.m1, 1},
		{"and once more", "plain", p.g1, p.m1, 0},
	} {
		n := tt.meter.count()
		res, err := call(t, tt.guard, tt.tool, "key", "done")
		if err != nil && !errors.Is(err, ledger.ErrDuplicate) {
			t.Fatal(err)
		}
		if ran := err == nil && !res.Replayed; ran != (tt.want == 2) {
			t.Errorf("%s (%s): ran is %t, error %v", tt.what, tt.tool, ran, err)
		}
		if got := tt.meter.since(n); len(got) != tt.want {
			t.Errorf("%s (%s): %d requests, want %d: %q", tt.what, tt.tool, len(got), tt.want, got)
		}
	}
}

// firstPoll is when a waiter first looks for itself, at the earliest.
const firstPoll = 3750 * time.Millisecond

// Many callers wait for a call that runs in another worker. Whoever is told before the first
// poll was told by the watch.
func (p *pair) waiters(t *testing.T) {
	for _, waiters := range []int{1, 20} {
		tries := 5 // on a machine that stands still, a poll may come first
		for p.wait(t, fmt.Sprintf("%d-%d", waiters, tries), waiters) > firstPoll {
			if tries--; tries == 0 {
				t.Errorf("%d waiters: told by polls only", waiters)
				break
			}
		}
	}
}

// wait lets so many callers wait for a call in another worker, and returns how long they did.
func (p *pair) wait(t *testing.T, key string, waiters int) time.Duration {
	t.Helper()
	running, goOn := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, err := ledger.Do(t.Context(), p.g1, ledger.Call{Tool: "wait", Key: key}, func(context.Context) (string, error) {
			close(running)
			<-goOn
			return "done", nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-running
	before, watched, began := p.m2.count(), p.m2.watches("/running/"), time.Now()
	var arrived atomic.Int32
	for range waiters {
		group.Go(func() {
			arrived.Add(1)
			res, err := call(t, p.g2, "wait", key, "run twice")
			if err != nil || !res.Replayed || res.Value != "done" {
				t.Errorf("the waiter got %q (replayed: %t), error %v", res.Value, res.Replayed, err)
			}
		})
	}
	eventually(t, "the running call is watched, and all wait", func() bool {
		return p.m2.watches("/running/") > watched && int(arrived.Load()) == waiters
	})
	close(goOn)
	group.Wait()
	took := time.Since(began)
	// The refused claim, the look before the watch, and the look after it; whatever the number of waiters.
	if got := p.m2.since(before); len(got) > 3 && took < firstPoll {
		t.Errorf("%d waiters: %d requests, want at most 3: %q", waiters, len(got), got)
	}
	if got := p.m2.watches("/running/") - watched; got > 1 && took < firstPoll {
		t.Errorf("%d waiters: %d watches, want 1", waiters, got)
	}
	return took
}

// What one worker does to a finished record reaches the memory of another.
func (p *pair) changes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(ctx context.Context, c ledger.Call) error
		want   string // that the next call in the other worker returns
	}{
		{"retry", func(ctx context.Context, c ledger.Call) error { return p.g1.Retry(ctx, c) }, "second"},
		{"reset", func(ctx context.Context, c ledger.Call) error {
			_, err := p.g1.Reset(ctx, ledger.Filter{Workflow: c.Workflow})
			return err
		}, "second"},
		{"delete", func(ctx context.Context, c ledger.Call) error {
			id, err := p.g1.ID(ctx, c)
			if err != nil {
				return err
			}
			r, err := p.s1.Get(ctx, id)
			if err != nil {
				return err
			}
			return p.s1.Delete(ctx, id, r.Version)
		}, "second"},
		{"force", func(ctx context.Context, c ledger.Call) error {
			_, err := ledger.Force(ctx, p.g1, c, func(context.Context) (string, error) { return "forced", nil })
			return err
		}, "forced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g1, g2 := p.g1.Workflow(tt.name), p.g2.Workflow(tt.name)
			for _, g := range []*ledger.Guard{g1, g2} {
				if res, err := call(t, g, "replay", "key", "first"); err != nil || res.Value != "first" || res.Replayed != (g == g2) {
					t.Fatalf("before: %+v, %v", res, err)
				}
			}
			n := p.m2.count()
			if _, err := call(t, g2, "replay", "key", "none"); err != nil || p.m2.count() != n {
				t.Fatalf("the other worker does not remember the record: %v, requests %q", err, p.m2.since(n))
			}
			if err := tt.change(t.Context(), ledger.Call{Tool: "replay", Key: "key", Workflow: tt.name}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the other worker has heard of it", func() bool {
				res, err := call(t, g2, "replay", "key", "second")
				if err != nil {
					t.Fatal(err)
				}
				if res.Value != "first" && res.Value != tt.want {
					t.Fatalf("the other worker returned %q; want %q", res.Value, tt.want)
				}
				return res.Value == tt.want
			})
			if got := p.m2.since(n); len(got) > 2 {
				t.Errorf("%d requests of the other worker until it had heard: %q", len(got), got)
			}
		})
	}
}
