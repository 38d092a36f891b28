//go:build linux

package fleetloop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

var (
	rounds  = flag.Int("rounds", 60, "calls that two processes make at the same time")
	calls   = flag.Int("calls", 800, "calls while leaders are killed")
	kills   = flag.Int("kills", 1, "leaders killed")
	records = flag.Int("records", 3000, "finished records")
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(jobEnv); spec != "" {
		os.Exit(runWorker(spec))
	}
	leakcheck.Main(m)
}

// A fleet is a cluster, and the worker processes on it.
type fleet struct {
	*testing.T
	ctx     context.Context
	cluster *embedded.Servers
	client  *clientv3.Client
	job     job
	ids     *ledger.Guard // tells the IDs of calls
}

// newFleet starts a cluster of n members.
func newFleet(t *testing.T, n int, ttl time.Duration) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	// Timings that allow short leases; all of the history is kept, since it is what is checked.
	cluster, err := embedded.Cluster(ctx, n, t.TempDir(), &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, History: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := cluster.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	journal := filepath.Join(t.TempDir(), "journal.jsonl")
	if err := os.WriteFile(journal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{T: t, ctx: ctx, cluster: cluster, client: client, job: job{Endpoints: cluster.Endpoints(), Prefix: "fleet", TTL: ttl, Journal: journal}}
	f.ids = f.guard(ledger.NewMemory())
	return f
}

// guard returns a guard that is closed with the test.
func (f *fleet) guard(s ledger.Store) *ledger.Guard {
	f.Helper()
	g, err := ledger.New(s, options())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			f.Error(err)
		}
	})
	return g
}

// open opens a store in this process.
func (f *fleet) open(o etcdstore.Options) *etcdstore.Store {
	f.Helper()
	o.Prefix = f.job.Prefix
	if o.TTL == 0 {
		o.TTL = f.job.TTL
	}
	s, err := etcdstore.Open(f.ctx, f.job.Endpoints, &o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	return s
}

// A proc is a worker process.
type proc struct {
	f   *fleet
	cmd *exec.Cmd
	pid int

	mu    sync.Mutex
	in    *json.Encoder
	next  int
	calls map[int]*call
	ended chan struct{} // closed when its output has ended
}

// A call is one that a worker makes.
type call struct {
	f             *fleet
	ask           ask
	started, over chan event
	gone          chan struct{}
}

// start starts a worker. It ends with the test at the latest.
func (f *fleet) start() *proc {
	f.Helper()
	spec, err := json.Marshal(f.job)
	if err != nil {
		f.Fatal(err)
	}
	cmd := exec.CommandContext(f.ctx, os.Args[0])
	cmd.Env = append(os.Environ(), jobEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	dieWithParent(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	p := &proc{f: f, cmd: cmd, pid: cmd.Process.Pid, in: json.NewEncoder(in), calls: map[int]*call{}, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var e event
			if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
				f.Errorf("worker %d wrote %q: %v", p.pid, sc.Text(), err)
				continue
			}
			p.tell(e)
		}
	}()
	f.Cleanup(func() {
		_ = in.Close() // then it ends by itself, unless it was killed
		<-p.ended
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == -1) {
			f.Errorf("worker %d: %v", p.pid, err)
		}
	})
	return p
}

func (p *proc) tell(e event) {
	p.mu.Lock()
	c := p.calls[e.Op]
	p.mu.Unlock()
	if e.Started {
		c.started <- e
		return
	}
	c.over <- e
}

// call lets the worker make a call, beside those that it makes already.
func (p *proc) call(a ask) *call {
	p.f.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	c := &call{p.f, a, make(chan event, 1), make(chan event, 1), p.ended}
	p.calls[p.next] = c
	if err := p.in.Encode(request{Op: p.next, Call: &a}); err != nil {
		p.f.Fatal(err)
	}
	return c
}

// do makes a call and returns what became of it.
func (p *proc) do(tool, key string) event {
	p.f.Helper()
	return p.call(ask{Tool: tool, Key: key}).wait()
}

// kill sends SIGKILL, and returns when the process is gone.
func (p *proc) kill() {
	p.f.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.f.Fatal(err)
	}
	<-p.ended
}

// wait returns what became of the call.
func (c *call) wait() event {
	c.f.Helper()
	select {
	case e := <-c.over:
		return e
	case <-c.gone:
	case <-c.f.ctx.Done():
	}
	select {
	case e := <-c.over: // its last words
		return e
	default:
		c.f.Fatalf("%s %s: the worker is gone, or the test is over: %v", c.ask.Tool, c.ask.Key, context.Cause(c.f.ctx))
		return event{}
	}
}

// running returns when the tool has done its effect and is held.
func (c *call) running() event {
	c.f.Helper()
	select {
	case e := <-c.started:
		return e
	case e := <-c.over:
		c.f.Fatalf("%s %s is over before its tool was held: %+v", c.ask.Tool, c.ask.Key, e)
	case <-c.gone:
		c.f.Fatalf("%s %s: the worker is gone", c.ask.Tool, c.ask.Key)
	case <-c.f.ctx.Done():
		c.f.Fatalf("%s %s: %v", c.ask.Tool, c.ask.Key, context.Cause(c.f.ctx))
	}
	return event{}
}

// effects reads the journal: what was done, in its order.
func (f *fleet) effects() map[string][]effect {
	f.Helper()
	text, err := os.ReadFile(f.job.Journal)
	if err != nil {
		f.Fatal(err)
	}
	all := map[string][]effect{}
	for line := range strings.Lines(string(text)) {
		var e effect
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			f.Fatalf("journal: %q: %v", line, err)
		}
		all[e.Key] = append(all[e.Key], e)
	}
	return all
}
