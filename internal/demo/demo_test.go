package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

func run(t *testing.T, o Options) (*Report, string, error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	if o.Command == nil {
		o.Command = command(t, WorkerCommand)
	}
	var said bytes.Buffer
	o.Progress = &Printer{W: &said}
	r, err := Run(t.Context(), &o)
	left, globErr := filepath.Glob(filepath.Join(os.TempDir(), "ledger-demo-*"))
	if globErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, globErr)
	}
	return r, said.String(), err
}

// longLease is not ended by a disk that stalls for some seconds, in tests that count what a lease's end does.
const longLease = 6 * time.Second

func TestRun(t *testing.T) {
	t.Run("embedded etcd", func(t *testing.T) {
		if testing.Short() {
			t.Skip("it waits for a lease to expire")
		}
		t.Setenv("ETCDCTL_USER", "somebody:else") // of another cluster
		t.Setenv("ETCDCTL_CACERT", "/nowhere/ca.pem")
		r, said := testRun(t, Options{Lease: longLease})
		if r.Store.Kind != kindEmbedded || r.Store.LeaseSeconds != 6 || r.Left != "" {
			t.Errorf("got store %+v, left %q", r.Store, r.Left)
		}
		for _, c := range r.Recoveries {
			// Renewed just before the death or a third of a lease earlier, or more if this machine is busy.
			if c.Lost && (c.Free <= 0 || c.Free > 60) {
				t.Errorf("%s of %s: free after %v s, want about 6", c.Tool, c.Workflow, c.Free)
			}
		}
		inOrder(t, said, "its claims stand until its lease of 6s expires: charge_card with fence ",
			"after its death the claims of ", "after its death the lease of ", " takes over ", " has finished what ")
	})
	t.Run("sqlite", func(t *testing.T) {
		url := "sqlite:" + filepath.Join(t.TempDir(), "ledger.db")
		r, said := testRun(t, Options{Store: url})
		if r.Store.Kind != kindSQLite || r.Store.LeaseSeconds != 0 || r.Left != url {
			t.Errorf("got store %+v, left %q", r.Store, r.Left)
		}
		for _, c := range r.Recoveries {
			if c.Free != 0 {
				t.Errorf("%s of %s: free after %v s, want at once", c.Tool, c.Workflow, c.Free)
			}
		}
		inOrder(t, said, "its claims are free at once: charge_card with fence ", " takes over ", " has finished what ")
		if _, _, err := run(t, Options{Store: url}); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), "there are records in it already") {
			t.Errorf("a second time: got error %v, want ErrStore", err)
		}
	})
}

// inOrder checks that the phrases were said, one after the other.
func inOrder(t *testing.T, said string, phrases ...string) {
	t.Helper()
	said = strings.Join(strings.Fields(said), " ")
	rest := said
	for _, phrase := range phrases {
		_, after, ok := strings.Cut(rest, strings.TrimSpace(phrase))
		if !ok {
			t.Fatalf("%q was not said, or not in order:\n%s", phrase, said)
		}
		rest = after
	}
}

