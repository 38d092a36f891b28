package storetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// workerDir is set in a worker process, to the directory of its store.
const workerDir = "LEDGER_STORETEST_WORKER_DIR"

// mark begins each line that a worker has to say; the testing package prints others.
const mark = "storetest: "

// IsWorker reports whether this process was started by the suite of another
// one, to work in a store beside it. [Run] does not return in a worker.
func IsWorker() bool { return os.Getenv(workerDir) != "" }

// A request is one line to a worker; just one field is set.
type request struct {
	Claim  *ledger.Claim  `json:",omitempty"`
	Finish *ledger.Record `json:",omitempty"`
	Get    *ledger.ID     `json:",omitempty"`
	Tally  *tallies       `json:",omitempty"`
	Race   []ledger.Claim `json:",omitempty"` // claims, one after the other
	Stream []ledger.Claim `json:",omitempty"` // claims and finishes, with a reply to each
}

type tallies struct {
	Counts []ledger.Tally
	Times  int
}

type reply struct {
	Record ledger.Record
	Won    bool
	Wins   []bool
	Err    string
	Is     []int // which of sentinels the error matches
}

var sentinels = []error{ledger.ErrFenced, ledger.ErrRunning, ledger.ErrNotFound, ledger.ErrClosed, ledger.ErrInvalid}

func (r *reply) error() error {
	if r.Err == "" {
		return nil
	}
	err := errors.New(r.Err)
	for _, i := range r.Is {
		err = errors.Join(err, sentinels[i])
	}
	return err
}

func (r *reply) set(err error) {
	if err == nil {
		return
	}
	r.Err = err.Error()
	for i, s := range sentinels {
		if errors.Is(err, s) {
			r.Is = append(r.Is, i)
		}
	}
}

// work is the life of a worker: it obeys the lines on its standard input until
// they end, which they do when the process that started it goes away.
func work(t *testing.T, open Opener) {
	s := open(t, os.Getenv(workerDir))
	out := json.NewEncoder(markWriter{})
	if err := out.Encode(reply{}); err != nil { // ready
		os.Exit(1)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		if err := out.Encode(obey(s, q, out)); err != nil {
			os.Exit(1)
		}
	}
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "worker: close: %v\n", err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

func obey(s ledger.Store, q request, out *json.Encoder) reply {
	// Far more than any request needs: the first process gives up earlier.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var r reply
	var err error
	switch {
	case q.Claim != nil:
		r.Record, r.Won, err = s.Claim(ctx, *q.Claim)
	case q.Finish != nil:
		err = s.Finish(ctx, *q.Finish)
	case q.Get != nil:
		r.Record, err = s.Get(ctx, *q.Get)
	case q.Tally != nil:
		for i := 0; i < q.Tally.Times && err == nil; i++ {
			err = s.Tally(ctx, q.Tally.Counts)
		}
	case q.Race != nil:
		r.Wins = make([]bool, len(q.Race))
		for i := 0; i < len(q.Race) && err == nil; i++ {
			_, r.Wins[i], err = s.Claim(ctx, q.Race[i])
		}
	case q.Stream != nil:
		for i := 0; i < len(q.Stream) && err == nil; i++ {
			var rec ledger.Record
			if rec, r.Won, err = s.Claim(ctx, q.Stream[i]); err == nil {
				done := ended(rec, ledger.StateSucceeded)
				if err = s.Finish(ctx, done); err == nil {
					err = out.Encode(reply{Record: done, Won: true})
				}
			}
		}
	}
	r.set(err)
	return r
}

type markWriter struct{}

func (markWriter) Write(line []byte) (int, error) {
	// One write a line: a line is whole or missing when the process is killed.
	_, err := os.Stdout.Write(append([]byte("\n"+mark), line...))
	return len(line), err
}

// process is a worker as the first process sees it.
type process struct {
	e       *env
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan reply
	ended   bool
}

// process starts a worker on the case's store, and returns once it is ready.
func (e *env) process() *process {
	e.Helper()
	var patterns []string
	for part := range strings.SplitSeq(e.test, "/") {
		patterns = append(patterns, "^"+regexp.QuoteMeta(part)+"$")
	}
	p := &process{e: e, cmd: exec.Command(os.Args[0], "-test.run="+strings.Join(patterns, "/")), replies: make(chan reply)}
	p.cmd.Env = append(os.Environ(), workerDir+"="+e.dir)
	p.cmd.Stderr = os.Stderr
	dieWithParent(p.cmd)
	in, err := p.cmd.StdinPipe()
	e.noErrors("worker", []error{err})
	out, err := p.cmd.StdoutPipe()
	e.noErrors("worker", []error{err, p.cmd.Start()})
	p.in = in
	stop, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		p.read(out, stop)
	}()
	e.Cleanup(func() {
		close(stop)
		p.kill()
		<-read
	})
	p.next()
	return p
}

// read passes replies on until the worker's output ends.
func (p *process) read(out io.Reader, stop <-chan struct{}) {
	defer close(p.replies)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		text, ok := strings.CutPrefix(line, mark)
		if !ok {
			continue
		}
		var r reply
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			r.set(fmt.Errorf("worker said %q: %w", text, err))
		}
		select {
		case p.replies <- r:
		case <-stop: // the case is over; what is left is read and dropped
		}
	}
}

func (p *process) send(q request) {
	p.e.Helper()
	line, err := json.Marshal(q)
	p.e.noErrors("request", []error{err})
	_, err = p.in.Write(append(line, '\n'))
	p.e.noErrors("request to the worker", []error{err})
}

func (p *process) next() reply {
	p.e.Helper()
	select {
	case r, ok := <-p.replies:
		if !ok {
			p.e.Fatal("the worker process ended; its messages are above")
		}
		return r
	case <-time.After(p.e.opts.Patience):
		p.e.Fatalf("the worker process does not answer within %v", p.e.opts.Patience)
	}
	panic("unreachable")
}

func (p *process) call(q request) reply {
	p.e.Helper()
	p.send(q)
	return p.next()
}

// claim lets the worker claim, and wants it to win.
func (p *process) claim(c ledger.Claim) ledger.Record {
	p.e.Helper()
	r := p.call(request{Claim: &c})
	if err := r.error(); err != nil || !r.Won {
		p.e.Fatalf("claim of %s by a worker process: won %t, error %v; standing: %s", c.Next.ID, r.Won, err, brief(r.Record))
	}
	if r.Record.Owner.PID != p.cmd.Process.Pid {
		p.e.Fatalf("the owner of the worker's claim is %+v; its process is %d", r.Record.Owner, p.cmd.Process.Pid)
	}
	return p.e.get(p.e.owner(), c.Next.ID)
}

func (p *process) finish(done ledger.Record) error {
	p.e.Helper()
	r := p.call(request{Finish: &done})
	return r.error()
}

// kill ends the worker as a crash would, and returns once it is gone.
func (p *process) kill() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it says that the process was killed
	_ = p.in.Close()
}

// exit lets the worker close its store and leave.
func (p *process) exit() {
	p.e.Helper()
	p.ended = true
	_ = p.in.Close()
	for range p.replies {
	}
	p.e.noErrors("the worker's exit", []error{p.cmd.Wait()})
}
