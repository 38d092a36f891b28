package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What a release build says of itself, where its module is the main one and the go command may know no version:
//
//	go build -ldflags "-X github.com/ledger-once/ledger/internal/cli.stampedVersion=v1.2.3" ./cmd/ledger
//
// They win over what the go command wrote into the binary; .goreleaser.yaml sets them.
var stampedVersion, stampedCommit, stampedDate string

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.out, version())
			return err
		},
	}
}

// version names the module's version, the commit and its date if the build knows them, the
// compiler and the platform.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return describe(info, stampedVersion, stampedCommit, stampedDate)
}

// describe is version, of a build's own knowledge (nil: none) and what it was stamped with.
func describe(info *debug.BuildInfo, v, commit, date string) string {
	known, modified := "(unknown)", false
	if info != nil {
		if known = info.Main.Version; known == "" {
			known = "(devel)"
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && commit == "":
				commit = s.Value
			case s.Key == "vcs.time" && date == "":
				date = s.Value
			case s.Key == "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	if v == "" {
		v = known
	}
	text := "ledger " + v
	if commit != "" {
		text += " " + commit[:min(12, len(commit))]
	}
	if modified {
		text += " (modified)"
	}
	if len(date) >= len("2006-01-02") {
		text += " " + date[:len("2006-01-02")]
	}
	return fmt.Sprintf("%s %s %s/%s", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
