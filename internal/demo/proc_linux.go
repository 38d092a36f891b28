package demo

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the worker should this process die
// without ending it. Elsewhere the end of its standard input has to do.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
