package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func init() {
	roles["full"] = full
	roles["garbage"] = garbage
}

// errSkip is what a role returns that can not do its part on this machine.
var errSkip = errors.New("skip")

// full runs where it may mount a small disk, and fills it.
func full(dir string) error {
	mount := func(megabytes int) error {
		err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes))
		if err != nil {
			return fmt.Errorf("%w: mount: %w", errSkip, err)
		}
		return nil
	}
	if err := mount(100); err != nil {
		return err
	}
	ctx := context.Background()
	_, err := Start(ctx, dir, quick())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		return fmt.Errorf("in 100 MiB: got %v, want ENOSPC and what to do", err)
	}
	if err := mount(160); err != nil { // above the other one
		return err
	}
	s, err := Start(ctx, dir, quick())
	if err != nil {
		return err
	}
	c, err := s.Client(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	// Somebody else fills the disk.
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	for chunk := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(chunk)
	}
	if err := f.Close(); err != nil {
		return err
	}
	value := string(make([]byte, 1<<20))
	for n, running := 0, true; running; n++ {
		if n > 40 {
			return errors.New("40 MiB were written to a full disk")
		}
		once, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = c.Put(once, fmt.Sprint("k", n), value)
		cancel()
		select {
		case <-s.Done():
			running = false
		default:
		}
	}
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
		return fmt.Errorf("Close: got %v, want ENOSPC and the directory", err)
	}
	fmt.Println(s.Err())
	return nil
}

func TestFullDisk(t *testing.T) {
	if underRace {
		t.Skip("slow under the race detector")
	}
	t.Parallel()
	cmd := process(t, "full", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.HasPrefix(string(out), errSkip.Error()) {
		t.Skipf("no small disk to be had here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

// garbage starts a server whose files hold no sense. This process is no good
// for another start, as the error says.
func garbage(dir string) error {
	_, err := Start(context.Background(), dir, quick())
	if err == nil {
		return errors.New("it started")
	}
	fmt.Println(err)
	return nil
}

func TestGarbage(t *testing.T) {
	if underRace {
		t.Skip("slow under the race detector")
	}
	t.Parallel()
	for _, tt := range []struct{ name, file, say string }{
		{"database", "m0/member/snap/db", "open database"},
		{"log", "m0/member/wal/*.wal", "may be damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := Start(t.Context(), dir, quick())
			if err != nil {
				t.Fatal(err)
			}
			s.Kill()
			files, err := filepath.Glob(filepath.Join(dir, tt.file))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := os.WriteFile(files[0], []byte(strings.Repeat("garbage ", 1<<12)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := process(t, "garbage", dir).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			wantError(t, errors.New(string(out)), dir, tt.say)
		})
	}
}
