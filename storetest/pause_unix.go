//go:build unix

package storetest

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/ledger-once/ledger"
)

// pauseCases stop a process without killing it.
func pauseCases() []testCase {
	return []testCase{
		{"that is paused is not dead", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.pause()
			e.refused(s, claimOf(r.ID, r.Version), r)
			e.want("delete of a paused process's record", s.Delete(e.ctx, r.ID, r.Version), ledger.ErrRunning)
			p.resume()
			e.noErrors("the finish of a process that was paused", []error{p.finish(ended(r, ledger.StateSucceeded))})
			if got := e.get(s, r.ID); got.State != ledger.StateSucceeded || got.Fence != r.Fence {
				e.Errorf("a process that was paused has finished; now there is %s", brief(got))
			}
		}},
		{"that was paused and robbed is fenced", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.pause()
			stolen := e.claim(s, stealOf(r.ID, r.Version))
			p.resume()
			e.want("finish of the process that was robbed", p.finish(ended(r, ledger.StateFailed)), ledger.ErrFenced)
			e.stands(s, stolen)
		}},
		{"that is killed while paused is dead", func(e *env) {
			s := e.owner()
			p := e.process()
			r := p.claim(claimOf(id("a"), 0))
			p.pause()
			p.kill()
			e.died(s, r)
			e.claim(s, claimOf(r.ID, r.Version))
		}},
	}
}

// pause stops the worker, and returns once it stands still.
func (p *process) pause() {
	p.e.Helper()
	pid := p.cmd.Process.Pid
	p.e.noErrors("SIGSTOP", []error{syscall.Kill(pid, syscall.SIGSTOP)})
	stat := fmt.Sprintf("/proc/%d/stat", pid)
	if _, err := os.Stat(stat); err != nil {
		return // no procfs here; the signal is on its way
	}
	p.e.eventually("the worker does not stop", func() bool {
		text, err := os.ReadFile(stat) // pid (name) state ...
		_, state, _ := strings.Cut(string(text), ") ")
		return err == nil && strings.HasPrefix(state, "T")
	})
}

func (p *process) resume() {
	p.e.Helper()
	p.e.noErrors("SIGCONT", []error{syscall.Kill(p.cmd.Process.Pid, syscall.SIGCONT)})
}
