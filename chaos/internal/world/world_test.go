package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

// callerEnv holds the world's URL for the test binary in the role of a caller.
const callerEnv = "LEDGER_CHAOS_WORLD_CALLER"

func TestMain(m *testing.M) {
	if url := os.Getenv(callerEnv); url != "" {
		c := &Client{URL: url, Worker: "w00.0"}
		result, err := c.Act(context.Background(), request("plain", "order-1", "t1", 7))
		fmt.Println("answered", result, err)
		os.Exit(0)
	}
	leakcheck.Main(m)
}

var tools = []trace.Tool{
	{Name: "plain", World: trace.WorldPlain}, {Name: "token", World: trace.WorldToken},
	{Name: "fence", World: trace.WorldFence}, {Name: "hold", World: trace.WorldHold},
}

func request(tool, id, token string, fence int64) Request {
	return Request{ID: id, Tool: tool, Token: token, Fence: fence, Attempt: 1}
}

func start(t *testing.T, plan func(Request) Plan) (w *World, c *Client, journal string) {
	t.Helper()
	journal = filepath.Join(t.TempDir(), trace.WorldFile)
	w, err := Start(Options{Journal: journal, Tools: tools, Plan: plan, Hold: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c = &Client{URL: w.URL(), Worker: "w03.2"}
	t.Cleanup(func() {
		c.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, c, journal
}

// effects is what the journal holds.
func effects(t *testing.T, journal string) []trace.Effect {
	t.Helper()
	var all []trace.Effect
	for e, err := range trace.Read[trace.Effect](journal) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != uint64(len(all)+1) || e.At == 0 {
			t.Errorf("line %d has seq %d and at %d", len(all)+1, e.Seq, e.At)
		}
		all = append(all, e)
	}
	return all
}

// told is what a caller knows after a request.
func told(result string, err error) string {
	switch {
	case errors.Is(err, ErrDenied):
		return "denied"
	case errors.Is(err, ErrPermanent):
		return "permanent"
	case errors.Is(err, ErrRefused):
		return "refused"
	case err != nil:
		return "uncertain"
	}
	return result
}

// Concurrent effects each are in the journal before their answer, in the order of their numbers.
func TestConcurrentEffects(t *testing.T) {
	w, c, journal := start(t, nil)
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for i := range 20 {
				if _, err := c.Act(t.Context(), request("token", fmt.Sprint("c", i), fmt.Sprint("t", n), int64(i+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, e := range effects(t, journal) {
		if seen[e.Result] {
			t.Errorf("result %s comes twice", e.Result)
		}
		seen[e.Result] = true
	}
	if len(seen) != 160 || w.Totals()[trace.Done] != 160 {
		t.Errorf("%d effects, and %v", len(seen), w.Totals())
	}
}

func TestWhatIsNoRequest(t *testing.T) {
	w, c, journal := start(t, nil)
	for name, q := range map[string]Request{
		"tool":  request("unknown", "c", "a", 1),
		"token": request("plain", "c", "", 1),
		"fence": request("plain", "c", "a", 0),
		"ask":   {ID: "c", Tool: "plain", Token: "a", Fence: 1, Ask: "maybe"},
	} {
		if _, err := c.Act(t.Context(), q); told("", err) != "uncertain" || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(effects(t, journal)) != 0 || w.Requests("c") != 0 {
		t.Error("something was carried out")
	}
	if _, err := Start(Options{Journal: journal, Tools: tools}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a journal that is there already: %v", err)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if _, err := Start(Options{Journal: fresh, Tools: []trace.Tool{{Name: "a", World: "flat"}}}); err == nil || !strings.Contains(err.Error(), "plain, token, fence, hold") {
		t.Errorf("an unknown world: %v", err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a refused world left its journal")
	}
}

// A world that can not write tells nobody of an effect, and says so in the end.
func TestJournalFails(t *testing.T) {
	w, err := Start(Options{Journal: filepath.Join(t.TempDir(), trace.WorldFile), Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{URL: w.URL(), Worker: "w00.0"}
	defer c.Close()
	if err := w.writer.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := told(c.Act(t.Context(), request("plain", "c", "a", 1))); got != "uncertain" {
			t.Errorf("told %q", got)
		}
	}
	if !errors.Is(w.Err(), os.ErrClosed) || !errors.Is(w.Close(), os.ErrClosed) {
		t.Errorf("%v", w.Err())
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	arrived := make(chan struct{})
	w, c, journal := start(t, func(Request) Plan {
		return Plan{Before: func(ctx context.Context) { close(arrived); <-ctx.Done() }}
	})
	answered := make(chan error)
	go func() {
		_, err := c.Act(t.Context(), request("plain", "c", "a", 1))
		answered <- err
	}()
	<-arrived
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if told("", <-answered) != "uncertain" || len(effects(t, journal)) != 0 {
		t.Error("what waited at the door was carried out after Close")
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be in 20 s")
		}
	}
}

// One effect with 8 callers: the fsyncs are shared.
func BenchmarkAct(b *testing.B) {
	w, err := Start(Options{Journal: filepath.Join(b.TempDir(), trace.WorldFile), Tools: tools})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	c := &Client{URL: w.URL(), Worker: "w00.0"}
	defer c.Close()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Act(b.Context(), request("plain", "c", "a", 1)); err != nil {
				b.Error(err)
			}
		}
	})
}
