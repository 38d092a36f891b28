package rounds

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// An answer is one line of a worker's output. The first one says that it is ready.
type answer struct {
	Sample
	Error string `json:",omitempty"`
}

// Serve is the worker's side of a Worker. For each line of in it does what the line says and writes a line of JSON to out, until in ends:
//
//	measure CALLERS DURATION    calls Measure
//	run CALLERS N               calls Run
//
// Before that it writes a line that says that it is ready. It returns the first error, having told it.
func Serve(ctx context.Context, in io.Reader, out io.Writer, w Way) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(answer{}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		s, err := obey(ctx, lines.Text(), w)
		a := answer{Sample: s}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err = errors.Join(err, answers.Encode(a)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func obey(ctx context.Context, line string, w Way) (_ Sample, err error) {
	var verb, amount string
	var callers, n int
	if _, err := fmt.Sscan(line, &verb, &callers, &amount); err != nil || callers < 1 {
		return Sample{}, fmt.Errorf("a worker does not understand %q", line)
	}
	if w.Begin != nil {
		end, err := w.Begin()
		if err != nil {
			return Sample{}, err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	switch verb {
	case "measure":
		d, err := time.ParseDuration(amount)
		if err != nil {
			return Sample{}, err
		}
		return Measure(ctx, w.Call, callers, d)
	case "run":
		if _, err := fmt.Sscan(amount, &n); err != nil {
			return Sample{}, err
		}
		return Run(ctx, w.Call, callers, n)
	}
	return Sample{}, fmt.Errorf("a worker does not understand %q", line)
}

// A Worker is a process of its own that measures when it is asked to. It is one caller's: its methods are not safe for concurrent use.
type Worker struct {
	Name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	failed  bool
}

// Start starts a worker, a program that calls Serve, and waits until it is ready. Its standard error is this process's.
func Start(name string, cmd *exec.Cmd) (*Worker, error) {
	w := &Worker{Name: name, cmd: cmd}
	cmd.Stderr = os.Stderr
	var err error
	if w.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.answers = json.NewDecoder(out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := w.Answer(); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

// AskMeasure lets it measure; Answer waits for what it found.
func (w *Worker) AskMeasure(callers int, d time.Duration) error {
	return w.ask("measure %d %s\n", callers, d)
}

// AskRun lets it make n calls; Answer waits for what it found.
func (w *Worker) AskRun(callers, n int) error { return w.ask("run %d %d\n", callers, n) }

func (w *Worker) ask(format string, args ...any) error {
	if _, err := fmt.Fprintf(w.in, format, args...); err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	return nil
}

// Answer waits for what it was asked for. After an error nothing more can be asked.
func (w *Worker) Answer() (Sample, error) {
	var a answer
	err := w.answers.Decode(&a)
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("it ended without an answer; what it wrote to standard error says why")
	case err == nil && a.Error != "":
		err = errors.New(a.Error)
	}
	if err != nil {
		w.failed = true
		return Sample{}, fmt.Errorf("%s: %w", w.Name, err)
	}
	return a.Sample, nil
}

// stopWithin bounds how long a worker has for its end.
const stopWithin = 30 * time.Second

// Stop ends the worker and waits for it. It returns how it ended unless Answer said that it failed.
func (w *Worker) Stop() error {
	closed := w.in.Close()
	kill := time.AfterFunc(stopWithin, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	ended := w.cmd.Wait()
	if w.failed {
		return nil
	}
	if err := errors.Join(closed, ended); err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	return nil
}
