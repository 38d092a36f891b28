//go:build unix

package rounds

import (
	"syscall"
	"time"
)

// CPUTime is what the process has used of the processors, in user and system mode. It is 0 where the system does not tell.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
