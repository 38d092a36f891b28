package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// events are the faults and the effects in the order of time, those of the focus if they are too many.
func (sc *scene) events() (rows []event, more int) {
	type timed struct {
		at int64
		event
	}
	var all []timed
	add := func(at int64, lane, what string) {
		all = append(all, timed{at, event{sc.seconds(at) + " s", clip(lane, 80), clip(what, maxLine)}})
	}
	for _, f := range sc.faults {
		add(f.At, f.Target, faultTitle(sc, f))
	}
	for _, e := range sc.effects {
		if sc.focus == "" || e.ID == sc.focus || len(sc.effects) <= 60 {
			add(e.At, "world", effectTitle(sc, e))
		}
	}
	slices.SortStableFunc(all, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	for _, t := range all[:min(len(all), 200)] {
		rows = append(rows, t.event)
	}
	return rows, len(all) - len(rows)
}

func faultTitle(sc *scene, f trace.Fault) string {
	parts := []string{f.Kind}
	if f.Target != "" {
		parts = append(parts, f.Target)
	}
	if f.Until > f.At && sc.end(f) != f.At {
		parts = append(parts, "for "+took(time.Duration(f.Until-f.At)))
	}
	if f.Beyond {
		parts = append(parts, "beyond the lease")
	}
	if f.InCall {
		parts = append(parts, "between an effect and its record")
	}
	if f.Point != "" {
		parts = append(parts, "at "+f.Point)
	}
	if f.Text != "" {
		parts = append(parts, f.Text)
	}
	return clip(strings.Join(parts, " · "), maxLine) + " · " + sc.seconds(f.At) + " s"
}

func effectTitle(sc *scene, e trace.Effect) string {
	t := fmt.Sprintf("%s · %s · by %s · fence %d · %s s", e.Did, clip(e.ID, maxLine), clip(e.Worker, 40), e.Fence, sc.seconds(e.At))
	if e.Late {
		t += " · a late message"
	}
	if e.Answer != "" {
		t += " · answer " + clip(e.Answer, 40)
	}
	return t
}

func opTitle(sc *scene, o op) string {
	t := string(o.Kind) + " · " + clip(o.ID, maxLine)
	if o.Fence != 0 {
		t += fmt.Sprintf(" · fence %d", o.Fence)
	}
	if o.open() {
		return t + " · from " + sc.seconds(o.From) + " s · no end"
	}
	if o.Outcome != "" {
		t += " · " + clip(o.Outcome, 40)
	}
	if o.Err != "" {
		t += " · " + clip(o.Err, 160)
	}
	return t + fmt.Sprintf(" · %s to %s s (%s)", sc.seconds(o.From), sc.seconds(o.To), took(time.Duration(o.To-o.From)))
}
