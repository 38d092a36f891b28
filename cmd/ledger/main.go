// Command ledger looks at what the library keeps, and shows what it is for:
//
//	go run github.com/ledger-once/ledger/cmd/ledger demo
package main

//go:generate go run ../../internal/mangen ../../docs/man

import (
	"os"

	"github.com/ledger-once/ledger/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
