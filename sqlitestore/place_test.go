package sqlitestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ledger-once/ledger"
)

// TestSymlinksAsTheKernel: a relative link starts at the real directory that holds it, and
// "link/.." is the parent of what the link leads to.
func TestSymlinksAsTheKernel(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"data/x/y", "home", "far/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"home/a":             filepath.Join(dir, "data/x/y"),
		"data/x/y/ledger.db": "../real.db",
		"ln":                 filepath.Join(dir, "far/deep"),
		"up.db":              "ln/../l.db", // not l.db
	} {
		if err := os.Symlink(filepath.FromSlash(target), filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	t.Chdir(dir)
	a := openTest(t, "data/x/y/ledger.db")
	claim := sampleClaim(randomID())
	if _, won, err := a.Claim(t.Context(), claim); err != nil || !won {
		t.Fatalf("got %v, %v; want a win", won, err)
	}
	b := openTest(t, "home/a/ledger.db")
	if _, won, err := b.Claim(t.Context(), sampleClaim(claim.Next.ID)); err != nil || won {
		t.Errorf("by the other name: got won %v, %v; want the claim lost", won, err)
	}
	for path, want := range map[string]string{
		"home/a/ledger.db":                     "data/x/real.db",
		"home/a/../real.db":                    "data/x/real.db",
		"up.db":                                "far/l.db",
		"ln/../l.db":                           "far/l.db",
		dir + "/ln/../l.db":                    "far/l.db",
		"./home/../home//a/./ledger.db":        "data/x/real.db",
		filepath.Join(dir, "data/x/y/new.db"):  "data/x/y/new.db",
		filepath.Join(dir, "home/a/other.txt"): "data/x/y/other.txt",
	} {
		if got, err := resolve(path); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("resolve(%q): got %s, %v; want %s", path, got, err, filepath.Join(dir, want))
		}
	}
	for _, path := range []string{"home/", ".", "home/..", "home/a/"} {
		if got, err := resolve(path); err == nil {
			t.Errorf("resolve(%q): got %s; want an error", path, got)
		}
	}
}

// TestReopen: the writer's connection can fail at any time, while others read, without anybody noticing.
func TestReopen(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "l.db"))
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := s.lastVersion(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	before := s.place.wal
	for range 50 {
		if err := s.writer.close(); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if !s.place.wal.same(before) {
		t.Error("the log is another one")
	}
}

// TestSweepForeign: what others put among the owners' files stays there.
func TestSweepForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	sub := filepath.Join(path+".owners", "sub")
	session := filepath.Join(path+".owners", "8b0e6a3c-3c3e-4a53-9b61-2f2d8f7f0d11")
	readme := filepath.Join(path+".owners", "README")
	for _, dir := range []string{sub, session} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(readme, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	openTest(t, path)
	for _, name := range []string{sub, session, readme} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenSays: what stands in the way is named, with what to do.
func TestOpenSays(t *testing.T) {
	for _, c := range []struct {
		name, path string
		make       func(dir string) error
		want       []string
	}{
		{"dangling link", "l.db", func(dir string) error {
			return os.Symlink(filepath.Join("nowhere", "far.db"), filepath.Join(dir, "l.db"))
		}, []string{"l.db leads to", "nowhere", "correct the link"}},
		{"a file as directory", "file/l.db", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
		}, []string{"file", "not a directory"}},
		{"log is a directory", "l.db", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "l.db"), nil, 0o600), os.Mkdir(filepath.Join(dir, "l.db-wal"), 0o700))
		}, []string{"l.db-wal must be a regular file", "remove it"}},
		{"lock is a directory", "l.db", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "l.db"), nil, 0o600), os.Mkdir(filepath.Join(dir, "l.db.lock"), 0o700))
		}, []string{"l.db.lock must be a regular file", "remove it"}},
		{"lock is a directory, no database", "l.db", func(dir string) error {
			return os.Mkdir(filepath.Join(dir, "l.db.lock"), 0o700)
		}, []string{"l.db.lock", "remove it"}},
		{"owners are a file", "l.db", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "l.db"), nil, 0o600), os.WriteFile(filepath.Join(dir, "l.db.owners"), nil, 0o600))
		}, []string{"l.db.owners must be a directory", "remove it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.make(dir); err != nil {
				t.Skip(err)
			}
			s, err := Open(t.Context(), filepath.Join(dir, filepath.FromSlash(c.path)), nil)
			if err == nil {
				s.Close()
				t.Fatal("got no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q; want %q in it", err, want)
				}
			}
			if !errors.Is(err, ledger.ErrNotWritten) {
				t.Errorf("got %v; want ErrNotWritten", err)
			}
		})
	}
}
