package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func isNotFound(err error) bool { return errors.Is(err, ledger.ErrNotFound) }

// missing says what was not found.
func missing(s string, err error) error {
	if isNotFound(err) {
		return &failure{exitNotFound, fmt.Errorf("there is no call %s; ledger show lists what there is", clean(s))}
	}
	return err
}

func (a *app) getCommand() *cobra.Command {
	var (
		t target
		f format
	)
	cmd := &cobra.Command{
		Use:   "get [FILE|URL] ID",
		Short: "Show one call in full, with its attempts",
		Long: "Shows all that is stored of one call, and its timeline: the last 8 attempts with their fences,\n" +
			"owners and outcomes.\n\n" + idHelp + "\n\n" + storeHelp,
		Example: "  ledger get 0f3c1a2b\n" +
			"  ledger get ledger.db order-42/charge_card/0f3c1a2b\n" +
			"  ledger get 0f3c1a2b -o json",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, rest := optional(args, 1)
			return a.withStore(cmd.Context(), &t, named, toLook, func(at *ledgerAt) error {
				r, err := at.find(cmd.Context(), rest[0])
				if err != nil {
					return err
				}
				if f != asTable {
					return a.printJSON(f, forPrograms(&r))
				}
				s := a.screen(a.out)
				s.call(&r, time.Now())
				return s.w.Flush()
			})
		},
	}
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

// call writes r in full. Errors of the writer come with its Flush.
func (s *screen) call(r *ledger.Record, now time.Time) {
	state := stateCell(r)
	s.field("call", s.paint(bold, clean(r.ID.String())))
	s.field("state", s.paint(state.code, state.text)+meaning(r, now))
	s.text("key", r.Key)
	if r.ID.IsCounter() {
		s.field("counts", fmt.Sprintf("attempts %d, executed %d", r.Attempts, r.Executed))
		return
	}
	s.field("counts", fmt.Sprintf("attempts %d, started %d, executed %d, blocked %d, taken over %d", r.Attempts, r.Starts, r.Executed, r.Blocked, r.Takeovers))
	if r.Error != nil {
		s.text("error", fmt.Sprintf("%s (%s)", r.Error.Message, errorClass(r.Error.Class)))
	}
	if d := r.Settled; d != nil {
		s.text("settled", fmt.Sprintf("%s, by %s at %s: %s", strings.ReplaceAll(d.How, "_", " "), or(d.By, "nobody named"), stamp(d.At), or(d.Reason, "no reason given")))
	}
	s.field("policy", "in doubt: "+r.InDoubt.String())
	s.text("owner", ownerText(r.Owner))
	s.text("session", r.Owner.Session)
	s.field("fence", fmt.Sprintf("%d (version %d)", r.Fence, r.Version))
	s.text("token", r.Token)
	s.text("arguments", stored(r.Args, r.Sealed, "not stored"))
	switch {
	case r.ResultOmitted:
		s.text("result", "not recorded")
	case r.Result != nil:
		s.text("result", stored(r.Result, r.Sealed, ""))
	}
	s.text("created", stamp(r.Created))
	s.text("started", stamp(r.Started))
	s.text("finished", stamp(r.Finished))
	s.timeline(r)
}

func (s *screen) text(name, value string) {
	if value != "" {
		s.field(name, clean(value))
	}
}

func (s *screen) field(name, value string) {
	fmt.Fprintf(s.w, "%s%s\n", s.paint(faint, fmt.Sprintf("%-11s", name)), value)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func stored(b []byte, sealed bool, none string) string {
	switch {
	case b == nil:
		return none
	case sealed:
		return fmt.Sprintf("sealed, %d bytes", len(b))
	}
	return string(b)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000 MST")
}

func errorClass(c ledger.Class) string {
	switch c {
	case ledger.ClassNotDone:
		return "certainly not done"
	case ledger.ClassPermanent:
		return "for good"
	}
	return "its effect may have happened"
}

// meaning says what follows from the state.
func meaning(r *ledger.Record, now time.Time) string {
	switch r.Status() {
	case ledger.StateRunning:
		return ", since " + age(now, r.Started) + "; its worker lives"
	case ledger.StateSucceeded:
		return "; duplicates are blocked or get its result"
	case ledger.StateFailed:
		if r.Error != nil && r.Error.Class == ledger.ClassPermanent {
			return " for good; it is not run again"
		}
		return "; the next call runs again"
	case ledger.StateNone:
		return ": it always runs, and is only counted"
	case ledger.StateInDoubt:
		switch r.InDoubt {
		case ledger.DoubtBlock:
			return ": it is not run again until ledger resolve settles it"
		case ledger.DoubtReconcile:
			return ": the next call asks the downstream whether it happened"
		}
		return ": the next call runs again, with the same token"
	}
	return ""
}

// timeline writes the attempts that are still in the log, and what stands.
func (s *screen) timeline(r *ledger.Record) {
	fmt.Fprintf(s.w, "\n%s\n", s.paint(bold, "Timeline"))
	if r.Starts > int64(len(r.Log)) && len(r.Log) == ledger.MaxLog {
		fmt.Fprintf(s.w, "  %s\n", s.paint(faint, "older attempts are not kept"))
	}
	t := &table{screen: s, columns: []column{
		{head: "  STARTED"}, {head: "FENCE", right: true}, {head: "OUTCOME"}, {head: "TOOK", right: true}, {head: "OWNER", least: 10},
	}}
	for _, a := range r.Log {
		took := "?" // nobody saw it end
		if !a.Ended.IsZero() {
			took = elapsed(a.Ended.Sub(a.Started))
		}
		_ = t.row(cell{"  " + stamp(a.Started), ""}, cell{fmt.Sprint(a.Fence), ""}, outcomeCell(a.Outcome), cell{took, ""}, cell{ownerText(a.Owner), faint})
	}
	if r.State == ledger.StateRunning {
		_ = t.row(cell{"  " + stamp(r.Started), ""}, cell{fmt.Sprint(r.Fence), ""}, stateCell(r), cell{"", ""}, cell{ownerText(r.Owner), faint})
	}
	_ = t.end()
}

func outcomeCell(o ledger.Outcome) cell {
	switch o {
	case ledger.OutcomeSucceeded:
		return cell{string(o), green}
	case ledger.OutcomeFailed:
		return cell{string(o), red}
	case ledger.OutcomeInDoubt, ledger.OutcomeLost, ledger.OutcomeForced:
		return cell{strings.ReplaceAll(string(o), "_", " "), yellow}
	}
	return cell{string(o), ""}
}

func elapsed(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Microsecond * 100).String()
	}
	return d.Round(time.Millisecond * 10).String()
}