// testRun runs the demo and checks what holds on any store.
func testRun(t *testing.T, o Options) (*Report, string) {
	t.Helper()
	r, said, err := run(t, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	s := script0(t)
	want := &Report{
		OK: true, Calls: s.calls, Workflows: s.workflows(), Workers: 4,
		// Without: every acting call is done, but for the one refused, the charge
		// delivered again, and the message that came twice with the same ids; the mail delivered again is sent again.
		Tools: []Row{
			{Tool: "charge_card", Intended: 8, Without: 13, With: 8, Replayed: 5, Recovered: 1},
			{Tool: "create_ticket", Intended: 2, Without: 4, With: 2, Blocked: 2},
			{Tool: "refund_payment", Intended: 2, Without: 3, With: 2, Replayed: 1, Recovered: 1},
			{Tool: "send_email", Intended: 8, Without: 13, With: 8, Replayed: 5, Recovered: 2},
		},
		Total:   Row{Tool: "total", Intended: 20, Without: 33, With: 20, Blocked: 2, Replayed: 11, Recovered: 4},
		Reads:   []Row{{Tool: "search_web", Intended: 7, Without: 7, With: 7}},
		Without: Figures{Delivered: s.calls + 2, Again: 2, Effects: 33, Deduped: 2, Failed: 3},
		With:    Figures{Delivered: s.calls + 2, Again: 2, Effects: 20, Deduped: 2, Failed: 3},
	}
	got := *r
	if len(got.Without.Killed) != 1 || len(got.With.Killed) != 1 || len(got.Without.Twice) != 13 || len(got.With.Twice)+len(got.With.Missing) != 0 {
		t.Errorf("got killed %v and %v, twice %q and %q, missing %q",
			got.Without.Killed, got.With.Killed, got.Without.Twice, got.With.Twice, got.With.Missing)
	}
	for _, f := range []*Figures{&got.Without, &got.With} {
		f.Killed, f.Twice, f.Missing, f.Seconds = nil, nil, nil, 0
	}
	stats := got.Stats
	got.Stats, got.Store, got.Recoveries, got.Left = Stats{}, StoreInfo{}, nil, ""
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("report, want - got +:\n%s", diff)
	}
	// What the guard counted must fit what the agents were told.
	// (The killed worker had blocked nothing yet, so no count is lost with it.)
	wantStats := Stats{Actions: 20, Attempts: int64(s.calls + 2), Executed: 20 + 7, Blocked: 2 + 11}
	if stats != wantStats {
		t.Errorf("the guard's stats: got %+v, want %+v", stats, wantStats)
	}
	lost := 0
	for _, c := range r.Recoveries {
		if c.Lost {
			lost++
		}
		if c.Lost && (c.Workflow != "order-7002" || c.Workers[0] != r.With.Killed[0] || c.Workers[1] == c.Workers[0]) ||
			len(c.Fences) != 2 || c.Fences[1] <= c.Fences[0] || len(c.Workers) != 2 || !c.Token {
			t.Errorf("recovered: %+v", c)
		}
	}
	if len(r.Recoveries) != 4 || lost != 2 {
		t.Errorf("%d recoveries, %d of them of a killed worker's calls; want 4, 2", len(r.Recoveries), lost)
	}
	for _, phrase := range []string{"is killed mid-call", "takes over charge_card of order-7002: fence ", "takes over send_email of order-7002: fence ",
		"same token", "asks about send_email of order-7002: it was sent", "gets 504", "gets 503"} {
		inOrder(t, said, phrase)
	}
	return r, said
}

// The demo must notice a guard that does not guard.
func TestRunNoticesABrokenGuard(t *testing.T) {
	r, said, err := run(t, Options{BreakGuard: true, Store: filepath.Join(t.TempDir(), "ledger.db")})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if r.OK || r.Total.With != r.Total.Without || len(r.With.Twice) != 13 {
		t.Errorf("got OK %v, %d done with Ledger, %d without, twice %q", r.OK, r.Total.With, r.Total.Without, r.With.Twice)
	}
}

