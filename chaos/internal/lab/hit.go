package lab

import (
	"context"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/proxy"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Kill sends SIGKILL, and returns when the process is gone. at is where it has halted, if it has.
func (w *Worker) Kill(at point.Point) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	return w.kill(at)
}

func (w *Worker) kill(at point.Point) error {
	if w.p == nil {
		return nil
	}
	f := trace.Fault{At: trace.Now(), Kind: trace.FaultKill, Target: w.Name, PID: w.p.PID, Point: string(at), InCall: inCall(at)}
	f.Until, f.Done = w.p.Kill(), true
	w.over = true
	w.site.Fault(f)
	w.openGates(point.EffectDone)
	w.discard()
	return nil
}

// inCall reports whether a tool's effect is there at the point, and its record is not.
func inCall(p point.Point) bool {
	switch p {
	case point.EffectDone, point.EffectAnswered, point.FinishSent:
		return true
	}
	return false
}

// Pause stops the process for as long as meanwhile takes, then lets it go on, from where it halted too.
func (w *Worker) Pause(at point.Point, meanwhile func()) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	f := trace.Fault{At: trace.Now(), Kind: trace.FaultPause, Target: w.Name, PID: w.p.PID, Point: string(at), InCall: inCall(at)}
	from, err := w.p.Stop()
	if err != nil {
		return err
	}
	meanwhile()
	f.Until = trace.Now()
	f.Beyond = f.Until-from > 2*int64(w.site.lab.o.TTL)
	err = w.p.Cont()
	w.site.Fault(f)
	if err == nil {
		err = w.Go(at)
	}
	return err
}

// Cut cuts the worker off for as long as meanwhile takes: as kind says. Requests are answered late,
// or never; in the end connections are made anew.
func (w *Worker) Cut(kind string, meanwhile func()) {
	w.busy.Lock()
	defer w.busy.Unlock()
	f := trace.Fault{At: trace.Now(), Kind: kind, Target: w.Name}
	if w.p != nil {
		f.PID = w.p.PID
	}
	for _, p := range w.proxies {
		switch kind {
		case trace.FaultCut:
			p.Cut(proxy.Both)
		case trace.FaultCutIn:
			p.Cut(proxy.In)
		case trace.FaultCutOut:
			p.Cut(proxy.Out)
		case trace.FaultDelay:
			p.Delay(delay)
		}
	}
	meanwhile()
	w.healProxies()
	f.Until = trace.Now()
	f.Beyond = f.Until-f.At > 2*int64(w.site.lab.o.TTL)
	w.site.Fault(f)
}

// revokeWithin bounds how long an operator tries: there may be no leader just now.
const revokeWithin = 10 * time.Second

// Revoke ends the worker's lease as an operator would. It reports whether there was one; with an error, it may stand.
func (w *Worker) Revoke(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, revokeWithin)
	defer cancel()
	at := trace.Now()
	done, err := w.site.lab.cluster.Revoke(ctx, w.site.prefix(), w.p.PID)
	if done {
		w.site.Fault(trace.Fault{At: at, Until: trace.Now(), Kind: trace.FaultRevoke, Target: w.Name, PID: w.p.PID})
	}
	return done, err
}

func (w *Worker) healProxies() {
	for _, p := range w.proxies {
		p.Heal()
	}
}

// heal lets everything go on.
func (w *Worker) heal() {
	w.healProxies()
	w.openGates(point.EffectDone, point.EffectSent)
	_ = w.p.Cont() // an error says that it is gone
}

// openGates lets requests that halt in the world go on. Of one that was killed, what it had
// sent stays on its way until Go says otherwise.
func (w *Worker) openGates(points ...point.Point) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range points {
		if gate := w.gates[p]; gate != nil {
			close(gate)
			delete(w.gates, p)
		}
	}
}

// KillAll ends the workers that still live.
func (s *Site) KillAll() {
	for _, w := range s.all() {
		select {
		case <-w.p.Done():
		default:
			_ = w.Kill("") // what could not be killed, the lab's end will
		}
	}
}

// interrupted kills the worker, if that was not done, and writes it down.
func (w *Worker) interrupted() {
	w.busy.Lock()
	defer w.busy.Unlock()
	if !w.over {
		_ = w.kill("")
	}
}
