package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Test that this build does what it promises",
		Long: "Makes calls against a store in memory: a duplicate must not run, its result must be replayed, and a\n" +
			"call that certainly failed must run again. It touches no ledger; ledger doctor examines one.",
		Example: "  ledger check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := ledger.Check(cmd.Context()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, "ok: a duplicate did not run, its result was replayed, and a failed call ran again")
			return err
		},
	}
}
