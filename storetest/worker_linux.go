package storetest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the worker if the process that started it
// is killed, so that none is left behind.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
