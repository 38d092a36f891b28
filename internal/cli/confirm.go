package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}

// errNo is the answer of who was asked and does not want it.
var errNo = &failure{exitError, errors.New("nothing was changed")}

// confirm asks the person at the terminal, unless yes was said before. Where there is nobody to ask it refuses.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	file, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &failure{exitDecide, errors.New("nothing was changed: there is no terminal to ask for a confirmation; add --yes")}
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // a read from a terminal can not be ended; after Ctrl-C the process ends
		line, _ := bufio.NewReader(file).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errNo
	case <-ctx.Done():
		fmt.Fprintln(a.err, "\nledger: nothing was changed")
		return ctx.Err()
	}
}
