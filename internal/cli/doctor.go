package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var (
		t target
		f format
	)
	cmd := &cobra.Command{
		Use:   "doctor [FILE|URL]",
		Short: "Examine a store, and say what to do about what it finds",
		Long: "Examines a store: whether it is reached and how fast it answers, its schema and etcd's version, what\n" +
			"this user may do, disk space or quota, TLS certificates, clocks, workers that are alive or left\n" +
			"something behind, calls in doubt and in flight. Each finding is ok, warn (it will need something)\n" +
			"or fail (it keeps workers from working), with what to do. It writes nothing; on etcd it sends one\n" +
			"transaction whose condition never holds, to see what may be written and how long the cluster takes.\n" +
			"It reads every call that is in doubt or running; on etcd it reads all calls for that, for 20 s at most.\n\n" +
			"Exit codes: 2 the store can not be reached or used, 1 something fails, 0 otherwise.\n\n" + storeHelp,
		Example: "  ledger doctor ledger.db\n" +
			"  ledger doctor --endpoints 127.0.0.1:2379 --prefix ledger -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, _ := optional(args, 0)
			url, err := t.url(named, a.environ)
			if err != nil {
				return usage(err)
			}
			if strings.EqualFold(url, "memory:") {
				return usage(errMemory)
			}
			return a.doctor(cmd.Context(), url, f)
		},
	}
	f.flag(cmd)
	t.flags(cmd)
	return cmd
}

func (a *app) doctor(ctx context.Context, url string, f format) error {
	r, err := doctor.Examine(ctx, url)
	if err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		var code *failure
		if errors.As(notOpened(url, err), &code) && code.code == exitUsage {
			return code
		}
	}
	switch f {
	case asTable:
		err = a.screen(a.out).report(r)
	case asJSON:
		err = a.printJSON(f, r)
	default:
		out := newValues(a.out, f)
		for _, finding := range r.Findings {
			if err := out.add(finding); err != nil {
				return coded(err)
			}
		}
		err = out.end()
	}
	switch {
	case err != nil:
		return coded(err)
	case !r.Reachable:
		return silent(exitStore)
	case r.Count(doctor.Fail) > 0:
		return silent(exitError)
	}
	return nil
}

var findingColors = map[doctor.Status]string{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red}

// report writes a finding a paragraph: status, check, and the text beside them.
func (s *screen) report(r *doctor.Report) error {
	const statusColumns = 4
	widest := 0
	for _, f := range r.Findings {
		widest = max(widest, runewidth.StringWidth(f.Check))
	}
	indent := statusColumns + len(gap) + widest + len(gap)
	width := s.width - indent
	if s.width == 0 {
		width = 0
	} else if width < 20 { // too narrow for columns
		indent, width = len(gap), max(10, s.width-len(gap))
	}
	for _, f := range r.Findings {
		head := s.paint(findingColors[f.Status], fmt.Sprintf("%-*s", statusColumns, f.Status)) + gap + f.Check
		if indent > statusColumns+len(gap) {
			head += strings.Repeat(" ", widest-runewidth.StringWidth(f.Check)) + gap
		} else {
			head += "\n" + strings.Repeat(" ", indent)
		}
		next := "\n" + strings.Repeat(" ", indent)
		text := strings.Join(wrap(clean(f.Found), width), next)
		if f.Do != "" {
			do := wrap(clean(f.Do), max(0, width-2))
			text += next + "→ " + strings.Join(do, next+"  ")
		}
		fmt.Fprintln(s.w, head+text)
	}
	fmt.Fprintf(s.w, "\n%d ok, %d to look at, %d that fail\n", r.Count(doctor.OK), r.Count(doctor.Warn), r.Count(doctor.Fail))
	return s.w.Flush()
}

// wrap breaks s between words into lines of at most width columns, and words that are longer; 0: into one line.
func wrap(s string, width int) []string {
	if width <= 0 {
		return []string{s}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case runewidth.StringWidth(line)+1+runewidth.StringWidth(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for runewidth.StringWidth(line) > width {
			head := runewidth.Truncate(line, width, "")
			if head == "" { // a character wider than the line
				break
			}
			lines = append(lines, head)
			line = line[len(head):]
		}
	}
	return append(lines, line)
}
