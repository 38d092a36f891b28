package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A fleet is the worker processes of one pass, and the queue that feeds them.
// A step that a worker did not answer before it died is delivered again.
type fleet struct {
	command []string

	workers  []*worker
	messages chan received
	over     chan struct{} // closed by stop: nobody receives any more
	released chan struct{} // closed by stop: the launching thread may end
	wg       sync.WaitGroup
}

// A worker is one process, as the coordinator sees it.
type worker struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	send   *json.Encoder
	logs   *tail
	exited chan struct{} // closed when the process is gone
	ended  error         // of cmd.Wait; valid once exited is closed
	died   time.Time     // when that was; likewise

	// Only the coordinator's goroutine uses these.
	ready bool
	gone  bool
	step  *step   // delivered and not answered
	after *worker // who died with the step under way; nil if nobody did

	mu     sync.Mutex
	killed bool
}

type received struct {
	from *worker
	message
	exit bool
}

// startFleet starts n workers. Where it fails none is left.
func startFleet(command []string, n int) (*fleet, error) {
	f := &fleet{command: command, messages: make(chan received), over: make(chan struct{}), released: make(chan struct{})}
	started := make(chan error)
	f.wg.Go(func() {
		// Linux kills the children when the thread that started them ends, not the
		// process (prctl(2), PR_SET_PDEATHSIG); so this one lives as long as they do.
		runtime.LockOSThread()
		started <- f.launch(n)
		<-f.released
	})
	if err := <-started; err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *fleet) launch(n int) error {
	for i := range n {
		w := &worker{name: fmt.Sprintf("worker-%d", i+1), logs: &tail{}, exited: make(chan struct{})}
		w.cmd = exec.Command(f.command[0], f.command[1:]...)
		w.cmd.Stderr = w.logs
		dieWithParent(w.cmd)
		in, err := w.cmd.StdinPipe()
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		out, err := w.cmd.StdoutPipe()
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if err := w.cmd.Start(); err != nil {
			return fmt.Errorf("demo: start a worker process: %w", err)
		}
		w.in, w.send = in, json.NewEncoder(in)
		f.workers = append(f.workers, w)
		f.wg.Go(func() { f.receive(w, out) })
	}
	return nil
}

// receive passes on what w says until it is gone.
func (f *fleet) receive(w *worker, out io.Reader) {
	dec := json.NewDecoder(out)
	for {
		r := received{from: w}
		if dec.Decode(&r.message) != nil {
			break
		}
		f.pass(r)
	}
	_, _ = io.Copy(io.Discard, out) // so that a worker that talks nonsense can still end
	w.ended = w.cmd.Wait()
	w.died = time.Now()
	close(w.exited)
	f.pass(received{from: w, exit: true})
}

func (f *fleet) pass(r received) {
	select {
	case f.messages <- r:
	case <-f.over:
	}
}

// next returns what a worker said or that it is gone; after the context's end its cause.
func (f *fleet) next(ctx context.Context) (received, error) {
	select {
	case r := <-f.messages:
		if !r.exit {
			return r, nil
		}
		r.from.gone = true
		_ = r.from.in.Close()
		return r, r.from.unexpected()
	case <-ctx.Done():
		return received{}, context.Cause(ctx)
	}
}

// unexpected returns an error unless the worker ended well or was to be killed.
func (w *worker) unexpected() error {
	if w.wasKilled() || w.ended == nil {
		return nil
	}
	return fmt.Errorf("demo: %s ended unexpectedly: %w\n%s", w.name, w.ended, w.logs)
}

func (w *worker) wasKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

// kill ends the named worker at once (SIGKILL) and returns when it is gone.
func (f *fleet) kill(name string) error {
	i := slices.IndexFunc(f.workers, func(w *worker) bool { return w.name == name })
	if i < 0 {
		return fmt.Errorf("demo: no worker %q to kill", name)
	}
	w := f.workers[i]
	w.mu.Lock()
	w.killed = true
	w.mu.Unlock()
	if err := w.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("demo: kill %s: %w", name, err)
	}
	<-w.exited
	return nil
}

