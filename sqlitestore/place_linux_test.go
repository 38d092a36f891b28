package sqlitestore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

// TestMountedFile: a bind mount of the file alone has logs and locks of its own.
func TestMountedFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "l.db"), filepath.Join(dir, "c", "l.db")
	a := openTest(t, path)
	if err := os.Mkdir(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", path, other).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount: %s %v", out, err)
	}
	defer exec.Command("umount", "-l", other).Run()
	for _, open := range []func() (*Store, error){
		func() (*Store, error) { return Open(t.Context(), other, nil) },
		func() (*Store, error) { return OpenReadOnly(t.Context(), other, nil) },
	} {
		s, err := open()
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), "mount its directory") {
			t.Errorf("got %v; want ErrInvalid and the advice to mount the directory", err)
		}
	}
	if !mountPoint(other) || mountPoint(path) {
		t.Errorf("got %v, %v from mountinfo; want true, false", mountPoint(other), mountPoint(path))
	}
	if _, won, err := a.Claim(t.Context(), sampleClaim(randomID())); err != nil || !won {
		t.Errorf("by the path that is no mount: got %v, %v; want a win", won, err)
	}
	if names, _ := filepath.Glob(other + ".*"); len(names) > 0 {
		t.Errorf("got %v beside the mount; want nothing", names)
	}
}

func TestMountedAt(t *testing.T) {
	mounts := "36 35 98:0 /l.db /mnt/a\\040b/l\\134x.db rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
	for path, want := range map[string]bool{`/mnt/a b/l\x.db`: true, "/mnt/a": false, "/l.db": false} {
		if got := mountedAt(mounts, path); got != want {
			t.Errorf("%s: got %v; want %v", path, got, want)
		}
	}
}

// TestReadOnlyMount: on a file system that is mounted read-only, errors say so.
func TestReadOnlyMount(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l.db")
	a := openTest(t, path)
	if _, _, err := a.Claim(t.Context(), sampleClaim(randomID())); err != nil {
		t.Fatal(err)
	}
	there := t.TempDir()
	if out, err := exec.Command("cp", path, path+"-wal", there).CombinedOutput(); err != nil { // as after a crash and a restore
		t.Fatalf("%s %v", out, err)
	}
	for _, args := range [][]string{{"--bind", there, there}, {"-o", "remount,ro,bind", there}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Skipf("needs the right to mount: %s %v", out, err)
		}
		defer exec.Command("umount", "-l", there).Run()
	}
	s, err := Open(t.Context(), filepath.Join(there, "l.db"), nil)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "mounted read-only") || !strings.Contains(err.Error(), "l.db") {
		t.Errorf("got %v; want the file and that the file system is mounted read-only", err)
	}
	s, err = OpenReadOnly(t.Context(), filepath.Join(there, "l.db"), nil)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(err.Error(), "l.db-wal has to be read in first") {
		t.Errorf("read-only: got %v; want ErrUnavailable, and what the log needs", err)
	}
}

func TestFuseName(t *testing.T) {
	for typ, want := range map[string]string{
		"virtiofs": "virtiofs", "fuse.vmhgfs-fuse": "vmhgfs-fuse", "fuse.mfs": "mfs", "fuse.ceph-fuse": "ceph-fuse",
		"fuse.grpcfuse": "grpcfuse", "fuse.sshfs": "sshfs", "fuse.fuse-overlayfs": "", "fuseblk": "",
	} {
		mounts := "24 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n36 35 0:53 / /mnt rw,relatime shared:1 - " + typ + " src rw\n"
		if got := fuseName(mounts, "0:53"); got != want {
			t.Errorf("%s: got %q; want %q", typ, got, want)
		}
		if got := fuseName(mounts, "0:6"); got != "" {
			t.Errorf("%s: got %q for another device", typ, got)
		}
	}
}
