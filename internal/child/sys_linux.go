package child

import "syscall"

// withParent has the kernel kill the program when the thread that starts it ends.
func withParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
