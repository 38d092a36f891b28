package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir, quick())
	_, err := Start(t.Context(), dir, quick())
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	wantError(t, err, dir, "in use by this process", "choose another")
	if _, err := Cluster(t.Context(), 3, dir, quick()); !errors.Is(err, ErrInUse) {
		t.Errorf("Cluster: got %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	startServer(t, dir, quick())
}

func TestBadDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(content string, name ...string) string {
		name = append([]string{dir}, name...)
		path := filepath.Join(name...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("", "file")
	write("", "foreign", "member", "snap", "db")
	write("", "lost", "m0", "member", "snap", "db")
	write(`{"version":2}`, "newer", noteName)
	write(`{"version":1,`, "torn", noteName)
	write(`{"version":1,"ready":true}`, "nobody", noteName)
	write(`{"version":1,"ready":true,"members":[{"name":"../../elsewhere"}]}`, "escape", noteName)
	write(`{"version":1,"ready":true,"members":[{"name":"m0","client":":0","peer":"127.0.0.1:0"}]}`, "outside", noteName)
	write(`{"version":1,"ready":true,"members":[{"name":"m0","client":"127.0.0.1:1","peer":"127.0.0.1:0"}]}`, "gone", noteName)
	three := filepath.Join(dir, "three")
	if err := startCluster(t, 3, three, quick()).Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir string
		say string
	}{
		{"", "name a directory"},
		{file, "it is a file"},
		{filepath.Join(file, "below"), "make the directory"},
		{filepath.Join(dir, "foreign"), "another program's etcd"},
		{filepath.Join(dir, "lost"), "whose note was deleted"},
		{filepath.Join(dir, "newer"), "use a newer program"},
		{filepath.Join(dir, "torn"), "is damaged"},
		{filepath.Join(dir, "nobody"), "is damaged"},
		{filepath.Join(dir, "escape"), "is damaged"},
		{filepath.Join(dir, "outside"), "is damaged"},
		{filepath.Join(dir, "gone"), "the data of member 0 are gone"},
		{three, "it holds an etcd of 3 members, not of 1 member"},
	} {
		_, err := Start(t.Context(), tt.dir, nil)
		wantError(t, err, tt.dir, tt.say)
	}
	// And none of them stays locked.
	startCluster(t, 3, three, quick())
}

func TestBadNumbers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, 10} {
		_, err := Cluster(t.Context(), n, t.TempDir(), nil)
		wantError(t, err, "1 to 9")
	}
}

// A start that did not end leaves members that may never elect anybody.
func TestUnfinishedStartIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir, quick())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := openPlace(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.note.Ready = false
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	p.close()
	if err := os.WriteFile(filepath.Join(dir, "m0", "member", "snap", "db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	startCluster(t, 3, dir, quick()) // any number will do
}
