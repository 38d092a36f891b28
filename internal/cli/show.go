package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) showCommand() *cobra.Command {
	var (
		t   target
		sel selection
		f   format

		newest bool
	)
	cmd := &cobra.Command{
		Use:   "show [FILE|URL]",
		Short: "List calls, a row each",
		Long: "Lists the calls of a ledger: state, tool, workflow, how often it was asked for (attempts), how\n" +
			"often it succeeded (executed), how often it was blocked as a duplicate, how long ago it was\n" +
			"started last, by whom, and its error. The id is the beginning of the call's fingerprint;\n" +
			"ledger get takes it. A call whose worker died while it was running is shown as in doubt.\n" +
			"Rows come in the order of workflow, tool and fingerprint, or the newest first, while they are\n" +
			"read.\n\n" + storeHelp,
		Example: "  ledger show ledger.db --wf order-42\n" +
			"  ledger show ledger.db --newest --limit 20\n" +
			"  ledger show --status in_doubt,failed --since 24h\n" +
			"  ledger show --store etcd:///ledger --tool charge_card -o jsonl",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := sel.filter(time.Now())
			if err != nil {
				return usage(err)
			}
			named, _ := optional(args, 0)
			return a.withStore(cmd.Context(), &t, named, toLook, func(at *ledgerAt) error {
				all := at.List(cmd.Context(), filter)
				if newest {
					if all, err = newestOf(cmd.Context(), at.Store, filter); err != nil {
						return usage(err)
					}
				}
				if f != asTable {
					return a.export(all, f)
				}
				return a.show(all, &filter)
			})
		},
	}
	sel.flags(cmd)
	sel.limitFlag(cmd, "calls")
	cmd.Flags().BoolVar(&newest, "newest", false, "the newest calls first; on etcd it needs --limit")
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

func (a *app) exportCommand() *cobra.Command {
	var (
		t   target
		sel selection
	)
	cmd := &cobra.Command{
		Use:   "export [FILE|URL]",
		Short: "Write every call in full, one JSON object a line",
		Long: "Writes each call with all that is stored of it, as one JSON object a line, while it is read.\n" +
			"Arguments and results are as they are stored: redacted fields are missing, sealed ones are\n" +
			"base64.\n\n" + storeHelp,
		Example: "  ledger export ledger.db > calls.jsonl\n" +
			"  ledger export --wf order-42 --since 7d",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := sel.filter(time.Now())
			if err != nil {
				return usage(err)
			}
			named, _ := optional(args, 0)
			return a.withStore(cmd.Context(), &t, named, toLook, func(at *ledgerAt) error {
				return a.export(at.List(cmd.Context(), filter), asJSONL)
			})
		},
	}
	sel.flags(cmd)
	sel.limitFlag(cmd, "calls")
	t.flags(cmd)
	return cmd
}

// maxNewest bounds what is held in memory to find the newest calls of a store that does not list them so.
const maxNewest = 10_000

