package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func init() {
	roles["hold"] = hold
	roles["silent"] = silent
}

// hold runs a server until it is killed, and says where.
func hold(dir string) error {
	s, err := Start(context.Background(), dir, quick())
	if err != nil {
		return err
	}
	fmt.Println(s.Endpoints()[0])
	<-s.Done()
	return s.Err()
}

// Another process is refused at once, and a killed one leaves nothing in the way.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder := process(t, "hold", dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient([]string{strings.TrimSpace(line)}, nil)
	c = client(t, c, err)
	put(t, c, "k", "v")

	begin := time.Now()
	_, err = Start(t.Context(), dir, quick())
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	wantError(t, err, fmt.Sprintf("in use by process %d", holder.Process.Pid))
	if took := time.Since(begin); took > startLimit/4 { // a start that waits does so for startLimit
		t.Errorf("the refusal took %v", took)
	}

	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed, which is an error
	s := startServer(t, dir, quick())
	c, err = s.Client(nil)
	want(t, client(t, c, err), "k", "v")
}

// silent does what makes etcd and gRPC talk.
func silent(dir string) error {
	ctx := context.Background()
	c, err := Cluster(ctx, 3, dir, quick())
	if err != nil {
		return err
	}
	all, err := c.Client(nil)
	if err != nil {
		return err
	}
	defer all.Close()
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	all.Watch(watch, "k")
	keep := func() error {
		for n := 0; ; n++ {
			once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_, err := all.Put(once, "k", "v")
			cancel()
			if err == nil || n == 120 {
				return err
			}
		}
	}
	if err := keep(); err != nil {
		return err
	}
	leader := -1
	for leader < 0 {
		time.Sleep(10 * time.Millisecond)
		leader = c.Leader()
	}
	c.Kill(leader)
	if err := keep(); err != nil {
		return err
	}
	if err := c.Restart(ctx, leader); err != nil {
		return err
	}
	if _, err := all.Put(ctx, "k", string(make([]byte, 4<<20))); err == nil {
		return errors.New("4 MiB were taken")
	}
	if _, err := all.Txn(ctx).Then(clientv3.OpPut("k", ""), clientv3.OpPut("k", "")).Commit(); err == nil {
		return errors.New("two writes of one key were taken")
	}
	if _, err := Start(ctx, dir, nil); !errors.Is(err, ErrInUse) {
		return fmt.Errorf("got %v, want ErrInUse", err)
	}
	return c.Close()
}

func TestSilent(t *testing.T) {
	t.Parallel()
	out, err := process(t, "silent", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v, after: %s", err, out)
	}
	if len(out) > 0 {
		t.Errorf("it was not silent: %s", out)
	}
}
