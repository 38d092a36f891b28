package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// lockLog opens the log of a member as etcd does.
func lockLog(t *testing.T, path string) *fileutil.LockedFile {
	t.Helper()
	f, err := fileutil.TryLockFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAwaitFiles(t *testing.T) {
	testPatience(t, ErrInUse, func(t *testing.T) (func(), func(context.Context) error) {
		dir := t.TempDir()
		log := filepath.Join(dir, "member", "wal", "0.wal")
		if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
			t.Fatal(err)
		}
		held := lockLog(t, log)
		return func() { held.Close() }, func(ctx context.Context) error { return awaitFiles(ctx, dir) }
	})
}

// Somebody else who has the files open is no damage, and this process can start it later.
func TestStartWithFilesHeld(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a[b]") // no pattern
	s := startServer(t, dir, quick())
	c, err := s.Client(nil)
	put(t, client(t, c, err), "k", "v")
	s.Kill()
	logs, err := fileutil.ReadDir(filepath.Join(dir, "m0", "member", "wal"), fileutil.WithExt(".wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	log := filepath.Join(dir, "m0", "member", "wal", logs[0])
	held := lockLog(t, log)
	_, err = Start(t.Context(), dir, quick())
	wantError(t, err, dir, log, "in use by another program", "stop that")
	if !errors.Is(err, ErrInUse) || errors.Is(err, errStuck) {
		t.Errorf("got %v, want ErrInUse only", err)
	}
	held.Close()
	c, err = startServer(t, dir, quick()).Client(nil)
	want(t, client(t, c, err), "k", "v")
}
