package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// buildWithin bounds how long the other libraries have to be fetched and compiled.
const buildWithin = 10 * time.Minute

// others compares a guarded call on SQLite with other people's programs of the same durability: each in a process of its own, with a
// file of its own, all in turns. What can not be had, or fails, is told and left out.
func (r *runner) others() stage {
	var workers []*rounds.Worker
	var ways []contender
	s := stage{
		open: func(ctx context.Context) (err error) {
			dir, err := r.place("others")
			if err != nil {
				return err
			}
			add := func(c contender, cmd *exec.Cmd) error {
				w, err := rounds.Start(c.name, cmd)
				if err != nil {
					return err
				}
				workers = append(workers, w)
				c.measure = asked(w)
				if _, err := c.measure(ctx, 16, r.o.plan.settle); err != nil { // past the first round of its file's log
					return err
				}
				ways = append(ways, c)
				return nil
			}
			defer func() {
				if err != nil {
					err = errors.Join(err, stopAll(workers))
				}
			}()
			guarded := exec.CommandContext(ctx, r.o.exe, "--worker-store", "sqlite:"+filepath.Join(dir, "ledger.db"))
			if err := add(contender{name: "guarded call"}, guarded); err != nil {
				return err
			}
			for _, p := range r.programs(ctx, dir) {
				r.show("others", "starting "+p.name)
				if err := add(contender{name: p.name, optional: true, most: p.most}, p.cmd); err != nil {
					r.note("%v: left out", err)
				}
			}
			return ctx.Err()
		},
		close: func() error { return stopAll(workers) },
	}
	for _, n := range r.o.plan.othersCallers {
		s.cells = append(s.cells, cell{fmt.Sprintf("others/callers=%d", n), func(ctx context.Context, name string) error {
			usable := slices.DeleteFunc(slices.Clone(ways), func(c contender) bool { return c.most > 0 && n > c.most })
			if len(usable) < 2 {
				r.note("%s was not measured: there is nothing to compare with", name)
				return nil
			}
			failed, err := r.contend(ctx, Cell{Name: name, Group: "others", X: float64(n)}, usable, n, r.o.plan.round)
			ways = slices.DeleteFunc(ways, func(c contender) bool { return slices.Contains(failed, c.name) })
			return err
		}})
	}
	return s
}

func stopAll(workers []*rounds.Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.Stop())
	}
	return errors.Join(errs...)
}

// asked measures in a worker.
func asked(w *rounds.Worker) func(context.Context, int, time.Duration) (rounds.Sample, error) {
	return func(_ context.Context, callers int, d time.Duration) (rounds.Sample, error) {
		if err := w.AskMeasure(callers, d); err != nil {
			return rounds.Sample{}, err
		}
		return w.Answer()
	}
}

// A program is somebody else's, as a worker.
type program struct {
	name string
	cmd  *exec.Cmd
	most int // callers; 0: any number
}

// programs finds what there is to compare with. What was asked for and is not there is told.
func (r *runner) programs(ctx context.Context, dir string) (all []program) {
	if r.o.others {
		libraries, err := r.libraries(ctx, dir)
		if err != nil {
			r.note("other libraries were not measured: %v", err)
		}
		all = append(all, libraries...)
	}
	if r.o.ancestor != "" {
		p, err := r.ancestor(ctx, dir)
		if err != nil {
			r.note("the Python ancestor was not measured: %v", err)
			return all
		}
		all = append(all, p)
	}
	return all
}

// libraries builds the module in bench/others and asks it for its libraries.
func (r *runner) libraries(ctx context.Context, dir string) ([]program, error) {
	exe := r.o.othersExe
	if exe == "" {
		r.show("others", "building them")
		exe = filepath.Join(dir, "others.exe") // Windows needs the ending, and the rest do not mind
		if err := buildOthers(ctx, exe); err != nil {
			return nil, err
		}
	}
	out, err := exec.CommandContext(ctx, exe, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", exe, err)
	}
	var all []program
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, title, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			return nil, fmt.Errorf("%s --list: it says %q", exe, lines.Text())
		}
		all = append(all, program{name: title, cmd: exec.CommandContext(ctx, exe, name, filepath.Join(dir, name+".db"))})
	}
	return all, nil
}

// buildOthers needs the sources, the go command and, for the first time, a network.
func buildOthers(ctx context.Context, exe string) error {
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	where, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/ledger-once/ledger"))
	if err != nil {
		return fmt.Errorf("they are built from the sources, which the working directory does not lead to: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", exe, ".")
	build.Dir = filepath.Join(strings.TrimSpace(where), "bench", "others")
	build.Env = append(os.Environ(), "GOWORK=off")
	if _, err := output(build); err != nil {
		return fmt.Errorf("they can not be built, for which their modules are fetched once: %w", err)
	}
	return nil
}

// output runs cmd; an error tells what it wrote to standard error.
func output(cmd *exec.Cmd) (string, error) {
	var diagnosis bytes.Buffer
	cmd.Stderr = &diagnosis
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(diagnosis.Bytes()))
	}
	return string(out), err
}
