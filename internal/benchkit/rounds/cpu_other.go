//go:build !unix

package rounds

import "time"

// CPUTime is 0: this system is not asked.
func CPUTime() time.Duration { return 0 }
