package cluster

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/proc"
)

// What is done to a member for real: it is gone, the others elect, and it is back with all that was confirmed.
func TestMembersAreKilledAndStopped(t *testing.T) {
	c := startCluster(t, 3)
	all, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { all.Close() })
	putSoon(t, all, "k", "0")
	for i, pid := range c.PIDs() {
		if err := syscall.Kill(pid, 0); pid == 0 || err != nil {
			t.Errorf("%s has the process id %d: %v", Name(i), pid, err)
		}
	}

	first := leader(t, c)
	pid := c.PIDs()[first]
	if err := c.Kill(first); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("after Kill the process is there: %v", err)
	}
	second := leader(t, c)
	if second == first {
		t.Errorf("the dead %s leads", Name(first))
	}
	putSoon(t, all, "k", "1")
	if err := c.Restart(t.Context(), second); err == nil || !strings.Contains(err.Error(), "runs") {
		t.Errorf("a member that runs was started again: %v", err)
	}
	if err := c.Restart(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	want(t, client(t, c.Endpoints()[first]), "k", "1")

	// A leader that is stopped is deposed, and learns of it when it goes on.
	if err := c.Pause(second); err != nil {
		t.Fatal(err)
	}
	third := leader(t, c)
	if third == second {
		t.Errorf("the stopped %s leads", Name(second))
	}
	putSoon(t, all, "k", "2")
	if err := c.Resume(second); err != nil {
		t.Fatal(err)
	}
	want(t, client(t, c.Endpoints()[second]), "k", "2")

	// All of them, and one of them stopped.
	if err := c.Pause(third); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := c.Kill(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Resume(third); err == nil {
		t.Error("a dead member was resumed")
	}
	if got := c.PIDs(); got[0]+got[1]+got[2] != 0 {
		t.Errorf("dead members have the process ids %v", got)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if l, err := c.Leader(short); err == nil {
		t.Errorf("the dead %s leads", Name(l))
	}
	if err := c.Restart(t.Context(), 0, 1, 2); err != nil {
		t.Fatal(err)
	}
	want(t, all, "k", "2")
	lease, err := all.Grant(within(t, 10*time.Second), 1)
	if err != nil || lease.TTL != 1 {
		t.Errorf("a lease of a second: %+v, %v", lease, err)
	}
}

// A member that ends by itself is told of.
func TestUnexpectedEnd(t *testing.T) {
	c := startCluster(t, 1)
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	p := c.member(0)
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "member-0 has ended by itself") {
		t.Errorf("got %v", err)
	}
	if err := c.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("after its restart: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	keeper, err := proc.NewKeeper(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = keeper.Close() })
	for _, tt := range []struct {
		o   Options
		say string
	}{
		{Options{Dir: t.TempDir(), Command: []string{"true"}}, "required"},
		{Options{Dir: t.TempDir(), Keeper: keeper}, "required"},
		{Options{Keeper: keeper, Command: []string{"true"}}, "required"},
		{Options{Dir: t.TempDir(), Keeper: keeper, Command: []string{"true"}, Members: 10}, "1 to 9"},
		{Options{Dir: t.TempDir(), Keeper: keeper, Command: []string{"sh", "-c", "echo so sorry >&2"}}, "so sorry"},
		{Options{Dir: t.TempDir(), Keeper: keeper, Command: []string{"/nowhere"}}, "nowhere"},
	} {
		if _, err := Start(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("got %v, want an error that says %q", err, tt.say)
		}
	}
	for _, told := range []string{"", "{}", `{"dir":"` + t.TempDir() + `"}`} {
		if err := Serve(t.Context(), told); err == nil {
			t.Errorf("a member of %q ran", told)
		}
	}
}