// newestOf lists the newest calls first: as the store knows them, or by when they were first claimed.
func newestOf(ctx context.Context, s ledger.Store, f ledger.Filter) (iter.Seq2[ledger.Record, error], error) {
	if n, ok := s.(ledger.NewestLister); ok {
		return n.ListNewest(ctx, f), nil
	}
	limit := f.Limit
	if limit < 1 || limit > maxNewest {
		return nil, fmt.Errorf("--newest needs --limit N on this store, up to %d: it has to look through all calls", maxNewest)
	}
	f.Limit = 0
	type call struct { // of the records themselves there may be too much
		id      ledger.ID
		created time.Time
	}
	newer := func(a, b call) int { return b.created.Compare(a.created) }
	return func(yield func(ledger.Record, error) bool) {
		var kept []call
		for r, err := range s.List(ctx, f) {
			if err != nil {
				yield(ledger.Record{}, err)
				return
			}
			if kept = append(kept, call{r.ID, r.Created}); len(kept) >= 2*limit {
				slices.SortStableFunc(kept, newer)
				kept = kept[:limit]
			}
		}
		slices.SortStableFunc(kept, newer)
		for _, c := range kept[:min(limit, len(kept))] {
			r, err := s.Get(ctx, c.id)
			if errors.Is(err, ledger.ErrNotFound) || err == nil && !f.Match(&r) {
				continue // changed meanwhile
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}, nil
}

func (a *app) export(all iter.Seq2[ledger.Record, error], f format) error {
	out := newValues(a.out, f)
	for r, err := range all {
		if err != nil {
			_ = out.w.Flush() // what was read is whole lines
			return err
		}
		if err := out.add(forPrograms(&r)); err != nil {
			return err
		}
	}
	return out.end()
}

func (a *app) show(all iter.Seq2[ledger.Record, error], filter *ledger.Filter) error {
	t := &table{screen: a.screen(a.out), columns: []column{
		{head: "STATE"},
		{head: "ID"},
		{head: "TOOL", least: 12},
		{head: "WORKFLOW", least: 10},
		{head: "ATTEMPTS", short: "ATT", right: true, drop: 1},
		{head: "EXECUTED", short: "EXE", right: true, drop: 2},
		{head: "BLOCKED", short: "BLK", right: true, drop: 3},
		{head: "AGE", right: true, drop: 4},
		{head: "OWNER", least: 10, drop: 5, empty: true},
		{head: "ERROR", least: 12, empty: true},
	}}
	now, n := time.Now(), 0
	for r, err := range all {
		if err != nil {
			_ = t.end()
			return err
		}
		n++
		if err := t.row(
			stateCell(&r), cell{shortID(r.ID), faint}, cell{r.ID.Tool, ""}, cell{r.ID.Workflow, ""},
			count(r.Attempts, ""), count(r.Executed, ""), count(r.Blocked, yellow),
			cell{age(now, r.Started), ""}, cell{ownerText(r.Owner), faint}, cell{trouble(&r), red},
		); err != nil {
			return err
		}
	}
	if err := t.end(); err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintf(a.err, "No calls%s.\n", selected(filter))
	}
	return nil
}

// selected says that there was a selection.
func selected(f *ledger.Filter) string {
	if f.Workflow != "" || f.Tool != "" || f.Caller != "" || f.Key != "" || len(f.States) > 0 || !f.Since.IsZero() || !f.Until.IsZero() {
		return " match"
	}
	return " are recorded"
}

// stateWords are the states for people, with their colours.
var stateWords = map[ledger.State]cell{
	ledger.StateRunning:   {"running", cyan},
	ledger.StateSucceeded: {"succeeded", green},
	ledger.StateFailed:    {"failed", red},
	ledger.StateInDoubt:   {"in doubt", yellow},
	ledger.StateNone:      {"unlimited", faint},
}

func stateCell(r *ledger.Record) cell {
	if c, ok := stateWords[r.Status()]; ok {
		return c
	}
	return cell{string(r.State), ""} // of a newer version
}

// shortDigits is how many digits of a fingerprint are shown: two of 10,000 calls share them once in 80 ledgers.
const shortDigits = 8

func shortID(id ledger.ID) string {
	if len(id.Fingerprint) > shortDigits {
		return id.Fingerprint[:shortDigits]
	}
	return id.Fingerprint
}

func count(n int64, code string) cell {
	if n == 0 {
		code = faint
	}
	return cell{strconv.FormatInt(n, 10), code}
}

// age is how long before now t was, in one unit.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	switch d := max(0, now.Sub(t)); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

func ownerText(o ledger.Owner) string {
	at := ""
	if o.Host != "" || o.PID != 0 {
		at = fmt.Sprintf("%s:%d", o.Host, o.PID)
	}
	switch {
	case o.Caller == "":
		return at
	case at == "":
		return o.Caller
	}
	return o.Caller + " " + at
}

// trouble is what a row says of what went wrong.
func trouble(r *ledger.Record) string {
	switch {
	case r.Status() == ledger.StateInDoubt && r.State == ledger.StateRunning:
		return "its worker died while it was running"
	case r.Error != nil:
		return r.Error.Message
	}
	return ""
}
