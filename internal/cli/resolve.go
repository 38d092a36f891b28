package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) resolveCommand() *cobra.Command {
	var (
		t                              target
		happened, didNotHappen, forget bool
		result                         string
		by                             string
		reason                         string
		yes, steal                     bool
	)
	cmd := &cobra.Command{
		Use:   "resolve [FILE|URL] ID --happened|--did-not-happen|--forget --reason TEXT",
		Short: "Settle a call in doubt",
		Long: "Settles a call of which nobody knows whether its effect happened: look into the downstream, then\n" +
			"say what you found. Who settled it and why is recorded.\n\n" +
			"  --happened        it is recorded as succeeded; duplicates are blocked, or get --result\n" +
			"  --did-not-happen  it is recorded as failed; the next call runs, with a new token\n" +
			"  --forget          all of it goes but who forgot it and why, which stay until it runs again; the\n" +
			"                    next call runs, with a new token. ledger retry removes that as well\n\n" +
			"A call that is running is refused: its worker will say itself how it ended.\n\n" + stealHelp + idHelp + "\n\n" + storeHelp,
		Example: "  ledger resolve 0f3c1a2b --happened --result '{\"receipt\":\"ch_17\"}' --reason 'on the statement'\n" +
			"  ledger resolve ledger.db 0f3c1a2b --did-not-happen --reason 'not in the log' --yes",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			res := ledger.Resolution{By: by, Reason: reason}
			said := 0
			for as, set := range map[ledger.ResolveAs]bool{ledger.ResolveHappened: happened, ledger.ResolveDidNotHappen: didNotHappen, ledger.ResolveForget: forget} {
				if set {
					said++
					res.As = as
				}
			}
			switch {
			case said != 1:
				return usage(errors.New("say what you found out: one of --happened, --did-not-happen and --forget"))
			case reason == "":
				return usage(errors.New("--reason is missing; say how you know"))
			case result != "" && !happened:
				return usage(errors.New("--result goes with --happened only"))
			case result != "" && !json.Valid([]byte(result)):
				return usage(errors.New(`--result is not JSON; quote text twice: --result '"text"'`))
			}
			if result != "" {
				res.Result = json.RawMessage(result)
			}
			if res.By == "" {
				res.By = a.whoami()
			}
			named, rest := optional(args, 1)
			return a.withStore(cmd.Context(), &t, named, toChange, func(at *ledgerAt) error {
				res.Steal, res.Keep = steal, res.As == ledger.ResolveForget
				return a.resolve(cmd.Context(), at, rest[0], res, yes)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&happened, "happened", false, "its effect happened")
	f.BoolVar(&didNotHappen, "did-not-happen", false, "its effect did not happen, and will not")
	f.BoolVar(&forget, "forget", false, "nobody will know: let the next call run")
	f.StringVar(&result, "result", "", "the call's result as `JSON`, for duplicates that get it")
	f.StringVar(&reason, "reason", "", "`TEXT` that is recorded: how you know")
	f.StringVar(&by, "by", "", "`NAME` that is recorded (default the user of this machine)")
	yesFlag(cmd, &yes)
	stealFlag(cmd, &steal)
	t.flags(cmd)
	return cmd
}

// whoami names the person at the keyboard, as far as the machine knows.
func (a *app) whoami() string {
	name := a.environ("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

func (a *app) resolve(ctx context.Context, at *ledgerAt, name string, res ledger.Resolution, yes bool) error {
	r, err := at.find(ctx, name)
	if err != nil {
		return err
	}
	switch r.Status() {
	case ledger.StateInDoubt:
	case ledger.StateRunning:
		if res.Steal {
			a.stolen(&r)
			break
		}
		return fmt.Errorf("%s is running, by %s: its worker will say how it ended (--steal takes its claim over)", clean(r.ID.String()), clean(ownerText(r.Owner)))
	default:
		return fmt.Errorf("%s is not in doubt: it is %s; ledger retry lets it run again", clean(r.ID.String()), stateCell(&r).text)
	}
	if !yes {
		s := a.screen(a.err)
		s.call(&r, time.Now())
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	question := map[ledger.ResolveAs]string{
		ledger.ResolveHappened:     "Record that it happened?",
		ledger.ResolveDidNotHappen: "Record that it did not happen, so that the next call runs it?",
		ledger.ResolveForget:       "Forget it, so that the next call runs it?",
	}[res.As]
	if err := a.confirm(ctx, yes, question); err != nil {
		return err
	}
	if r.Sealed && res.Result != nil {
		return errors.New("its result would have to be sealed, for which this command has no key; leave --result out")
	}
	if err := at.resolve(ctx, r.ID, res); err != nil {
		return err
	}
	done := map[ledger.ResolveAs]string{
		ledger.ResolveHappened:     "is recorded as succeeded",
		ledger.ResolveDidNotHappen: "is recorded as not done; the next call runs",
		ledger.ResolveForget:       "is forgotten; the next call runs",
	}[res.As]
	_, err = fmt.Fprintf(a.out, "%s %s.\n", clean(r.ID.String()), done)
	return err
}

// resolve settles a call through a guard of its own.
func (at *ledgerAt) resolve(ctx context.Context, id ledger.ID, res ledger.Resolution) error {
	guard, err := ledger.New(at.Store, &ledger.Options{Caller: "ledger resolve", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = guard.Resolve(ctx, id, res)
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	cerr := guard.Close(cctx)
	if errors.Is(err, ledger.ErrUnrecorded) {
		err = cerr // the guard went on sending it until it was closed
	}
	return err
}

const stealHelp = "--steal settles a running call too: it takes the claim over first. The worker's tool is told to stop, and\n" +
	"what it returns is not recorded. A tool that does not listen goes on: its effect may still happen, and\n" +
	"once more with the next call. Better end the worker, where you can.\n\n"

func stealFlag(cmd *cobra.Command, steal *bool) {
	cmd.Flags().BoolVar(steal, "steal", false, "also a call that is running: take its claim over")
}

// stolen says what is done to a running call.
func (a *app) stolen(r *ledger.Record) {
	fmt.Fprintf(a.err, "ledger: %s is running, by %s: its claim is taken over; its tool may still do its effect\n", clean(r.ID.String()), clean(ownerText(r.Owner)))
}
