package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// A narrator turns what happens into lines of progress, and looks into the
// store for what lies behind it. All methods but those of its goroutines are
// called by the coordinator's.
type narrator struct {
	*Printer
	ctx    context.Context // of the pass, like the narrator itself
	script *script
	stage  *stage // nil without Ledger

	group  sync.WaitGroup
	vigils map[ledger.ID]*vigil
}

// lost is told that w was killed with s under way.
func (n *narrator) lost(w *worker, s step) error {
	n.Bad("%s (pid %d) is killed mid-call, after %s of %s happened", w.name, w.cmd.Process.Pid, toolsOf(s), s.Workflow)
	if n.stage == nil {
		return nil
	}
	standing := func(d time.Duration) {
		n.Note("%s after its death the claims of %s still stand", age(d), w.name)
	}
	free := func(v *vigil) {
		n.Good("%s after its death the lease of %s has expired: its claims are free", age(v.stood), w.name)
	}
	v, err := n.stage.lookAfter(n.ctx, &n.group, w, s.Workflow, standing, free)
	if err != nil || len(v.claims) == 0 {
		return err
	}
	for _, r := range v.claims {
		n.vigils[r.ID] = v
	}
	select {
	case <-v.over:
		n.Note("its file lock went with it, so its claims are free at once: %s", v.fences())
	default:
		n.Note("its claims stand until its lease of %s expires: %s", n.stage.info.lease(), v.fences())
	}
	return nil
}

// again is told that s, which was under way at a dead worker, goes to w.
func (n *narrator) again(w *worker, s step) {
	n.Note("the queue delivers its %d calls again, to %s", len(s.Calls), w.name)
}

// finished is told that w has answered s, which was under way at a dead worker.
func (n *narrator) finished(w *worker, s step, dead *worker) {
	n.Good("%s has finished what %s began: %s of %s", w.name, dead.name, toolsOf(s), s.Workflow)
}

func (n *narrator) event(w *worker, e event) {
	if e.Workflow == "" {
		e.Workflow = n.script.workflowOf(e.Call)
	}
	subject := e.Tool + " of " + e.Workflow
	switch {
	case e.Kind == eventTakeover:
		n.Good("%s takes over %s: %s", w.name, subject, n.takeover(ledger.ID{Workflow: e.Workflow, Tool: e.Tool, Fingerprint: e.Fingerprint}))
	case e.Kind == eventRefused:
		n.Note("%s gets 503 for %s: certainly not done", w.name, subject)
	case e.Kind == eventTimeout:
		n.Bad("%s gets 504 for %s, though it happened", w.name, subject)
	case e.Kind == eventDeduped:
		n.Good("%s resends %s, same key: not done again", w.name, subject)
	case e.Kind == eventAsked && e.Happened:
		n.Good("%s asks about %s: it was sent, so not again", w.name, subject)
	case e.Kind == eventAsked:
		n.Good("%s asks about %s: it was not sent", w.name, subject)
	}
}

// takeover compares the record, as it stands now, with what the dead worker had left.
func (n *narrator) takeover(id ledger.ID) string {
	const dead = "its worker is dead"
	v := n.vigils[id]
	if v == nil || n.stage == nil {
		return dead
	}
	select {
	case <-v.over: // that the claim was free is to be said first
	case <-n.ctx.Done():
	}
	was := v.was(id)
	r, err := n.stage.store.Get(n.ctx, id)
	if err != nil || was == nil {
		return dead
	}
	token := "same token"
	if r.Token != was.Token {
		token = "other token"
	}
	return fmt.Sprintf("fence %d (was %d), %s", r.Fence, was.Fence, token)
}

// end waits for the narrator's goroutines.
func (n *narrator) end() { n.group.Wait() }

func (n *narrator) summary(p *pass) {
	n.Note("%d calls, %d delivered again, in %s: %d actions done where %d were meant",
		n.script.calls, p.again, seconds(p.took), len(p.effects), len(n.script.actions))
}

// age tells people how long ago something was.
func age(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// seconds tells a duration to people.
func seconds(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
