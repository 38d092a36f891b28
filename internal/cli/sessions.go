package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/callview"
)

func (a *app) sessionsCommand() *cobra.Command {
	var (
		t target
		f format
	)
	cmd := &cobra.Command{
		Use:   "sessions [FILE|URL]",
		Short: "List the workers that are alive",
		Long: "Lists the workers that have the ledger open: on SQLite each open store, and dead ones whose\n" +
			"lock files nobody has removed yet; on etcd each worker that has claimed a call and whose lease\n" +
			"lives.\n\n" + storeHelp,
		Example: "  ledger sessions ledger.db",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, _ := optional(args, 0)
			return a.withStore(cmd.Context(), &t, named, toLook, func(at *ledgerAt) error {
				lister, ok := at.Store.(ledger.SessionLister)
				if !ok {
					return fmt.Errorf("the store can not tell who is alive")
				}
				all, err := lister.Sessions(cmd.Context())
				if err != nil {
					return err
				}
				return a.printSessions(all, f)
			})
		},
	}
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

type sessionOut struct {
	ID      string     `json:"id"`
	Host    string     `json:"host"`
	PID     int        `json:"pid"`
	Started *time.Time `json:"started,omitempty"`
	Alive   bool       `json:"alive"`
}

func (a *app) printSessions(all []ledger.Session, f format) error {
	if f != asTable {
		out := newValues(a.out, f)
		for _, s := range all {
			if err := out.add(sessionOut{s.ID, s.Host, s.PID, callview.TimeOf(s.Started), s.Alive}); err != nil {
				return err
			}
		}
		return out.end()
	}
	t := &table{screen: a.screen(a.out), columns: []column{
		{head: "STATE"}, {head: "HOST", least: 8}, {head: "PID", right: true}, {head: "SINCE", right: true}, {head: "SESSION", least: 8},
	}}
	now := time.Now()
	for _, s := range all {
		state := cell{"alive", green}
		if !s.Alive {
			state = cell{"dead", red}
		}
		if err := t.row(state, cell{s.Host, ""}, cell{fmt.Sprint(s.PID), ""}, cell{age(now, s.Started), ""}, cell{s.ID, faint}); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		fmt.Fprintln(a.err, "No worker is alive.")
	}
	return t.end()
}
