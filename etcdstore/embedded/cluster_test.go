package embedded

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestClusterSurvivesKills(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, t.TempDir(), quick())
	if got := len(c.Endpoints()); got != 3 || c.Len() != 3 {
		t.Fatalf("%d endpoints of %d members, want 3", got, c.Len())
	}
	all, err := c.Client(nil)
	all = client(t, all, err)
	put(t, all, "k", "0")

	leader := leading(t, c)
	for round, victim := range []int{(leader + 1) % 3, leader} {
		endpoint := c.Member(victim).Endpoints()[0]
		c.Kill(victim)
		survivor, err := c.Member((victim + 1) % 3).Client(nil)
		survivor = client(t, survivor, err)
		value := strconv.Itoa(round + 1)
		put(t, survivor, "k", value)
		if got := c.Leader(); got == victim {
			t.Errorf("the dead member %d leads", got)
		}
		if err := c.Restart(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		back := c.Member(victim)
		if got := back.Endpoints()[0]; got != endpoint {
			t.Errorf("the endpoint is %s, want %s as before", got, endpoint)
		}
		one, err := back.Client(nil)
		want(t, client(t, one, err), "k", value)
	}
}

// A member that is closed hands its place over first.
func TestClosedLeaderHandsOver(t *testing.T) {
	t.Parallel()
	// With long timers: what leads right after it was not elected because nobody led.
	c := startCluster(t, 3, t.TempDir(), nil)
	leader := leading(t, c)
	if err := c.Member(leader).Close(); err != nil {
		t.Fatal(err)
	}
	if got := c.Leader(); got < 0 || got == leader {
		t.Errorf("after the leader %d was closed, %d leads", leader, got)
	}
	if err := c.Restart(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
}

func TestClusterResumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, 3, dir, quick())
	all, err := c.Client(nil)
	all = client(t, all, err)
	put(t, all, "k", "v")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := startCluster(t, 3, dir, quick())
	want(t, all, "k", "v") // by the same client
	if got, want := again.Endpoints(), c.Endpoints(); got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("the endpoints are %v, want %v as before", got, want)
	}
}

// All of them at once, as in a power cut.
func TestKillAndRestartAll(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, t.TempDir(), quick())
	all, err := c.Client(nil)
	all = client(t, all, err)
	put(t, all, "k", "v")
	c.Kill(0, 1, 2)
	if got := c.Leader(); got != -1 {
		t.Errorf("the dead member %d leads", got)
	}
	// One alone has no majority, and does not answer.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = c.Restart(ctx, 1)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	wantError(t, err, c.place.dir, "member 1", "not ready in time")
	if err := c.Restart(t.Context(), 0, 1, 2); err != nil {
		t.Fatal(err)
	}
	all, err = c.Client(nil)
	want(t, client(t, all, err), "k", "v")
}

// What was confirmed by any member is there after Close, however quick.
func TestClusterCloseLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, 3, dir, quick())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	confirmed := make([]int, 3)
	enough := make(chan struct{}, len(confirmed))
	var wg sync.WaitGroup
	for i := range confirmed {
		one, err := c.Member(i).Client(nil)
		one = client(t, one, err)
		put(t, one, "warm", "up")
		wg.Go(func() {
			told := sync.OnceFunc(func() { enough <- struct{}{} })
			defer told() // one whose put was lost, with a leader, writes no more
			for n := 1; ; n++ {
				if _, err := one.Put(ctx, "k"+strconv.Itoa(i), strconv.Itoa(n)); err != nil {
					return
				}
				confirmed[i] = n
				told()
			}
		})
	}
	<-enough
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
	again := startCluster(t, 3, dir, quick())
	all, err := again.Client(nil)
	all = client(t, all, err)
	for i, n := range confirmed {
		eventually(t, func() error {
			r, err := all.Get(t.Context(), "k"+strconv.Itoa(i))
			if err != nil {
				return err
			}
			if n == 0 && r.Count == 0 {
				return nil
			}
			if got, _ := strconv.Atoi(string(r.Kvs[0].Value)); got != n && got != n+1 {
				t.Errorf("k%d is %d, want %d, or the next one that was not confirmed", i, got, n)
			}
			return nil
		})
	}
}

func TestRestartRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, 3, dir, quick())
	wantError(t, c.Restart(t.Context(), 1), dir, "member 1 runs already")

	c.Kill(2)
	l := take(t, c.place.note.Members[2].Peer)
	wantError(t, c.Restart(t.Context(), 2), "member 2 needs its address "+l.Addr().String())
	l.Close()
	if err := c.Restart(t.Context(), 2); err != nil {
		t.Error(err)
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, c.Restart(t.Context(), 2), "was closed")
}

// A cluster can not move: its members know each other's addresses.
func TestClusterPeerPortTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, 2, dir, quick())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	l := take(t, c.place.note.Members[1].Peer)
	_, err := Cluster(t.Context(), 2, dir, quick())
	wantError(t, err, dir, "member 1 needs its address "+l.Addr().String())
	l.Close()
	startCluster(t, 2, dir, quick())
}

func TestCloseWhileRestarting(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, t.TempDir(), quick())
	c.Kill(0, 1, 2)
	done := make(chan error)
	go func() { done <- c.Restart(context.Background(), 0) }()
	eventually(t, func() error {
		if c.Member(0).isDone() {
			return errors.New("member 0 is not up yet")
		}
		return nil
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, <-done, "stopped meanwhile")
}
