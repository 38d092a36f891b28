package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// What a program has just closed, or a process that was just killed had open, may stay taken for a moment: a child
// process holds copies of its parent's listeners and files, with the locks of those, from its start until it executes
// its program. 14 ms were seen on a busy machine.
const (
	takenLimit = time.Second
	takenPause = 5 * time.Millisecond
)

// patiently calls try again for takenLimit, or until ctx ends, while its error matches taken.
func patiently(ctx context.Context, taken error, try func() error) error {
	limit := time.After(takenLimit)
	for {
		err := try()
		if !errors.Is(err, taken) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-limit:
			return err
		case <-time.After(takenPause):
		}
	}
}

// awaitFiles waits until nobody holds the logs of a member. Etcd gives up on a log that is locked as on one that is
// damaged, and this process with it.
func awaitFiles(ctx context.Context, member string) error {
	return patiently(ctx, ErrInUse, func() error { return freeFiles(filepath.Join(member, "member", "wal")) })
}

// freeFiles returns an error that matches ErrInUse if somebody has a log in dir open.
func freeFiles(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a new member has none
		return err
	}
	for _, file := range files {
		log := filepath.Join(dir, file.Name())
		if filepath.Ext(log) != ".wal" {
			continue
		}
		if held, err := isLocked(log); err != nil {
			return err
		} else if held {
			return fmt.Errorf("%w by another program, which has %s open: stop that", ErrInUse, log)
		}
	}
	return nil
}
