package docstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger/internal/cli"
)

// split reads a line of shell into its simple commands, each into its words: quotes,
// comments, ;, |, &&, redirections and a backslash before a character, and no more of the shell.
func split(line string) (commands [][]string, err error) {
	var (
		words       []string
		word        strings.Builder
		inWord, arg bool // arg: the next word belongs to a redirection
		quote       rune
	)
	endWord := func() {
		if inWord && !arg {
			words = append(words, word.String())
		}
		if inWord {
			arg = false
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && c == '\\', quote == 0 && c == '\\':
			if i++; i < len(runes) {
				word.WriteRune(runes[i])
				inWord = true
			}
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			endWord()
		case c == '#' && !inWord:
			endCommand()
			return commands, nil
		case c == ';' || c == '|' || c == '&':
			endCommand()
		case c == '>' || c == '<':
			endWord()
			arg = true
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is never closed")
	}
	endCommand()
	return commands, nil
}

// ours returns the arguments for ledger(1) of a command line that starts it, in one way or another.
func ours(words []string) (args []string, ok bool) {
	for len(words) > 0 && strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "-") {
		words = words[1:] // a variable of the environment
	}
	if len(words) == 0 {
		return nil, false
	}
	if words[0] == "ledger" {
		return words[1:], true
	}
	if len(words) < 3 || words[0] != "go" || words[1] != "run" {
		return nil, false
	}
	for i, word := range words {
		at, _, _ := strings.Cut(word, "@")
		if at == "./cmd/ledger" || at == module+"/cmd/ledger" {
			return words[i+1:], true
		}
	}
	return nil, false
}

// understood tries the arguments on the command's real flags, and runs nothing.
func understood(args []string) error {
	cmd, rest, err := cli.Command().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if !cmd.HasParent() && !cmd.Flags().Changed("help") && !cmd.Flags().Changed("version") {
		return errors.New("no such command")
	}
	if len(args) == 1 && len(rest) == 0 {
		return nil // a text that names the command
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// commandLines are those in a page's blocks of shell, and in the code of its prose.
func commandLines(p page) map[string]string {
	lines := make(map[string]string)
	for _, b := range p.blocks {
		if b.lang != "sh" && b.lang != "" && b.lang != "console" {
			continue
		}
		n := b.line
		joined := ""
		for line := range strings.Lines(b.text) {
			line = strings.TrimSuffix(line, "\n")
			if rest, more := strings.CutSuffix(line, "\\"); more {
				joined += rest + " "
			} else {
				lines[fmt.Sprintf("%s:%d", p.name, n)] = strings.TrimPrefix(joined+line, "$ ")
				joined = ""
			}
			n++
		}
	}
	for n, code := range spans(p) {
		lines[fmt.Sprintf("%s:%d, in the text", p.name, n)] = code
	}
	return lines
}

func TestCommandLines(t *testing.T) {
	tried := 0
	for _, p := range read(t, append([]string{"chaos/README.md"}, pages...)...) {
		for where, line := range commandLines(p) {
			commands, err := split(line)
			if err != nil {
				continue // not a line of shell
			}
			for _, words := range commands {
				args, ok := ours(words)
				if !ok || len(args) == 0 {
					continue
				}
				tried++
				if err := understood(args); err != nil {
					t.Errorf("%s: ledger %s: %v", where, strings.Join(args, " "), err)
				}
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d command lines were found", tried)
	}
}

func TestCommandLinesAreTried(t *testing.T) {
	for line, ok := range map[string]bool{
		"ledger show ledger.db --wf order-42 # a comment":  true,
		"LEDGER_DB=x.db ledger stats":                      true,
		"go run -tags failpoint ./cmd/ledger chaos --full": true,
		"ledger export > 'a file' | ledger nothing":        false,
		"ledger show --nothing":                            false,
		"ledger show; ledger resolve x --happened --wrong": false,
		"ledger get":                                           true,
		"ledger get --store x.db":                              false,
		"ledger version --json":                                false,
		"go run " + module + "/cmd/ledger@latest dem":          false,
		`ledger resolve 0f --happened --reason "it's \"there"`: true,
	} {
		commands, err := split(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var first error
		for _, words := range commands {
			args, is := ours(words)
			if !is {
				t.Errorf("%s: %q is not taken for ours", line, words)
				continue
			}
			if err := understood(args); err != nil && first == nil {
				first = err
			}
		}
		if (first == nil) != ok {
			t.Errorf("%s: %v, understood is to be %v", line, first, ok)
		}
	}
	if _, err := split("ledger 'never closed"); err == nil {
		t.Error("a quote that is never closed is no error")
	}
}

// TestExamplesOfCommands parses each line of each command's examples with its real flags.
func TestExamplesOfCommands(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Example == "" && c.Runnable() && c.Name() != "version" && c.Name() != "help" && c.Parent() != nil && c.Parent().Name() != "completion" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			commands, err := split(line)
			if err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
				continue
			}
			for _, words := range commands {
				args, ok := ours(words)
				if !ok {
					continue
				}
				seen++
				if err := understood(args); err != nil {
					t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
				}
			}
		}
	}
	walk(cli.Command())
	if seen < 30 {
		t.Errorf("%d examples were seen; there are more", seen)
	}
}
