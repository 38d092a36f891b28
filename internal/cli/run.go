package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/internal/child"
	"github.com/ledger-once/ledger/internal/open"
)

// Exit codes of "ledger run" besides the program's own. The numbers are those of sysexits(3) and timeout(1) where these have one.
const (
	exitKeyReused  = 65  // EX_DATAERR: the key was used for another command
	exitNoStore    = 69  // EX_UNAVAILABLE: the store can not be reached
	exitInFlight   = 75  // EX_TEMPFAIL: it is running elsewhere; try again later
	exitInDoubt    = 76  // a person has to decide
	exitTimedOut   = 124 // as timeout(1)
	exitNotStarted = 127 // as a shell
)

const (
	recordedTool    = "run"
	maxKeptOutput   = 512 << 10 // bytes of JSON; package child keeps less
	runCloseTimeout = 15 * time.Second
)

// A running is one "ledger run".
type running struct {
	*app
	target     target
	key        string
	workflow   string
	tool       string
	caller     string
	inDoubt    string
	keep       bool
	notDone    []int
	wait, stop time.Duration
	ttl        time.Duration
	verbose    bool
	argv       []string
	url        string

	started atomic.Bool // the program
	out     child.Output
	ended   error // why the program was ended or did not start
}

func (a *app) runCommand() *cobra.Command {
	r := &running{app: a}
	cmd := &cobra.Command{
		Use:   "run --key KEY [--in-doubt retry|block] -- COMMAND [ARGUMENT...]",
		Short: "Run a program exactly once",
		Long: "Runs a program once for all runs with the same key, on this machine (SQLite) or in a fleet (etcd).\n" +
			"Its output is passed on while it comes, and kept: the first 192 KiB and the last 64 KiB. Another run with\n" +
			"the same key writes what is kept, and ends with the same exit code, without running anything.\n\n" +
			"A program that exits with another code than 0 has failed: the next run with the key tries it again.\n" +
			"With --keep-failure that is final, and replayed. What is known to have had no effect (--not-done-exit)\n" +
			"is always tried again.\n\n" +
			"If the program, or this command, dies midway, nobody knows whether the effect happened. --in-doubt retry\n" +
			"(the default) runs it again, with the same LEDGER_TOKEN; --in-doubt block does not, and a failing exit code is\n" +
			"in doubt as well: look what happened, then use ledger resolve. The stricter policy of all runs of a key wins.\n\n" +
			"The program finds LEDGER_TOKEN (an idempotency token, the same until it is done), LEDGER_FENCE (grows with\n" +
			"each attempt), LEDGER_ATTEMPT and LEDGER_ID in its environment. Signals reach it. On Linux it is killed when this\n" +
			"command dies; what it started in the background is not, but on a SQLite store keeps the claim (as open file 100)\n" +
			"until it ends. In an etcd a dead run's claim stands until its lease has expired (15 s).\n\n" +
			"Command and arguments are recorded: pass secrets by the environment or standard input.\n\n" +
			"The store is --store, else LEDGER_STORE (a URL) or LEDGER_DB (a file), else ./ledger.db, which is made if\n" +
			"it is missing.\n\n" +
			"Exit codes:\n" +
			"  0-255  the program's own, now or when it ran (128 and the signal's number if one ended it)\n" +
			"  64     wrong usage\n" +
			"  65     the key was used for another command\n" +
			"  69     the store can not be reached or used; nothing was run\n" +
			"  75     it is running elsewhere; --wait waits for it\n" +
			"  76     it is in doubt; a person has to decide\n" +
			"  124    it was ended by --timeout\n" +
			"  127    it could not be started",
		Example: "  ledger run --key backup-2026-11-26 -- tar czf /tmp/etc.tgz /etc/hostname\n" +
			"  ledger run --key invoice-42 --in-doubt block --not-done-exit 7 -- curl -fsS https://example.com/charge\n" +
			"  ledger run --key migrate-17 --wait 5m --store etcd://localhost:2379/jobs -- ./migrate.sh",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command is given; put it after two dashes: ledger run --key KEY -- COMMAND")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.argv = args
			if err := r.check(); err != nil {
				return usage(err)
			}
			code, err := r.do(context.WithoutCancel(cmd.Context()))
			if err != nil {
				fmt.Fprintf(a.err, "ledger: %v\n", err)
			}
			if code == exitOK {
				return nil
			}
			return silent(code)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&r.key, "key", "", "`KEY` of the run: the same key is the same run (required)")
	f.StringVar(&r.workflow, "wf", "", "`WORKFLOW`: keys are compared within it (default $LEDGER_WORKFLOW, or default)")
	f.StringVar(&r.tool, "tool", recordedTool, "`NAME` under which it is recorded; keys are compared within it")
	f.StringVar(&r.caller, "caller", "", "`NAME` that is recorded (default the user of this machine)")
	f.StringVar(&r.inDoubt, "in-doubt", "retry", "`POLICY` for a run of which nobody knows whether it happened: retry or block")
	f.BoolVar(&r.keep, "keep-failure", false, "a failing exit code is final, and replayed")
	f.IntSliceVar(&r.notDone, "not-done-exit", nil, "exit `CODES`, by commas, that say that nothing was done")
	f.DurationVar(&r.wait, "wait", 0, "how `LONG` to wait for a run elsewhere, such as 30s")
	f.DurationVar(&r.stop, "timeout", 0, "how `LONG` the program may take, such as 5m; it then gets SIGTERM, and SIGKILL 5 s later")
	f.DurationVar(&r.ttl, "ttl", 0, "how `LONG` after its end it counts, such as 24h (default for ever)")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "say on standard error what is replayed and taken over")
	r.target.flags(cmd)
	return cmd
}

