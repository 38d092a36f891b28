package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed ancestor.py
var ancestorDriver string

// ancestorCallers is with how many callers at most the ancestor is measured: they are threads of one interpreter.
const ancestorCallers = 16

// ancestor is the Python program at the path that was given, in an interpreter of its own. How durable its file is, it decides itself.
func (r *runner) ancestor(ctx context.Context, dir string) (program, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return program{}, fmt.Errorf("it needs python3: %w", err)
	}
	path, err := filepath.Abs(r.o.ancestor)
	if err != nil {
		return program{}, err
	}
	if info, err := os.Stat(path); err != nil {
		return program{}, err
	} else if info.IsDir() {
		return program{}, fmt.Errorf("%s is a directory; give the path of its ledger.py", path)
	}
	cmd := exec.CommandContext(ctx, python, "-B", "-c", ancestorDriver, path)
	cmd.Env = append(os.Environ(), "LEDGER_DB="+filepath.Join(dir, "ancestor.db"), "LEDGER_QUIET=1")
	cmd.Dir = dir
	return program{name: "ledger-once, the Python ancestor", cmd: cmd, most: ancestorCallers}, nil
}
