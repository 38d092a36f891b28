package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) retryCommand() *cobra.Command {
	var (
		t          target
		yes, steal bool
	)
	cmd := &cobra.Command{
		Use:   "retry [FILE|URL] ID",
		Short: "Forget a call, so that the next one runs",
		Long: "Forgets a call with its counts, whatever became of it: the next call runs, with a new token. What\n" +
			"happened before happens again then. A call that is running is refused. A call in doubt is\n" +
			"better settled by ledger resolve, which records why.\n\n" + stealHelp + idHelp + "\n\n" + storeHelp,
		Example: "  ledger retry 0f3c1a2b\n" +
			"  ledger retry ledger.db order-42/send_email/0f3c1a2b --yes",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, rest := optional(args, 1)
			return a.withStore(cmd.Context(), &t, named, toChange, func(at *ledgerAt) error {
				return a.retry(cmd.Context(), at, rest[0], yes, steal)
			})
		},
	}
	yesFlag(cmd, &yes)
	stealFlag(cmd, &steal)
	t.flags(cmd)
	return cmd
}

func (a *app) retry(ctx context.Context, at *ledgerAt, name string, yes, steal bool) error {
	r, err := at.find(ctx, name)
	if err != nil {
		return err
	}
	id := clean(r.ID.String())
	if !yes {
		question := fmt.Sprintf("%s is %s. Forget it, so that the next call runs it?", id, stateCell(&r).text)
		switch {
		case r.Status() == ledger.StateRunning && !steal:
			return stillRuns(&r)
		case r.Status() == ledger.StateRunning:
			question = fmt.Sprintf("%s is running, by %s. Take its claim over and forget it, so that the next call does it, maybe again?", id, clean(ownerText(r.Owner)))
		case r.Executed > 0:
			question = fmt.Sprintf("%s happened %s. Forget it, so that the next call does it again?", id, times(r.Executed))
		case r.Status() == ledger.StateInDoubt:
			question = fmt.Sprintf("Nobody knows whether %s happened. Forget it, so that the next call does it, maybe again?", id)
		}
		if err := a.confirm(ctx, yes, question); err != nil {
			return err
		}
	}
	err = at.Delete(ctx, r.ID, r.Version)
	if errors.Is(err, ledger.ErrRunning) && steal {
		a.stolen(&r)
		err = at.resolve(ctx, r.ID, ledger.Resolution{As: ledger.ResolveForget, Steal: true})
	}
	switch {
	case errors.Is(err, ledger.ErrRunning):
		return stillRuns(&r)
	case errors.Is(err, ledger.ErrFenced):
		return fmt.Errorf("%s was changed by another meanwhile; look at it again", id)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s is forgotten; the next call runs.\n", id)
	return err
}

func stillRuns(r *ledger.Record) error {
	return fmt.Errorf("%s is running, by %s: end its worker first, let it finish, or take its claim over with --steal", clean(r.ID.String()), clean(ownerText(r.Owner)))
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// What clear and prune have in common.
type removal struct {
	target
	selection
	yes, dryRun, steal bool
}

func (r *removal) flags(cmd *cobra.Command) {
	r.selection.flags(cmd)
	yesFlag(cmd, &r.yes)
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "count only, delete nothing")
	r.target.flags(cmd)
}

const removalHelp = "A deleted call runs again when it is asked for. It counts first, says what would go, and asks;\n" +
	"without a terminal and without --yes it refuses. Calls that are running stay, and so do those\n" +
	"that were started since it counted. Ctrl-C ends it between two calls and says how far it got.\n\n"

func (a *app) clearCommand() *cobra.Command {
	var o removal
	cmd := &cobra.Command{
		Use:   "clear [FILE|URL]",
		Short: "Delete calls, all of them or those selected",
		Long:  "Deletes calls from a ledger with their counts: all, or those that the flags select.\n" + removalHelp + stealHelp + storeHelp,
		Example: "  ledger clear ledger.db --dry-run\n" +
			"  ledger clear ledger.db --wf order-42 --yes",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			filter, err := o.filter(now)
			if err != nil {
				return usage(err)
			}
			if filter.Until.IsZero() {
				filter.Until = now
			}
			return a.remove(cmd.Context(), &o, args, filter, func(*ledger.Record) bool { return true })
		},
	}
	o.flags(cmd)
	stealFlag(cmd, &o.steal)
	return cmd
}

func (a *app) pruneCommand() *cobra.Command {
	var (
		o     removal
		older string
	)
	cmd := &cobra.Command{
		Use:   "prune --older-than AGE [FILE|URL]",
		Short: "Delete calls that finished long ago",
		Long: "Deletes the calls that finished longer ago than --older-than: those that succeeded or failed,\n" +
			"or those that --status names. Calls in doubt go only if --status names them.\n" + removalHelp + storeHelp,
		Example: "  ledger prune ledger.db --older-than 30d --dry-run\n" +
			"  ledger prune --older-than 90d --status succeeded --yes",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			if older == "" {
				return usage(errors.New("--older-than is missing; say how old, such as --older-than 30d"))
			}
			d, err := span(older)
			if err != nil {
				return usage(fmt.Errorf("--older-than: %w", err))
			}
			if len(o.status) == 0 {
				o.status = []string{"succeeded", "failed"}
			}
			filter, err := o.filter(now)
			if err != nil {
				return usage(err)
			}
			before := now.Add(-d)
			if filter.Until.IsZero() || before.Before(filter.Until) {
				filter.Until = before // it started before it finished
			}
			return a.remove(cmd.Context(), &o, args, filter, func(r *ledger.Record) bool {
				ended := r.Finished
				if ended.IsZero() { // its worker died
					ended = r.Started
				}
				return !ended.IsZero() && ended.Before(before)
			})
		},
	}
	cmd.Flags().StringVar(&older, "older-than", "", "`AGE`: 12h, 30d, 2w")
	o.flags(cmd)
	return cmd
}