func (r *running) check() error {
	switch {
	case r.key == "":
		return errors.New("--key is missing: it names what must not be done twice, such as --key invoice-42")
	case r.inDoubt != "retry" && r.inDoubt != "block":
		return fmt.Errorf("--in-doubt is %q; it is retry or block", r.inDoubt)
	case r.wait < 0 || r.stop < 0 || r.ttl < 0:
		return errors.New("--wait, --timeout and --ttl must not be negative")
	}
	for _, code := range r.notDone {
		if code < 1 || code > 255 {
			return fmt.Errorf("--not-done-exit: %d is no failing exit code; they go from 1 to 255", code)
		}
	}
	return nil
}

// do returns the exit code, and an error to be told.
func (r *running) do(ctx context.Context) (code int, err error) {
	if r.url, err = r.target.url("", r.environ); err != nil {
		return exitUsage, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals, forward := make(chan os.Signal, 8), make(chan os.Signal, 8)
	stop := child.Forwarded(signals)
	defer stop()
	routed := make(chan struct{})
	defer func() { <-routed }()
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(routed)
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				switch {
				case r.started.Load():
					select {
					case forward <- s:
					default: // it has not taken the eight before
					}
				case child.Ends(s):
					cancel(interrupted{s})
				}
			}
		}
	}()
	if strings.EqualFold(r.url, "memory:") {
		return exitUsage, errors.New("memory: is gone when this command ends; name a file or an etcd")
	}
	store, closer, err := open.Store(ctx, r.url)
	switch cause := context.Cause(ctx).(type) {
	case interrupted:
		if err == nil {
			err = closer.Close()
		}
		return signalled(cause.signal), err
	}
	if err != nil {
		if errors.Is(err, ledger.ErrInvalid) && !errors.Is(err, ledger.ErrUnavailable) {
			return exitUsage, err
		}
		return exitNoStore, err
	}
	code, err = r.guarded(ctx, store, forward)
	if cerr := closer.Close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return code, err
}

func (r *running) guarded(ctx context.Context, store ledger.Store, forward <-chan os.Signal) (int, error) {
	policy := ledger.Policy{Replay: true, Strict: true, Wait: r.wait, Timeout: r.stop, TTL: r.ttl}
	if r.inDoubt == "block" {
		policy.InDoubt = ledger.DoubtBlock
	}
	workflow := r.workflow
	if workflow == "" {
		workflow = r.environ(connect.EnvWorkflow) // "" is default to the guard
	}
	caller := r.caller
	if caller == "" {
		caller = r.whoami()
	}
	guard, err := ledger.New(store, &ledger.Options{
		Workflow: workflow, Caller: caller, Default: policy, MaxResult: maxKeptOutput, Logger: slog.New(slog.DiscardHandler),
		OnTakeover: func(rec ledger.Record) {
			if r.verbose {
				fmt.Fprintf(r.err, "ledger: taken over from a run that died; attempt %d\n", rec.Attempt)
			}
		},
	})
	if err != nil {
		return exitUsage, err
	}
	call := ledger.Call{Tool: r.tool, Key: r.key, Args: map[string][]string{"argv": r.argv}}
	res, err := ledger.Do(ctx, guard, call, func(ctx context.Context) (child.Output, error) { return r.attempt(ctx, store, forward) })
	cctx, cancel := context.WithTimeout(context.Background(), runCloseTimeout)
	defer cancel()
	cerr := guard.Close(cctx)
	if errors.Is(err, ledger.ErrUnrecorded) && !errors.Is(err, ledger.ErrFenced) && cerr == nil {
		err = nil // it has been recorded since; what is fenced never is
	}
	code, told := r.answer(ctx, res, err)
	return code, errors.Join(told, cerr)
}

// attempt is the guarded tool.
func (r *running) attempt(ctx context.Context, store ledger.Store, forward <-chan os.Signal) (child.Output, error) {
	spec := child.Spec{Argv: r.argv, In: os.Stdin, Out: r.app.out, Err: r.app.err, Signals: forward}
	if f, ok := r.in.(*os.File); ok {
		spec.In = f
	}
	if claim, ok := ledger.ClaimFrom(ctx); ok {
		spec.Env = []string{
			"LEDGER_TOKEN=" + claim.Token, fmt.Sprintf("LEDGER_FENCE=%d", claim.Fence),
			fmt.Sprintf("LEDGER_ATTEMPT=%d", claim.Attempt), "LEDGER_ID=" + claim.ID.String(),
		}
	}
	if s, ok := store.(interface{ OwnerFile() *os.File }); ok {
		spec.Hold = s.OwnerFile()
	}
	r.started.Store(true) // from here on signals are the program's
	out, err := child.Run(ctx, spec)
	var unstarted *child.StartError
	if errors.As(err, &unstarted) {
		r.started.Store(false)
		r.ended = err
		return out, ledger.NotDone(fmt.Errorf("it could not be started: %w", err))
	}
	r.out, r.ended = out, err
	switch {
	case err != nil:
		return out, err
	case out.Exit == 0:
		return out, nil
	case slices.Contains(r.notDone, out.Exit):
		return out, ledger.NotDone(failingExit(out.Exit))
	case r.keep:
		return out, ledger.PermanentWith(failingExit(out.Exit), out)
	}
	return out, failingExit(out.Exit)
}

