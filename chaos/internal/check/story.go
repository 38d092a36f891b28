package check

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func seconds(d int64) time.Duration { return time.Duration(d).Round(time.Millisecond) }

// story tells what happened to the call around the time at, for people.
func (c *checker) story(k *call, at int64) []string {
	type event struct {
		at   int64
		text string
	}
	var all []event
	add := func(at int64, format string, args ...any) {
		all = append(all, event{at, fmt.Sprintf("%+.6fs ", float64(at-c.run.From)/1e9) + fmt.Sprintf(format, args...)})
	}
	procs := map[*process]bool{}
	for _, o := range k.ops {
		procs[o.proc] = true
		add(o.start, "%s %s", o.proc.name, o.begins())
		if o.ended() {
			add(o.end, "%s %s", o.proc.name, o.ends())
		}
	}
	for _, e := range k.effects {
		add(e.At, "world: %s of fence %d, token %s, by %s: %s", e.Did, e.Fence, e.Token, e.Worker, e.Result)
	}
	for _, w := range k.writes {
		switch {
		case w.Gone:
			add(w.At, "store: %s key gone at revision %d", w.Key, w.Rev)
		case w.Record != nil:
			add(w.At, "store: %s at revision %d", brief(w.Record), w.Rev)
		default:
			add(w.At, "store: %s key of %s at revision %d", w.Key, w.Session, w.Rev)
		}
	}
	for p := range procs {
		if p.killed != never {
			add(p.killed, "%s is killed", p.name)
		}
		for _, f := range p.faults {
			add(f.At, "%s: %s until %+.6fs", p.name, f.Kind, float64(f.Until-c.run.From)/1e9)
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	if at == 0 {
		at = never
	}
	// What led to it matters more than what came after.
	i, _ := slices.BinarySearchFunc(all, at, func(e event, at int64) int { return cmp.Compare(e.at, at) })
	last := min(len(all), max(i+8, maxEvidence-1))
	first := max(0, last-(maxEvidence-1))
	var lines []string
	for _, e := range all[first:last] {
		lines = append(lines, e.text)
	}
	if c.healed {
		lines = append(lines, "in the end: "+brief(k.final))
	}
	return lines
}

func (o *op) begins() string {
	s := fmt.Sprintf("%s #%d", o.kind, o.n)
	if o.in != 0 {
		s += fmt.Sprintf(" of #%d", o.in)
	}
	switch o.kind {
	case trace.Claim:
		s += fmt.Sprintf(" over version %d", o.seen)
		if o.steal {
			s += ", stealing,"
		}
		s += ": " + brief(o.next)
	case trace.Finish:
		s += ": " + brief(o.next)
	case trace.Delete:
		s += fmt.Sprintf(" of version %d", o.seen)
	case trace.Attempt, trace.Query:
		s += fmt.Sprintf(" with fence %d, token %s", o.fence, o.token)
	case trace.Resolve:
		s += " as " + o.as
	}
	return s
}

func (o *op) ends() string {
	s := fmt.Sprintf("%s #%d ends", o.kind, o.n)
	if o.kind == trace.Claim && o.err == "" {
		s += map[bool]string{true: ", won", false: ", not won"}[o.won]
	}
	if o.stands != nil {
		s += ": " + brief(o.stands)
	}
	if o.outcome != "" {
		s += ": " + o.outcome
	}
	if o.value != "" {
		s += " " + o.value
	}
	if o.err != "" {
		s += " (" + o.err + ")"
	}
	return s
}

// brief is a record for people.
func brief(s *trace.Snapshot) string {
	if s == nil {
		return "no record"
	}
	if s.State == "" {
		return fmt.Sprintf("a removal by fence %d", s.Fence)
	}
	text := fmt.Sprintf("%s, version %d, fence %d, attempt %d, token %s", s.State, s.Version, s.Fence, s.Attempt, s.Token)
	if s.Result != "" {
		text += ", result " + s.Result
	}
	return text
}
