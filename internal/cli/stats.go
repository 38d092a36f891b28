package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) statsCommand() *cobra.Command {
	var (
		t   target
		sel selection
		f   format
	)
	cmd := &cobra.Command{
		Use:   "stats [FILE|URL]",
		Short: "Count calls, duplicates, and what is in doubt",
		Long: "Counts the calls of a ledger, in all and per tool: how often they were asked for (attempts), how\n" +
			"often they succeeded (executed), and how many were blocked as duplicates. Counts of blocked\n" +
			"calls reach the store a second late. On SQLite it is soon done for all calls and for those of a tool\n" +
			"or workflow; with other flags, and in etcd, it reads every call selected.\n\n" + storeHelp,
		Example: "  ledger stats ledger.db\n" +
			"  ledger stats --wf order-42 -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := sel.filter(time.Now())
			if err != nil {
				return usage(err)
			}
			named, _ := optional(args, 0)
			return a.withStore(cmd.Context(), &t, named, toLook, func(at *ledgerAt) error {
				s, err := summarize(cmd.Context(), at, filter)
				if err != nil {
					return err
				}
				if f != asTable {
					return a.printJSON(f, s)
				}
				return a.printSummary(s)
			})
		},
	}
	sel.flags(cmd)
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

// A tally is what is counted, in all or of one tool.
type tally struct {
	Actions       int64 `json:"actions"` // distinct guarded calls
	Attempts      int64 `json:"attempts"`
	Executed      int64 `json:"executed"`
	Blocked       int64 `json:"blocked"`
	Failed        int64 `json:"failed"`
	InDoubt       int64 `json:"in_doubt"`
	NeedsDecision int64 `json:"needs_decision"` // in doubt, and not run again by itself
	Running       int64 `json:"running"`
}

func tallyOf(t *ledger.ToolSummary) tally {
	return tally{t.Actions, t.Attempts, t.Executed, t.Blocked, t.Failed, t.InDoubt, t.NeedsDecision, t.Running}
}

// rate is the share of attempts that were blocked; 0 where there were none.
func (t *tally) rate() float64 {
	if t.Attempts == 0 {
		return 0
	}
	return float64(t.Blocked) / float64(t.Attempts)
}

type summary struct {
	tally
	DuplicateRate float64           `json:"duplicate_rate"`
	Oldest        *oldest           `json:"oldest_running,omitempty"`
	Tools         map[string]*tally `json:"tools"`
}

type oldest struct {
	id      ledger.ID
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	Owner   string    `json:"owner"`
}

func summarize(ctx context.Context, at *ledgerAt, filter ledger.Filter) (*summary, error) {
	sum, err := ledger.Summarize(ctx, at.Store, filter)
	if err != nil {
		return nil, err
	}
	s := &summary{tally: tallyOf(&sum.ToolSummary), Tools: make(map[string]*tally, len(sum.Tools))}
	for i := range sum.Tools {
		t := tallyOf(&sum.Tools[i])
		s.Tools[sum.Tools[i].Tool] = &t
	}
	if r := sum.Oldest; r != nil {
		s.Oldest = &oldest{r.ID, r.ID.String(), r.Started, ownerText(r.Owner)}
	}
	s.DuplicateRate = s.rate()
	return s, nil
}

func (a *app) printSummary(s *summary) error {
	out := a.screen(a.out)
	out.field("calls", fmt.Sprintf("%d guarded, asked for %d times with the unlimited ones", s.Actions, s.Attempts))
	out.field("executed", fmt.Sprint(s.Executed))
	out.field("duplicates", fmt.Sprintf("%s %.1f %% (%d of %d blocked)", out.bar(s.DuplicateRate), 100*s.DuplicateRate, s.Blocked, s.Attempts))
	out.field("failed", out.warn(s.Failed, red))
	doubt := out.warn(s.InDoubt, yellow)
	if s.NeedsDecision > 0 {
		doubt += fmt.Sprintf(", of which %d wait for ledger resolve", s.NeedsDecision)
	}
	out.field("in doubt", doubt)
	out.field("in flight", out.warn(s.Running, cyan))
	if o := s.Oldest; o != nil {
		out.field("oldest", fmt.Sprintf("%s, %s of %s", shortID(o.id), clean(o.id.Tool), clean(o.id.Workflow)))
		out.field("", fmt.Sprintf("running since %s, by %s", age(time.Now(), o.Started), clean(o.Owner)))
	}
	if len(s.Tools) == 0 {
		return out.w.Flush()
	}
	fmt.Fprintln(out.w)
	t := &table{screen: out, columns: []column{
		{head: "TOOL", least: 12},
		{head: "CALLS", right: true},
		{head: "ATTEMPTS", short: "ATT", right: true},
		{head: "EXECUTED", short: "EXE", right: true},
		{head: "BLOCKED", short: "BLK", right: true},
		{head: "DUPLICATES", short: "DUP", right: true},
		{head: "FAILED", right: true},
		{head: "IN DOUBT", right: true},
		{head: "RUNNING", right: true},
	}}
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		c := s.Tools[name]
		if err := t.row(cell{name, ""}, count(c.Actions, ""), count(c.Attempts, ""), count(c.Executed, ""), count(c.Blocked, ""),
			cell{fmt.Sprintf("%.1f %%", 100*c.rate()), ""}, count(c.Failed, red), count(c.InDoubt, yellow), count(c.Running, cyan)); err != nil {
			return err
		}
	}
	return t.end()
}

// bar shows a share of one.
func (s *screen) bar(share float64) string {
	const columns = 20
	full := min(columns, max(0, int(share*columns+0.5)))
	return s.paint(yellow, strings.Repeat("█", full)) + s.paint(faint, strings.Repeat("░", columns-full))
}

func (s *screen) warn(n int64, code string) string {
	if n == 0 {
		return "0"
	}
	return s.paint(code, fmt.Sprint(n))
}
