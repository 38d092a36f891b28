package ledger

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Stats are counts over the records that a filter selects.
type Stats struct {
	Actions  int64 // distinct guarded calls
	Attempts int64 // calls made: those that ran and those that were blocked
	Executed int64 // successes
	Blocked  int64 // calls that must not run and did not, replayed ones included
	Failed   int64 // actions whose last attempt failed
	InDoubt  int64 // actions in doubt
	Running  int64 // actions that are running
}

// Add counts r in.
func (s *Stats) Add(r *Record) {
	s.Attempts += r.Attempts
	s.Executed += r.Executed
	s.Blocked += r.Blocked
	if r.ID.IsCounter() {
		return
	}
	s.Actions++
	switch r.Status() {
	case StateFailed:
		s.Failed++
	case StateInDoubt:
		s.InDoubt++
	case StateRunning:
		s.Running++
	}
}

// MaxSummaryTools is how many tools a [Summary] counts apart.
const MaxSummaryTools = 1000

// OtherTools is the name under which a [Summary] counts the tools beyond
// [MaxSummaryTools].
const OtherTools = "(others)"

// A Summary counts records, in all and by tool.
type Summary struct {
	ToolSummary               // of all; Tool is ""
	Oldest      *Record       // the running call that started first, without arguments and result; nil if none runs
	Tools       []ToolSummary // by name, at most MaxSummaryTools and one of OtherTools, which is the last
}

// A ToolSummary counts the records of one tool.
type ToolSummary struct {
	Tool string
	Stats
	NeedsDecision int64 // of InDoubt: those that never run again by themselves (DoubtBlock)
}

// Add counts r in.
func (t *ToolSummary) Add(r *Record) {
	t.Stats.Add(r)
	if !r.ID.IsCounter() && r.Status() == StateInDoubt && r.InDoubt == DoubtBlock {
		t.NeedsDecision++
	}
}

// A Summarizer is a Store that counts records without reading each of them. It is
// optional: [Summarize] does without.
type Summarizer interface {
	// Summarize returns what [SummarizeList] does, and as of one moment unless the store says otherwise.
	Summarize(ctx context.Context, f Filter) (Summary, error)
}

// Summarize counts the records of store that f selects. It asks the store, if that is a [Summarizer], and
// else reads every record selected.
func Summarize(ctx context.Context, store Store, f Filter) (Summary, error) {
	if s, ok := store.(Summarizer); ok {
		return s.Summarize(ctx, f)
	}
	return SummarizeList(ctx, store, f)
}

// SummarizeList is [Summarize] for stores, and filters, that can not be counted better: it reads every record selected.
func SummarizeList(ctx context.Context, store Store, f Filter) (Summary, error) {
	var c Summing
	for r, err := range store.List(ctx, f) {
		if err != nil {
			return Summary{}, err
		}
		c.Add(&r)
	}
	return c.Summary(), nil
}

// Summing makes a [Summary] of records. The zero value is empty. It is not safe for concurrent use.
type Summing struct {
	sum   Summary
	tools map[string]*ToolSummary
}

// Add counts r in.
func (c *Summing) Add(r *Record) {
	c.sum.Add(r)
	c.tool(r.ID.Tool).Add(r)
	if r.Status() == StateRunning && (c.sum.Oldest == nil || r.Started.Before(c.sum.Oldest.Started)) {
		oldest := *r
		oldest.Args, oldest.Result = nil, nil
		c.sum.Oldest = &oldest
	}
}

// AddTool counts t in, which stands for records that are not added one by one.
func (c *Summing) AddTool(t ToolSummary) {
	c.sum.join(&t)
	c.tool(t.Tool).join(&t)
}

func (c *Summing) tool(name string) *ToolSummary {
	if t := c.tools[name]; t != nil {
		return t
	}
	if len(c.tools) >= MaxSummaryTools {
		// No tool can have this key: names are not empty.
		if t := c.tools[""]; t != nil {
			return t
		}
		c.tools[""] = &ToolSummary{Tool: OtherTools}
		return c.tools[""]
	}
	if c.tools == nil {
		c.tools = map[string]*ToolSummary{}
	}
	t := &ToolSummary{Tool: strings.Clone(name)}
	c.tools[t.Tool] = t
	return t
}

func (t *ToolSummary) join(u *ToolSummary) {
	t.Actions += u.Actions
	t.Attempts += u.Attempts
	t.Executed += u.Executed
	t.Blocked += u.Blocked
	t.Failed += u.Failed
	t.InDoubt += u.InDoubt
	t.Running += u.Running
	t.NeedsDecision += u.NeedsDecision
}

// Summary returns the counts so far.
func (c *Summing) Summary() Summary {
	s := c.sum
	for _, name := range slices.Sorted(maps.Keys(c.tools)) {
		if name != "" {
			s.Tools = append(s.Tools, *c.tools[name])
		}
	}
	if rest := c.tools[""]; rest != nil {
		s.Tools = append(s.Tools, *rest)
	}
	return s
}