func TestRunKeeps(t *testing.T) {
	dir, file := filepath.Join(t.TempDir(), "new", "dir"), filepath.Join(t.TempDir(), "ledger.db")
	r, said, err := run(t, Options{Keep: dir, Workers: 2, Store: "sqlite:" + file})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for name, want := range map[string]int{journalWithout: r.Without.Effects, journalWith: r.With.Effects} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if got := bytes.Count(text, []byte("\n")); err != nil || got != want {
			t.Errorf("%s: %d lines, %v; want %d", name, got, err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if _, _, err := run(t, Options{Keep: dir}); !errors.Is(err, ErrKeep) || !strings.Contains(err.Error(), journalWithout) {
		t.Errorf("a second time: got error %v, want ErrKeep that names the file", err)
	}
}

func TestRunIsBounded(t *testing.T) {
	_, _, err := run(t, Options{Command: command(t, roleStuck), Timeout: 100 * time.Millisecond, Store: filepath.Join(t.TempDir(), "ledger.db")})
	if err == nil || !strings.Contains(err.Error(), "not done after 100ms") {
		t.Errorf("got error %v", err)
	}
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	p := &Printer{W: writerFunc(func(b []byte) {
		if bytes.Contains(b, []byte("killed mid-call")) {
			cancel(why)
		}
	})}
	if _, err := Run(ctx, &Options{Command: command(t, WorkerCommand), Progress: p, Store: filepath.Join(t.TempDir(), "ledger.db")}); !errors.Is(err, why) {
		t.Errorf("got error %v, want the cause", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestRunBadWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"one":        {Options{Workers: 1}, "use 2 to 64"},
		"no command": {Options{Command: []string{filepath.Join(t.TempDir(), "none")}}, "start a worker process"},
		"dying":      {Options{Command: command(t, roleDying)}, "out of coffee"},
	} {
		if _, _, err := run(t, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestRunBadKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, Options{Keep: file}); !errors.Is(err, ErrKeep) {
		t.Errorf("got error %v, want ErrKeep", err)
	}
}

// In one process, on the memory store and with no fault, the transcript's
// retries alone: what is one action and what is not.
func TestTranscriptInOneProcess(t *testing.T) {
	s := script0(t)
	world, _ := testService(t, faults{}, nil)
	c := newClient(world.url, "worker-1", func(event) {})
	defer c.close()
	guard, err := ledger.New(ledger.NewMemory(), &ledger.Options{Policies: c.policies()})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(context.Background())
	w := &worksite{client: c, guard: guard}
	for _, st := range s.steps {
		for i, o := range w.do(t.Context(), st) {
			if o == outcomeFailed {
				t.Errorf("call %d of %s failed", st.Calls[i].N, st.Calls[i].Tool)
			}
		}
	}
	p := &pass{deeds: world.did()}
	f := figures(s, p)
	if len(f.Twice)+len(f.Missing) > 0 || len(p.effects) != len(s.actions) || p.reads != 7 {
		t.Errorf("twice %q, missing %q, %d effects, %d reads", f.Twice, f.Missing, len(p.effects), p.reads)
	}
}

func TestWorkRefusesNonsense(t *testing.T) {
	for name, in := range map[string]string{"nothing": "", "no JSON": "{", "a step": `{"step":{}}`, "a bad ledger": `{"start":{"ledger":"etcd://h"}}`} {
		if err := Work(t.Context(), strings.NewReader(in), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A worker whose coordinator is gone must end, also in the middle of a call.
func TestWorkEndsWithItsInput(t *testing.T) {
	hold := make(chan struct{})
	world, _ := testService(t, faults{Kill: []int{1}}, func(string) error { <-hold; return nil })
	defer close(hold)
	in, feed := io.Pipe()
	out, say := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Work(context.Background(), in, say, io.Discard)
		_ = say.Close()
		done <- err
	}()
	enc, dec := json.NewEncoder(feed), json.NewDecoder(out)
	_ = enc.Encode(instruction{Start: &start{Name: "worker-1", Service: world.url}})
	var m message
	if err := dec.Decode(&m); err != nil || !m.Ready {
		t.Fatalf("got %+v, %v; want ready", m, err)
	}
	_ = enc.Encode(instruction{Step: &step{Calls: []call{{N: 1, ID: "x", Tool: "send_email", Arguments: "{}"}}}})
	for len(world.did().effects) == 0 { // the service holds the answer back from now on
		time.Sleep(time.Millisecond)
	}
	_ = feed.Close()
	m = message{}
	if err := dec.Decode(&m); err != nil || m.Answer == nil || m.Answer.Outcomes[0] != outcomeFailed {
		t.Errorf("got %+v, %v; want a failed call", m, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
