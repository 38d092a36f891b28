//go:build unix && !linux

package child

import "syscall"

// withParent does nothing: this system has no such thing.
func withParent(*syscall.SysProcAttr) {}
