package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) tailCommand() *cobra.Command {
	var (
		t   target
		sel selection
		f   format
	)
	cmd := &cobra.Command{
		Use:   "tail [FILE|URL]",
		Short: "Follow what changes, live",
		Long: "Writes a line for each write of a call, as it happens: claimed, finished, settled, deleted. Of\n" +
			"several writes of one call in quick succession the last is shown. When the store can not be\n" +
			"reached it says so, and goes on as soon as it can. The death of a worker is no write: its\n" +
			"call is shown when another takes it over. -o json is jsonl here.\n\n" + storeHelp,
		Example: "  ledger tail ledger.db\n" +
			"  ledger tail --wf order-42 --status failed,in_doubt -o jsonl",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := sel.filter(time.Now())
			if err != nil {
				return usage(err)
			}
			named, _ := optional(args, 0)
			return a.tail(cmd.Context(), &t, named, filter, f)
		},
	}
	sel.flags(cmd)
	sel.limitFlag(cmd, "changes, then end")
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

// How long tail waits before it opens the store again: twice as long after each failure.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// errEnough ends a tail that has shown as many changes as were asked for.
var errEnough = errors.New("enough")

func (a *app) tail(ctx context.Context, t *target, named string, filter ledger.Filter, f format) error {
	follow := &follower{app: a, screen: a.screen(a.out), format: f, left: filter.Limit}
	filter.Limit = 0
	pause := firstPause
	for {
		began := follow.seen
		err := a.withStore(ctx, t, named, toLook, func(at *ledgerAt) error {
			return follow.watch(ctx, at, filter)
		})
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !follow.synced || !passing(err):
			return err
		case follow.seen > began:
			pause = firstPause
		}
		fmt.Fprintf(a.err, "ledger: %v; trying again\n", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// passing reports whether err may pass: a store out of reach, or a file that was removed and is being made anew.
func passing(err error) bool {
	return errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrInvalid)
}

// A follower writes changes.
type follower struct {
	*app
	screen *screen
	format format
	seen   int // syncs and changes
	left   int // changes until it ends; 0: none is the last
	synced bool
}

func (f *follower) watch(ctx context.Context, at *ledgerAt, filter ledger.Filter) error {
	watcher, ok := at.Store.(ledger.Watcher)
	if !ok {
		return errors.New("the store can not tell of changes")
	}
	for c, err := range watcher.Watch(ctx, ledger.WatchOptions{Filter: filter}) {
		if err != nil {
			return err
		}
		f.seen++
		if c.Kind == ledger.ChangeSync {
			if f.synced {
				fmt.Fprintln(f.err, "ledger: connected again; changes may have been missed meanwhile")
			} else {
				fmt.Fprintln(f.err, "Following; Ctrl-C ends it.")
			}
			f.synced = true
			continue
		}
		if err := f.change(&c); err != nil {
			return err
		}
		if f.left > 0 {
			if f.left--; f.left == 0 {
				return errEnough
			}
		}
	}
	return fmt.Errorf("the watch ended: %w", ledger.ErrUnavailable)
}

type changeOut struct {
	Change  string     `json:"change"` // "put", "delete"
	ID      string     `json:"id"`
	Version int64      `json:"version"`
	Record  *recordOut `json:"record,omitempty"`
}

func (f *follower) change(c *ledger.Change) error {
	if f.format != asTable {
		o := changeOut{Change: "delete", ID: c.ID.String(), Version: int64(c.Version)}
		if c.Kind == ledger.ChangePut {
			o.Change = "put"
			if c.Record != nil {
				o.Record = forPrograms(c.Record)
			}
		}
		return f.printJSON(asJSONL, o)
	}
	at, state, rest := time.Now(), cell{"deleted", faint}, ""
	if r := c.Record; c.Kind == ledger.ChangePut && r != nil {
		at, state = r.Started, stateCell(r)
		if !r.Finished.IsZero() {
			at = r.Finished
		}
		rest = fmt.Sprintf("attempt %d  fence %d", r.Attempt, r.Fence)
		if r.Takeovers > 0 {
			rest += fmt.Sprintf("  takeover %d", r.Takeovers)
		}
		rest += "  " + ownerText(r.Owner)
		if e := trouble(r); e != "" {
			rest += "  → " + e
		}
	}
	s := f.screen
	text := fmt.Sprintf("%s  %-14s  %-12s  %s", shortID(c.ID), clean(c.ID.Tool), clean(c.ID.Workflow), clean(rest))
	if s.width > 0 {
		text = cut(text, max(1, s.width-len("15:04:05.000  succeeded  ")))
	}
	fmt.Fprintf(s.w, "%s  %s%*s  %s\n", s.paint(faint, at.Local().Format("15:04:05.000")), s.paint(state.code, state.text), max(0, 9-len(state.text)), "", text)
	return s.w.Flush()
}
