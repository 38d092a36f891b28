package powercut

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// traced are the system calls that strace writes down: all that change files, and what is needed to know which file it is. The
// index of SQLite's log is written through memory instead, and not modelled; if anything else was, the files would
// differ from their replay.
const traced = `/^open,creat,close,/^dup,lseek,write,pwrite64,writev,/^pwritev,copy_file_range,sendfile,splice,truncate,ftruncate,` +
	`fallocate,fsync,fdatasync,sync,syncfs,sync_file_range,/^rename,/^unlink,/^mkdir,rmdir,/^link,/^symlink,io_uring_enter`

// maxString is how much of a string strace shows, in bytes: more than any write of the worker.
const maxString = 1 << 22

// straceArgv is how a program is traced into a file.
func straceArgv(strace, out string, command []string) []string {
	return append([]string{
		strace, "-f", "--seccomp-bpf", "-qq", "-xx", "-s", strconv.Itoa(maxString),
		"-e", "signal=none", "-e", "trace=" + traced, "-o", out, "--",
	}, command...)
}

// A call is a system call at its start.
type call struct {
	name string
	args []string // as strace shows them; strings in quotes, in hex
}

// A returned is called with what the call returned, -1 for an error. line is that of its end.
type returned func(line int, result int64) error

// read gives each system call of a trace to enter, with the number of the line of its start, and what it
// returned to the function that enter returned. A stopped process starts no call before the end of its last one
// was written down: so a smaller number in one thread, or in two of which one waits for the other, is earlier.
// It returns the number of lines.
func read(in io.Reader, enter func(line int, c call) (returned, error)) (lines int, err error) {
	open := make(map[string]returned) // by thread
	r := bufio.NewReaderSize(in, 1<<20)
	for {
		text, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && text == "" {
			return lines, nil
		}
		if err != nil {
			return lines, fmt.Errorf("the trace ends in the middle of a line: %w", err)
		}
		lines++
		if err := readLine(strings.TrimSuffix(text, "\n"), lines, open, enter); err != nil {
			return lines, fmt.Errorf("line %d of the trace: %w", lines, err)
		}
	}
}

func readLine(text string, line int, open map[string]returned, enter func(int, call) (returned, error)) error {
	thread, text, _ := strings.Cut(text, " ")
	text = strings.TrimLeft(text, " ")
	if strings.HasPrefix(text, "+++ ") || strings.HasPrefix(text, "--- ") || text == "????" {
		return nil // the end of a thread, a signal
	}
	var result string
	if rest, resumed := strings.CutPrefix(text, "<... "); resumed {
		_, result, resumed = strings.Cut(rest, " resumed>")
		if !resumed {
			return fmt.Errorf("can not be understood: %.100q", text)
		}
		result = strings.TrimLeft(result, ") ")
	} else {
		name, rest, ok := strings.Cut(text, "(")
		if !ok {
			return fmt.Errorf("can not be understood: %.100q", text)
		}
		args, end := arguments(rest)
		done, err := enter(line, call{name, args})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		open[thread] = done
		// Of a call that has no name, a thread that was killed on entry, strace says either; of another one that it stopped
		// to look, after which the trace is not whole.
		if strings.HasPrefix(end, "<unfinished") || name == "???" && strings.HasPrefix(end, "<detached") {
			return nil
		}
		result = strings.TrimLeft(end, ") ")
	}
	done := open[thread]
	delete(open, thread)
	result, ok := strings.CutPrefix(result, "= ")
	if !ok {
		return fmt.Errorf("has no result: %.100q", text)
	}
	result, _, _ = strings.Cut(result, " ")
	if done == nil || result == "?" { // the process ended in it
		return nil
	}
	n, err := strconv.ParseInt(result, 0, 64)
	if err != nil {
		return fmt.Errorf("has the result %q", result)
	}
	return done(line, n)
}

// arguments splits "a, [b, c], d) = 0" into the arguments and what comes after them. Strings are in hex: they hold no quote.
func arguments(s string) (args []string, end string) {
	depth, from, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{' || c == '(':
			depth++
		case depth > 0 && (c == ']' || c == '}' || c == ')'):
			depth--
		case depth == 0 && (c == ',' || c == ')' || c == '<'): // "<unfinished ...>"
			if arg := strings.TrimSpace(s[from:i]); arg != "" {
				args = append(args, arg)
			}
			if from = i + 1; c != ',' {
				return args, s[i:]
			}
		}
	}
	return args, ""
}

// text returns the strings in an argument, one after the other: a path, what is written, or the parts of a writev.
func text(arg string) ([]byte, error) {
	var all []byte
	for {
		_, rest, found := strings.Cut(arg, `"`)
		if !found {
			return all, nil
		}
		quoted, rest, found := strings.Cut(rest, `"`)
		if !found || strings.HasPrefix(rest, "...") {
			return nil, errors.New("a string was cut short")
		}
		part, err := hex.DecodeString(strings.ReplaceAll(quoted, `\x`, ""))
		if err != nil {
			return nil, err
		}
		all, arg = append(all, part...), rest
	}
}

func number(arg string) (int64, error) { return strconv.ParseInt(arg, 0, 64) }
