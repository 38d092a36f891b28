package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

// A selection is the flags that select calls.
type selection struct {
	workflow, tool, caller, key string
	status                      []string
	since, until                string
	limit                       int
}

func (s *selection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.workflow, "wf", "", "only this `WORKFLOW`")
	f.StringVar(&s.tool, "tool", "", "only this `TOOL`")
	f.StringVar(&s.caller, "caller", "", "only calls that this `CALLER` ran last")
	f.StringVar(&s.key, "key", "", "only calls with this `KEY`")
	f.StringSliceVar(&s.status, "status", nil, "only these `STATES`: "+stateNames)
	f.StringVar(&s.since, "since", "", "only calls last started since `TIME`: 30m or 7d ago, 2026-01-31, RFC 3339")
	f.StringVar(&s.until, "until", "", "only calls last started before `TIME`")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(strings.Split(stateNames, ", "), cobra.ShellCompDirectiveNoFileComp))
}

func (s *selection) limitFlag(cmd *cobra.Command, what string) {
	cmd.Flags().IntVar(&s.limit, "limit", 0, "at most `N` "+what+" (default all)")
}

const stateNames = "running, succeeded, failed, in_doubt, unlimited"

func states(names []string) ([]ledger.State, error) {
	var all []ledger.State
	for _, name := range names {
		switch strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_") {
		case "running":
			all = append(all, ledger.StateRunning)
		case "succeeded":
			all = append(all, ledger.StateSucceeded)
		case "failed":
			all = append(all, ledger.StateFailed)
		case "in_doubt", "in doubt":
			all = append(all, ledger.StateInDoubt)
		case "unlimited":
			all = append(all, ledger.StateNone)
		default:
			return nil, fmt.Errorf("--status: there is no state %q; use %s", name, stateNames)
		}
	}
	return all, nil
}

// filter returns what is selected, as of now.
func (s *selection) filter(now time.Time) (f ledger.Filter, err error) {
	f = ledger.Filter{Workflow: s.workflow, Tool: s.tool, Caller: s.caller, Key: s.key, Limit: s.limit}
	if s.limit < 0 {
		return f, errors.New("--limit: use a number of 1 or more")
	}
	if f.States, err = states(s.status); err != nil {
		return f, err
	}
	if f.Since, err = moment("--since", s.since, now); err != nil {
		return f, err
	}
	if f.Until, err = moment("--until", s.until, now); err != nil {
		return f, err
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, errors.New("--since is not before --until; nothing can be between them")
	}
	return f, nil
}

// moment understands a time, or how long ago it was.
func moment(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := span(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: %q is no time; use one like 30m, 24h or 7d (ago), 2026-01-31, or 2026-01-31T15:04:05Z", flag, s)
}

// span understands what time.ParseDuration does, and whole days and weeks: 30d, 2w.
func span(s string) (time.Duration, error) {
	day := 24 * time.Hour
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			count, err := strconv.ParseUint(n, 10, 16)
			if err != nil || time.Duration(count) > 36500*day/unit {
				return 0, fmt.Errorf("%q is no length of time; use one like 12h, 30d or 2w", s)
			}
			return time.Duration(count) * unit, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no length of time; use one like 12h, 30d or 2w", s)
	}
	return d, nil
}