// begin tells every worker what to work with and waits until all are ready.
func (f *fleet) begin(ctx context.Context, s start) error {
	for _, w := range f.workers {
		s.Name = w.name
		_ = w.send.Encode(instruction{Start: &s}) // an error shows as an exit
	}
	for slices.ContainsFunc(f.workers, func(w *worker) bool { return !w.ready }) {
		r, err := f.next(ctx)
		if err != nil {
			return err
		}
		if r.exit {
			return fmt.Errorf("demo: %s ended before it was ready\n%s", r.from.name, r.from.logs)
		}
		r.from.ready = r.from.ready || r.Ready
	}
	return nil
}

// A count is what the queue saw of one pass.
type count struct {
	delivered int                        // calls, those delivered again too
	again     int                        // calls delivered again
	outcomes  map[string]map[outcome]int // by tool
	killed    []*worker
}

// An audience is told what becomes of the steps; an error of it ends the pass.
type audience interface {
	event(*worker, event)
	lost(*worker, step) error                 // the step died with its worker
	again(*worker, step)                      // ... and goes to another
	finished(w *worker, s step, dead *worker) // ... who has answered it
}

// deliver hands out the steps until all are answered. The steps of one run go
// one after the other; runs go side by side.
func (f *fleet) deliver(ctx context.Context, steps []step, to audience) (count, error) {
	c := count{outcomes: map[string]map[outcome]int{}}
	pending := slices.Clone(steps) // in order of the transcript
	busy := map[string]bool{}      // runs with a step under way
	orphans := map[int]*worker{}   // steps by index, and who died with them
	for len(pending) > 0 || len(busy) > 0 {
		for _, w := range f.workers {
			if w.gone || w.step != nil {
				continue
			}
			i := slices.IndexFunc(pending, func(s step) bool { return !busy[s.Run] })
			if i < 0 {
				break
			}
			s := pending[i]
			pending = slices.Delete(pending, i, i+1)
			busy[s.Run], w.step, w.after = true, &s, orphans[s.Index]
			c.delivered += len(s.Calls)
			if w.after != nil {
				to.again(w, s)
			}
			_ = w.send.Encode(instruction{Step: &s}) // an error shows as an exit
		}
		if !slices.ContainsFunc(f.workers, func(w *worker) bool { return !w.gone }) {
			return c, errors.New("demo: no worker is left")
		}
		r, err := f.next(ctx)
		if err != nil {
			return c, err
		}
		w := r.from
		switch {
		case r.Event != nil:
			to.event(w, *r.Event)
		case r.Answer != nil && w.step != nil && r.Answer.Step == w.step.Index && len(r.Answer.Outcomes) == len(w.step.Calls):
			for i, o := range r.Answer.Outcomes {
				tool := w.step.Calls[i].Tool
				if c.outcomes[tool] == nil {
					c.outcomes[tool] = map[outcome]int{}
				}
				c.outcomes[tool][o]++
			}
			if w.after != nil {
				to.finished(w, *w.step, w.after)
			}
			delete(busy, w.step.Run)
			w.step = nil
		case r.exit:
			if w.step == nil || !w.wasKilled() {
				return c, fmt.Errorf("demo: %s ended before its time\n%s", w.name, w.logs)
			}
			c.killed = append(c.killed, w)
			if err := to.lost(w, *w.step); err != nil {
				return c, err
			}
			orphans[w.step.Index] = w
			c.again += len(w.step.Calls)
			pending = slices.Insert(pending, 0, *w.step)
			delete(busy, w.step.Run)
			w.step = nil
		default:
			return c, fmt.Errorf("demo: %s answered what it was not asked: %+v", w.name, r.message)
		}
	}
	return c, nil
}

// finish lets the workers end by themselves: counts are flushed, files closed.
func (f *fleet) finish(ctx context.Context) error {
	for _, w := range f.workers {
		_ = w.in.Close()
	}
	for slices.ContainsFunc(f.workers, func(w *worker) bool { return !w.gone }) {
		if _, err := f.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop kills who is left and waits until nothing of the fleet is.
func (f *fleet) stop() {
	close(f.over)
	for _, w := range f.workers {
		_ = w.cmd.Process.Kill()
	}
	for _, w := range f.workers {
		<-w.exited
		_ = w.in.Close()
	}
	close(f.released)
	f.wg.Wait()
}
