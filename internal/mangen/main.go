// Command mangen writes the command's man pages to the directory that its argument names:
//
//	go generate ./cmd/ledger
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra/doc"

	"github.com/ledger-once/ledger/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mangen DIR")
		os.Exit(64)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write makes a page for each command in dir. They hold no date of today, so that the same commands give the same pages.
func write(dir string) error {
	root := cli.Command()
	root.DisableAutoGenTag = true
	date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Date: &date, Source: "Ledger", Manual: "Ledger"}, dir)
}
