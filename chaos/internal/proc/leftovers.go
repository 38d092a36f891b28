package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Names in and of a run's directory.
const (
	HarnessFile = "harness.json"  // whose run it is: a Harness
	PIDsFile    = "pids.jsonl"    // its processes: Childs
	DirPrefix   = "ledger-chaos-" // of the names of directories that Leftovers looks into
)

// A Harness is the process that a run's directory belongs to.
type Harness struct {
	PID   int        `json:"pid"`
	Start uint64     `json:"start"` // in clock ticks since the boot, from /proc/PID/stat: with PID and Boot it names one process
	Boot  string     `json:"boot"`  // the kernel's id of the boot
	Since time.Time  `json:"since"`
	Argv  []string   `json:"argv"`
	Ended *time.Time `json:"ended,omitempty"` // the keeper was closed
}

// A Child is a process that a keeper started.
type Child struct {
	Name  string   `json:"name"`
	PID   int      `json:"pid"`
	Start uint64   `json:"start"` // as of Harness
	Argv  []string `json:"argv"`
	At    int64    `json:"at"` // trace.Now, just after its start
}

// A Leftover is the directory of a run whose harness died without closing its keeper.
type Leftover struct {
	Dir     string
	Harness Harness
	Alive   []Child // of its processes
}

// String says what is left and what to do, for people.
func (l Leftover) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: a chaos run of %s whose process %d did not bring it to its end.", l.Dir, l.Harness.Since.Format(time.DateTime), l.Harness.PID)
	if len(l.Alive) > 0 {
		var names, pids []string
		for _, c := range l.Alive {
			names = append(names, fmt.Sprintf("%s (pid %d)", c.Name, c.PID))
			pids = append(pids, strconv.Itoa(c.PID))
		}
		fmt.Fprintf(&b, " Still running: %s; end them with: kill -KILL %s.", strings.Join(names, ", "), strings.Join(pids, " "))
	}
	fmt.Fprintf(&b, " Look at its files, or remove them with: rm -r %q", l.Dir)
	return b.String()
}

// Leftovers finds what crashed runs left: the directories below root (default: os.TempDir) whose name begins with DirPrefix,
// that belong to this user, whose harness is dead and did not close its keeper, with those of its processes that are
// alive. A process counts only if its start time matches, too: never one that got the number later. A directory
// without a harness.json is left out. Leftovers ends and removes nothing. Beside an error it returns what it found.
func Leftovers(root string) ([]Leftover, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if root == "" {
		root = os.TempDir()
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("proc: look for what crashed runs left: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	var found []Leftover
	var errs []error
	for _, e := range entries {
		// A directory of somebody else's could name processes of ours.
		if info, err := e.Info(); err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), DirPrefix) || !isMine(info) {
			continue
		}
		l, err := leftover(filepath.Join(root, e.Name()), boot)
		if err != nil {
			errs = append(errs, fmt.Errorf("proc: %w", err))
		} else if l != nil {
			found = append(found, *l)
		}
	}
	return found, errors.Join(errs...)
}

// leftover is nil for a run that is going on or came to its end.
func leftover(dir, boot string) (*Leftover, error) {
	text, err := os.ReadFile(filepath.Join(dir, HarnessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := Leftover{Dir: dir}
	if err := json.Unmarshal(text, &l.Harness); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, HarnessFile), err)
	}
	if l.Harness.Ended != nil {
		return nil, nil
	}
	if l.Harness.Boot != boot {
		return &l, nil // nothing outlives a boot
	}
	if alive, err := isAlive(l.Harness.PID, l.Harness.Start); alive || err != nil {
		return nil, err
	}
	for c, err := range trace.Read[Child](filepath.Join(dir, PIDsFile)) {
		alive := false
		if err == nil {
			alive, err = isAlive(c.PID, c.Start)
		}
		if err != nil {
			return nil, err
		}
		if alive {
			l.Alive = append(l.Alive, c)
		}
	}
	return &l, nil
}

// whoami is this process.
func whoami() (Harness, error) {
	boot, err := bootID()
	if err != nil {
		return Harness{}, err
	}
	start, err := startTime(os.Getpid())
	return Harness{PID: os.Getpid(), Start: start, Boot: boot, Since: time.Now(), Argv: os.Args}, err
}
