package sqlitestore

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

func TestSpare(t *testing.T) {
	o := Options{PollMin: 5 * time.Millisecond, PollMax: 50 * time.Millisecond}
	for _, tt := range []struct {
		pause, took time.Duration
		eager       bool
		want        time.Duration
	}{
		{5 * time.Millisecond, 100 * time.Microsecond, true, 5 * time.Millisecond},
		{5 * time.Millisecond, 2 * time.Millisecond, true, 16 * time.Millisecond},
		{5 * time.Millisecond, time.Second, true, o.PollMax},
		{5 * time.Millisecond, 100 * time.Microsecond, false, o.PollMax},
		{5 * time.Millisecond, 2 * time.Millisecond, false, 100 * time.Millisecond},
		{5 * time.Millisecond, time.Second, false, 10 * o.PollMax},
	} {
		if got := o.spare(tt.pause, tt.took, tt.eager); got != tt.want {
			t.Errorf("pause %v, a look of %v, eager %t: %v, want %v", tt.pause, tt.took, tt.eager, got, tt.want)
		}
	}
}

// TestAwaitHurries: who waits for a call is told of its end by another store soon, although
// the one who wants notices only would look much later.
func TestAwaitHurries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	// A look that nobody hurries comes after the test's deadline.
	s, err := Open(t.Context(), path, &Options{PollMin: time.Millisecond, PollMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other := openTest(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	synced, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for c, err := range s.Watch(ctx, ledger.WatchOptions{Notices: true}) {
			if err == nil && c.Kind == ledger.ChangeSync {
				close(synced)
			}
		}
	}()
	<-synced
	defer func() { cancel(); <-ended }()
	r, won, err := other.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil || !won {
		t.Fatal(won, err)
	}
	told := make(chan error, 1)
	go func() { told <- s.Await(t.Context(), r.ID, r.Version) }()
	for waiting := 0; waiting == 0; time.Sleep(time.Millisecond) {
		s.hub.mu.Lock()
		waiting = len(s.hub.waiters)
		s.hub.mu.Unlock()
	}
	if err := other.Finish(t.Context(), sampleDone(r)); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
}
