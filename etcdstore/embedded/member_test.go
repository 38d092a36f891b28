package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func init() { roles["member"] = member }

// member runs the member that the last argument names, until its input ends.
func member(dir string) error {
	i, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		return err
	}
	s, err := Member(i, dir, quick())
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// fleet are the members of one etcd, each in a process of its own.
type fleet struct {
	t         *testing.T
	dir       string
	endpoints []string
	cmds      []*exec.Cmd
	inputs    []io.Closer
}

func startFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), cmds: make([]*exec.Cmd, n), inputs: make([]io.Closer, n)}
	var err error
	if f.endpoints, err = Prepare(t.Context(), n, f.dir, quick()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f.start(i)
	}
	t.Cleanup(func() {
		for i, cmd := range f.cmds {
			f.inputs[i].Close()
			_ = cmd.Wait() // killed at the test's end, unless it was quicker
		}
	})
	return f
}

func (f *fleet) start(i int) {
	f.t.Helper()
	cmd := process(f.t, "member", f.dir)
	cmd.Args = append(cmd.Args, strconv.Itoa(i))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.cmds[i], f.inputs[i] = cmd, in
}

func (f *fleet) kill(i int) {
	f.t.Helper()
	if err := f.cmds[i].Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	_ = f.cmds[i].Wait() // killed, which is an error
}

func (f *fleet) client(endpoints ...string) *clientv3.Client {
	f.t.Helper()
	c, err := newClient(endpoints, nil)
	return client(f.t, c, err)
}

// A SIGKILL of a member stops nobody else, and what was confirmed is there in the
// member that is started again; after one of all of them, too.
func TestMembersInProcesses(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 3)
	all := f.client(f.endpoints...)
	put(t, all, "k", "0")
	for i := range f.endpoints {
		f.kill(i)
		value := strconv.Itoa(i + 1)
		put(t, all, "k", value)
		f.start(i)
		want(t, f.client(f.endpoints[i]), "k", value)
	}

	// Puts that are under way while all members die.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	confirmed := make([]int, 4)
	enough := make(chan struct{}, len(confirmed))
	for w := range confirmed {
		writers.Go(func() {
			told := sync.OnceFunc(func() { enough <- struct{}{} })
			defer told() // one whose put was lost, with a leader, writes no more
			for n := 1; ; n++ {
				if _, err := all.Put(ctx, "w"+strconv.Itoa(w), strconv.Itoa(n)); err != nil {
					return
				}
				if confirmed[w] = n; n == 20 {
					told()
				}
			}
		})
	}
	for range confirmed {
		<-enough
	}
	for i := range f.endpoints {
		f.kill(i)
	}
	cancel()
	writers.Wait()
	for i := range f.endpoints {
		f.start(i)
	}
	again := f.client(f.endpoints...)
	for w, n := range confirmed {
		eventually(t, func() error {
			r, err := again.Get(t.Context(), "w"+strconv.Itoa(w))
			if err != nil {
				return err
			}
			if n == 0 && r.Count == 0 {
				return nil
			}
			if len(r.Kvs) != 1 {
				t.Fatalf("w%d is gone, of which %d was confirmed", w, n)
			}
			if got, _ := strconv.Atoi(string(r.Kvs[0].Value)); got != n && got != n+1 {
				t.Errorf("w%d is %d, want %d, or the next one that was not confirmed", w, got, n)
			}
			return nil
		})
	}
}

// A member that is told to stop does so, and its directory can be used as a whole again.
func TestMembersStopAndCluster(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 2)
	put(t, f.client(f.endpoints...), "k", "v")
	for i, cmd := range f.cmds {
		f.inputs[i].Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("member %d: %v", i, err)
		}
	}
	c := startCluster(t, 2, f.dir, quick())
	all, err := c.Client(nil)
	want(t, client(t, all, err), "k", "v")
	again, err := Prepare(t.Context(), 2, f.dir, quick())
	if !errors.Is(err, ErrInUse) {
		t.Errorf("Prepare while it runs: got %v, %v, want ErrInUse", again, err)
	}
	if got := c.Endpoints(); got[0] != f.endpoints[0] || got[1] != f.endpoints[1] {
		t.Errorf("the endpoints are %v, want %v as before", got, f.endpoints)
	}
}

func TestMemberRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Member(0, "", nil); err == nil {
		t.Error("a member of no directory was started")
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	_, err := Member(0, nowhere, nil)
	wantError(t, err, nowhere, "call Prepare first")
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a directory was made")
	}
	unready := t.TempDir()
	if err := os.WriteFile(filepath.Join(unready, noteName), []byte(`{"version":1,"members":[{"name":"m0"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Member(0, unready, nil)
	wantError(t, err, "call Prepare first")

	dir := t.TempDir()
	endpoints, err := Prepare(t.Context(), 1, dir, quick())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 1} {
		_, err = Member(i, dir, quick())
		wantError(t, err, dir, "of 1 member, counted from 0")
	}
	l := take(t, endpoints[0][len("http://"):])
	_, err = Member(0, dir, quick())
	wantError(t, err, "member 0 needs its address "+l.Addr().String())
	l.Close()

	s, err := Member(0, dir, quick())
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.Client(nil)
	one = client(t, one, err)
	put(t, one, "k", "v")
	_, err = Member(0, dir, quick())
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	wantError(t, err, fmt.Sprintf("member 0 of the etcd in %s: in use by this process", dir))
	if _, err = Start(t.Context(), dir, quick()); !errors.Is(err, ErrInUse) {
		t.Errorf("Start beside a member: got %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	whole := startServer(t, dir, quick())
	if _, err = Member(0, dir, quick()); !errors.Is(err, ErrInUse) {
		t.Errorf("a member beside Start: got %v, want ErrInUse", err)
	}
	wantError(t, err, "in use by this process")
	one, err = whole.Client(nil)
	want(t, client(t, one, err), "k", "v")
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "m0", "member")); err != nil {
		t.Fatal(err)
	}
	_, err = Member(0, dir, quick())
	wantError(t, err, "the data of member 0 are gone")
}