// remove deletes what filter and want select, after it was counted and confirmed.
func (a *app) remove(ctx context.Context, o *removal, args []string, filter ledger.Filter, want func(*ledger.Record) bool) error {
	named, _ := optional(args, 0)
	return a.withStore(ctx, &o.target, named, o.dryRun, func(at *ledgerAt) error {
		total, running, doubt := 0, 0, 0
		for r, err := range at.List(ctx, filter) {
			switch {
			case err != nil:
				return err
			case !want(&r):
			case r.Status() == ledger.StateRunning:
				running++
				if o.steal {
					total++
				}
			default:
				total++
				if r.Status() == ledger.StateInDoubt {
					doubt++
				}
			}
		}
		var notes []string
		if doubt > 0 {
			notes = append(notes, fmt.Sprintf("%d in doubt", doubt))
		}
		if running > 0 && o.steal {
			notes = append(notes, fmt.Sprintf("%d running, whose claims are taken over", running))
		} else if running > 0 {
			notes = append(notes, fmt.Sprintf("besides, %d running, left alone", running))
		}
		also := ""
		if len(notes) > 0 {
			also = " (" + strings.Join(notes, "; ") + ")"
		}
		switch {
		case o.dryRun:
			_, err := fmt.Fprintf(a.out, "%s would be deleted%s.\n", calls(total), also)
			return err
		case total == 0:
			_, err := fmt.Fprintf(a.out, "There is nothing to delete%s.\n", also)
			return err
		}
		if err := a.confirm(ctx, o.yes, fmt.Sprintf("Delete %s%s? They run again when they are asked for.", calls(total), also)); err != nil {
			if errors.As(err, new(*failure)) {
				fmt.Fprintf(a.err, "ledger: %s would be deleted%s\n", calls(total), also)
			}
			return err
		}
		return a.deleteAll(ctx, at, filter, want, total, o.steal)
	})
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// deleters is how many deletions are under way at a time: they share the store's commits.
const deleters = 32

func (a *app) deleteAll(ctx context.Context, at *ledgerAt, filter ledger.Filter, want func(*ledger.Record) bool, total int, steal bool) error {
	var (
		deleted, stayed atomic.Int64
		workers         sync.WaitGroup
		once            sync.Once
		failed          error
	)
	dctx, stop := context.WithCancel(ctx)
	defer stop()
	fail := func(err error) { once.Do(func() { failed = err; stop() }) }
	queue := make(chan ledger.Record)
	for range deleters {
		workers.Go(func() {
			for r := range queue {
				// One that was begun is ended: its outcome is to be known.
				err := at.Delete(context.WithoutCancel(ctx), r.ID, r.Version)
				if steal && errors.Is(err, ledger.ErrRunning) && r.Status() == ledger.StateRunning {
					a.stolen(&r)
					err = at.resolve(context.WithoutCancel(ctx), r.ID, ledger.Resolution{As: ledger.ResolveForget, Steal: true})
				}
				switch {
				case err == nil:
					deleted.Add(1)
				case errors.Is(err, ledger.ErrRunning), errors.Is(err, ledger.ErrFenced), errors.Is(err, ledger.ErrNotFound):
					stayed.Add(1) // it is not what was listed any more
				default:
					fail(err)
				}
			}
		})
	}
	progress, shown := a.live(a.err), time.Now()
	for r, err := range at.List(dctx, filter) {
		if err != nil {
			fail(err)
			break
		}
		if !want(&r) || r.Status() == ledger.StateRunning && !steal {
			continue
		}
		select {
		case queue <- r:
		case <-dctx.Done():
		}
		if dctx.Err() != nil {
			break
		}
		if progress.terminal && time.Since(shown) > 100*time.Millisecond {
			shown = time.Now()
			progress.line(fmt.Sprintf("deleted %d of %s…", deleted.Load(), calls(total)))
		}
	}
	close(queue)
	workers.Wait()
	progress.end()
	if failed == nil {
		failed = ctx.Err()
	}
	said := fmt.Sprintf("%s deleted", calls(int(deleted.Load())))
	if n := stayed.Load(); n > 0 {
		said += fmt.Sprintf("; %d stayed, because they were changed meanwhile", n)
	}
	if failed != nil {
		fmt.Fprintf(a.err, "ledger: %s of %d; the rest stands\n", said, total)
		return failed
	}
	_, err := fmt.Fprintf(a.out, "%s.\n", said)
	return err
}
