package world

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A caller that is killed once its effect is on the disk leaves one line, and never read an answer.
func TestKillAfterTheFsync(t *testing.T) {
	paths, inAfter := make(chan string, 1), make(chan int, 1)
	w, _, journal := start(t, func(q Request) Plan {
		return Plan{Lose: true, After: func(context.Context) {
			inAfter <- len(effects(t, <-paths))
			if p, err := os.FindProcess(q.PID); err != nil || p.Kill() != nil {
				t.Errorf("the caller %d could not be killed: %v", q.PID, err)
			}
		}}
	})
	paths <- journal
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), callerEnv+"="+w.URL())
	out, err := cmd.Output()
	if err == nil || len(out) > 0 {
		t.Errorf("the caller ended with %v and wrote %q", err, out)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := effects(t, journal)
	select {
	case n := <-inAfter:
		if n != 1 {
			t.Errorf("%d lines before the kill, want 1", n)
		}
	default:
		t.Error("nobody was killed")
	}
	if len(got) != 1 || got[0].Did != trace.Done || got[0].Answer != "lost" || got[0].PID != cmd.Process.Pid || got[0].Fence != 7 {
		t.Errorf("journal %+v", got)
	}
}

// A message lands although, and after, its sender is gone; one with a newer fence came in between.
func TestLateLanding(t *testing.T) {
	for tool, did := range map[string]string{"plain": trace.Done, "fence": trace.Refused, "token": trace.Known} {
		t.Run(tool, func(t *testing.T) {
			arrived, land := make(chan struct{}), make(chan struct{})
			w, c, journal := start(t, func(q Request) Plan {
				if q.Fence != 1 {
					return Plan{}
				}
				return Plan{Before: func(ctx context.Context) {
					close(arrived)
					select {
					case <-land:
					case <-ctx.Done():
					}
				}}
			})
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan error)
			go func() {
				_, err := c.Act(ctx, request(tool, "c", "a", 1))
				gone <- err
			}()
			<-arrived
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("the sender got %v", err)
			}
			if _, err := c.Act(t.Context(), request(tool, "c", "a", 2)); err != nil {
				t.Error(err)
			}
			close(land)
			eventually(t, func() bool { return w.Requests("c") == 2 })
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			got := effects(t, journal)
			if len(got) != 2 || got[0].Fence != 2 || got[0].Late || !got[1].Late || got[1].Did != did {
				t.Errorf("journal %+v, want the late one to be %q", got, did)
			}
		})
	}
}

// What is lost is lost: nothing sends a request again by itself, on a connection that was in use before either.
func TestNoRetryByItself(t *testing.T) {
	w, c, journal := start(t, func(q Request) Plan { return Plan{Lose: q.ID == "lost", Drop: q.ID == "dropped"} })
	for i := range 3 {
		for id, requests := range map[string]int{"lost": i + 1, "dropped": 0} {
			if _, err := c.Act(t.Context(), request("plain", "ok", "a", 1)); err != nil {
				t.Fatal(err)
			}
			if got := told(c.Act(t.Context(), request("plain", id, "a", 1))); got != "uncertain" || w.Requests(id) != requests {
				t.Errorf("%s: told %q after %d requests, want %d", id, got, w.Requests(id), requests)
			}
		}
	}
	if got := effects(t, journal); len(got) != 9 {
		t.Errorf("%d lines, want 9", len(got))
	}
}

// A caller that gives up before a held answer leaves its effect.
func TestHeldAnswer(t *testing.T) {
	w, c, _ := start(t, func(Request) Plan { return Plan{Hold: time.Hour} })
	c.Timeout = 50 * time.Millisecond
	eventually(t, func() bool { // on a busy machine it may give up before it was heard
		if got := told(c.Act(t.Context(), request("plain", "c", "a", 1))); got != "uncertain" {
			t.Errorf("told %q", got)
		}
		return w.Effects("c") > 0
	})
}
