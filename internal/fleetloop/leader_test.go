//go:build linux

package fleetloop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

const (
	leaderStores  = 4
	leaderCallers = 8 // of each store
)

// An outcome is what one caller was told.
type outcome struct {
	tool, key string
	ran       int // how often its tool did
	value     string
	err       error
}

// Leaders are killed and started again while several stores make calls, each
// of them twice: every call ends with a value or an error of ours, what was acknowledged is
// in the store, and nothing runs twice but what was taken over.
//
//	go test ./internal/fleetloop -v -run TestLeaderKilled -args -calls 5000 -kills 6
func TestLeaderKilled(t *testing.T) {
	f := newFleet(t, 3, 5*time.Second)
	var mu sync.Mutex
	journal := map[string][]effect{} // by key
	var told []outcome
	var ended atomic.Int64
	call := func(g *ledger.Guard, n int) outcome {
		o := outcome{tool: []string{"replay", "wait"}[n/2%2], key: fmt.Sprintf("key-%d", n/2)}
		ctx, cancel := context.WithTimeout(f.ctx, 2*time.Minute)
		defer cancel()
		var res ledger.Result[string]
		res, o.err = ledger.Do(ctx, g, ledger.Call{Tool: o.tool, Key: o.key}, func(ctx context.Context) (string, error) {
			claim, _ := ledger.ClaimFrom(ctx)
			e := effect{Tool: o.tool, Key: o.key, Token: claim.Token, Fence: claim.Fence, Attempt: claim.Attempt}
			mu.Lock()
			defer mu.Unlock()
			journal[o.key] = append(journal[o.key], e)
			o.ran++
			return e.value(), nil
		})
		o.value = res.Value
		return o
	}

	var guards []*ledger.Guard
	for range leaderStores {
		guards = append(guards, f.guard(f.open(etcdstore.Options{})))
	}
	numbers := make(chan int)
	var group sync.WaitGroup
	for i := range leaderStores * leaderCallers {
		group.Go(func() {
			for n := range numbers {
				o := call(guards[i%leaderStores], n)
				mu.Lock()
				told = append(told, o)
				mu.Unlock()
				ended.Add(1)
			}
		})
	}
	group.Go(func() {
		defer close(numbers)
		for n := range *calls {
			numbers <- n
		}
	})
	killed := f.killLeaders(&ended)
	group.Wait()
	for _, g := range guards {
		if err := g.Close(f.ctx); err != nil {
			t.Error(err)
		}
	}
	stored := f.recordsByKey()
	f.wantTold(told, stored)
	f.wantOnce(journal, stored)

	// Healed, every call has a result, and those that had one keep it.
	g := f.guard(f.open(etcdstore.Options{}))
	again := map[string]string{}
	for n := 0; n < *calls; n += 2 {
		o := call(g, n)
		if o.err != nil {
			t.Errorf("%s: after the cluster has healed: %v", o.key, o.err)
		}
		again[o.key] = o.value
	}
	for _, o := range told {
		if o.err == nil && again[o.key] != o.value {
			t.Errorf("%s: acknowledged as %q, and later %q", o.key, o.value, again[o.key])
		}
	}
	f.wantOnce(journal, f.recordsByKey())
	if killed != *kills || len(told) != *calls {
		t.Errorf("the run is invalid: %d leaders killed, %d calls; want %d and %d", killed, len(told), *kills, *calls)
	}
}

// killLeaders kills the leader and starts it again, spread over the calls.
func (f *fleet) killLeaders(ended *atomic.Int64) (killed int) {
	f.Helper()
	steps := 2*(*kills) + 1
	reached := func(step int) func() bool {
		return func() bool { return ended.Load() >= int64(*calls*step/steps) }
	}
	for k := range *kills {
		f.until("calls end", reached(2*k+1))
		leader := -1
		f.until("there is a leader", func() bool { leader = f.cluster.Leader(); return leader >= 0 })
		at := ended.Load()
		f.cluster.Kill(leader)
		killed++
		f.until("calls end while a member is down", func() bool { return reached(2*k+2)() && ended.Load() > at })
		if err := f.cluster.Restart(f.ctx, leader); err != nil {
			f.Fatal(err)
		}
	}
	return killed
}

func (f *fleet) recordsByKey() map[string]ledger.Record {
	f.Helper()
	all := map[string]ledger.Record{}
	for r, err := range f.open(etcdstore.Options{}).List(f.ctx, ledger.Filter{}) {
		if err != nil {
			f.Fatal(err)
		}
		if !r.ID.IsCounter() {
			all[r.Key] = r
		}
	}
	return all
}

// wantTold checks what callers were told.
func (f *fleet) wantTold(told []outcome, stored map[string]ledger.Record) {
	f.Helper()
	kinds := map[string]int{}
	for _, o := range told {
		r := stored[o.key]
		names := namesOf(o.err)
		kinds[fmt.Sprint(names)]++
		has := func(name string) bool { return slices.Contains(names, name) }
		switch {
		case o.err == nil:
			if r.State != ledger.StateSucceeded || string(r.Result) != fmt.Sprintf("%q", o.value) {
				f.Errorf("%s: acknowledged as %q; the record is %s with %s", o.key, o.value, r.Status(), r.Result)
			}
		case len(names) == 0:
			f.Errorf("%s: an error that tells nothing: %v", o.key, o.err)
		case o.ran > 0 != has("unrecorded"):
			f.Errorf("%s: the tool ran %d times, and the caller was told %v", o.key, o.ran, o.err)
		case has("unrecorded") && !has("fenced") && r.State != ledger.StateSucceeded: // the guard was to keep sending it
			f.Errorf("%s: unrecorded, and not sent until the guard was closed: the record is %s", o.key, r.Status())
		}
		if o.ran > 1 {
			f.Errorf("%s: the tool ran %d times in one call", o.key, o.ran)
		}
	}
	f.Logf("%d calls, errors: %v", len(told), kinds)
}

// wantOnce checks that each call has one effect, and one more for each takeover.
func (f *fleet) wantOnce(journal map[string][]effect, stored map[string]ledger.Record) {
	f.Helper()
	takeovers := 0
	for _, key := range slices.Sorted(maps.Keys(journal)) {
		effects, r := journal[key], stored[key]
		takeovers += r.Takeovers
		if len(effects) > 1+r.Takeovers {
			f.Errorf("%s: %d effects and %d takeovers: %+v, log %+v", key, len(effects), r.Takeovers, effects, r.Log)
		}
		last := ledger.Version(0)
		for _, e := range effects {
			if e.Fence <= last || e.Token != effects[0].Token {
				f.Errorf("%s: an effect by fence %d and token %s after one by %d and %s", key, e.Fence, e.Token, last, effects[0].Token)
			}
			last = e.Fence
			if r.Fence != e.Fence && !slices.ContainsFunc(r.Log, func(a ledger.Attempt) bool { return a.Fence == e.Fence }) {
				f.Errorf("%s: the record tells nothing of the attempt with fence %d: %+v", key, e.Fence, r)
			}
		}
		for i := 1; i < len(r.Log); i++ {
			if r.Log[i].Fence <= r.Log[i-1].Fence {
				f.Errorf("%s: fences do not grow in %+v", key, r.Log)
			}
		}
	}
	f.Logf("%d calls with effects, %d takeovers", len(journal), takeovers)
}