// A failingExit is the failing exit code of a program.
type failingExit int

func (e failingExit) Error() string {
	if e > 128 && e < 128+65 {
		return fmt.Sprintf("exit code %d (signal %d)", int(e), int(e)-128)
	}
	return fmt.Sprintf("exit code %d", int(e))
}

// answer turns the guard's answer into an exit code and an error to be told.
func (r *running) answer(ctx context.Context, res ledger.Result[child.Output], err error) (int, error) {
	var cause interrupted
	var blocked *ledger.BlockedError
	switch {
	case r.started.Load():
		return r.ran(res.Record, err)
	case errors.As(err, &blocked):
		return r.blocked(blocked)
	case err == nil:
		return r.replay(&res.Value, &res.Record)
	case errors.As(context.Cause(ctx), &cause):
		fmt.Fprintf(r.err, "ledger: nothing was run: %v\n", cause)
		return signalled(cause.signal), nil
	case errors.Is(r.ended, context.DeadlineExceeded):
		return exitTimedOut, fmt.Errorf("nothing was run: the program could not be started within --timeout %v", r.stop)
	case r.ended != nil:
		return exitNotStarted, r.ended
	case errors.Is(err, ledger.ErrInvalid):
		return exitUsage, err
	}
	return exitNoStore, err
}

// ran answers for the program that ran.
func (r *running) ran(rec ledger.Record, err error) (int, error) {
	code, told := r.out.Exit, error(nil)
	var ended *child.Ended
	if errors.As(r.ended, &ended) {
		told = fmt.Errorf("the program was ended: %w", ended.Cause)
		if errors.Is(ended.Cause, context.DeadlineExceeded) {
			code, told = exitTimedOut, fmt.Errorf("the program was ended after --timeout %v", r.stop)
		}
		if code == exitOK { // it is not known to be done
			code = exitError
		}
	} else if r.ended != nil {
		code, told = exitError, r.ended
	}
	switch {
	case errors.Is(err, ledger.ErrUnrecorded):
		return code, errors.Join(told, fmt.Errorf("it ran (exit code %d), and that could not be recorded: another run may find it in doubt: %w", r.out.Exit, err))
	case rec.Status() == ledger.StateInDoubt && rec.InDoubt != ledger.DoubtRetry:
		return code, errors.Join(told, r.decide(&rec))
	}
	return code, told
}

func (r *running) decide(rec *ledger.Record) error {
	store := ""
	if r.target.store != "" || r.target.endpoints != "" {
		store = r.url + " "
	}
	return fmt.Errorf("%s is in doubt: nobody knows whether it happened. Find out, then:\n  ledger resolve %s%s --happened|--did-not-happen --reason TEXT",
		clean(rec.ID.String()), store, clean(rec.ID.String()))
}

func (r *running) replay(out *child.Output, rec *ledger.Record) (int, error) {
	if r.verbose {
		fmt.Fprintf(r.err, "ledger: it was done at %s: this is its output\n", rec.Finished.Local().Format(time.DateTime))
	}
	_ = out.Replay(r.app.out, r.app.err) // whoever closed them knows
	return out.Exit, nil
}

// blocked answers for a program that did not run.
func (r *running) blocked(b *ledger.BlockedError) (int, error) {
	rec := &b.Record
	id := clean(rec.ID.String())
	switch {
	case errors.Is(b, ledger.ErrKeyReused):
		return exitKeyReused, fmt.Errorf("the key %q was used for another command; nothing was run (ledger get %s shows it)", r.key, id)
	case errors.Is(b, ledger.ErrInProgress):
		return exitInFlight, fmt.Errorf("%s is running since %s, by %s; --wait waits for it", id, rec.Started.Local().Format(time.DateTime), clean(ownerText(rec.Owner)))
	case errors.Is(b, ledger.ErrInDoubt):
		return exitInDoubt, r.decide(rec)
	case errors.Is(b, ledger.ErrFailed):
		var out child.Output
		if rec.Result == nil || json.Unmarshal(rec.Result, &out) != nil {
			return exitError, errors.New(b.Error())
		}
		return r.replay(&out, rec)
	}
	// Done, and without a result: a person said so, or it was too large.
	fmt.Fprintf(r.err, "ledger: %s was done at %s; its output is not kept\n", id, rec.Finished.Local().Format(time.DateTime))
	return exitOK, nil
}
