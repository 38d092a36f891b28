//go:build unix

package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

func init() { roles["winner"] = winner }

// winner claims and finishes one call, and prints what it was told.
func winner() error {
	s, err := Open(context.Background(), roleArgs()[0], &Options{BusyTimeout: 100 * time.Millisecond})
	if err != nil {
		fmt.Println("refused", err)
		return nil
	}
	r, won, err := s.Claim(context.Background(), sampleClaim(ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}))
	if err == nil {
		err = s.Finish(context.Background(), sampleDone(r))
	}
	fmt.Println("acknowledged", won, err)
	return s.Close()
}

// TestLogDeleted: whoever deletes the log under an open store, what was acknowledged stays.
func TestLogDeleted(t *testing.T) {
	for _, deleted := range [][]string{{"-wal", "-shm"}, {"-wal"}, {"-shm"}} {
		t.Run(fmt.Sprint(deleted), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "l.db")
			a, err := Open(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := a.Claim(t.Context(), sampleClaim(randomID()))
			if err == nil {
				err = a.Finish(t.Context(), sampleDone(r))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, suffix := range deleted {
				if err := os.Remove(path + suffix); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := a.Claim(t.Context(), sampleClaim(randomID())); !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) {
				t.Errorf("got %v; want ErrUnavailable and ErrNotWritten", err)
			}
			out, err := start(t, "winner", nil, path).Output()
			if err != nil || !strings.Contains(string(out), "refused") || !strings.Contains(string(out), "end all programs") {
				t.Errorf("another process: got %s, %v; want it refused", out, err)
			}
			if b, err := Open(t.Context(), path, &Options{BusyTimeout: time.Millisecond}); err == nil {
				b.Close()
				t.Error("another store of this process was not refused")
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			b := openTest(t, path)
			if got, err := b.Get(t.Context(), r.ID); err != nil || got.State != ledger.StateSucceeded {
				t.Errorf("got %v, %v; want the success that was acknowledged", got.State, err)
			}
		})
	}
}

// TestLogReplaced: closing a store whose log is not the one that is there any more leaves the new one alone.
func TestLogReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	openTest(t, path).Close()
	a, err := Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Claim(t.Context(), sampleClaim(randomID())); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	out, err := start(t, "bystander", nil, path).Output() // which knows nothing of our checks
	if err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if b, err := Open(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "end the process") {
		if err == nil {
			b.Close()
		}
		t.Errorf("got %v; this process shares the old log's index", err)
	}
	out, err = start(t, "bystander", nil, path).Output()
	if err != nil || string(out) != "77\n" {
		t.Errorf("got %s, %v; want what the other process wrote", out, err)
	}
}

func init() { roles["bystander"] = bystander }

func bystander() error {
	c, err := openConn(roleArgs()[0], nil)
	if err != nil {
		return err
	}
	if n, err := number(c, "SELECT max(rec) FROM tallies"); err == nil {
		fmt.Println(n)
		return c.close()
	}
	return errors.Join(c.run("INSERT INTO tallies (rec, attempts, executed, blocked) VALUES (77, 0, 0, 0)"), c.close())
}

// TestCopiedOver: a smaller copy written over the open database, into the same inode, stops all.
func TestCopiedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	openTest(t, path).Close()
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path, &Options{CheckpointPages: 20})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, backup, 0o600); err != nil { // and drops the locks of this process, which does not matter here
		t.Fatal(err)
	}
	_, _, err = s.Claim(t.Context(), sampleClaim(randomID()))
	if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), "shrank") {
		t.Errorf("got %v; want ErrUnavailable, ErrNotWritten and what happened", err)
	}
	if _, err := s.Get(t.Context(), randomID()); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("get: got %v; want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(backup) {
		t.Errorf("got %d bytes, %v; want the copy as it was put there", len(after), err)
	}
}

// TestOwnersMoved: an owner whose file was moved away makes it anew, with its next write or without one.
func TestOwnersMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	a, b := openTest(t, path), openTest(t, path)
	r, _, err := a.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil {
		t.Fatal(err)
	}
	alive := func() bool {
		got, err := b.Get(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Alive
	}
	move := func(away string) {
		if err := os.Rename(path+".owners", away); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path+".owners", 0o700); err != nil && !errors.Is(err, fs.ErrExist) { // an owner may have looked just now
			t.Fatal(err)
		}
	}
	move(path + ".bak")
	if _, _, err := a.Claim(t.Context(), sampleClaim(randomID())); err != nil {
		t.Fatal(err)
	}
	if !alive() {
		t.Error("dead after its next write")
	}
	// Somebody puts the first directory back: its files are still locked.
	again(t, func() error {
		if err := os.RemoveAll(path + ".owners"); err != nil {
			return err
		}
		return os.Rename(path+".bak", path+".owners")
	})
	if !alive() {
		t.Error("dead when its first file is back")
	}
	// It writes nothing now. The other owner, which has lost its file too, takes it for living meanwhile.
	move(path + ".bak2")
	next := sampleClaim(r.ID)
	next.Seen = r.Version
	if _, won, err := b.Claim(t.Context(), next); err != nil || won {
		t.Errorf("got won %v, %v; want no takeover from a living owner", won, err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if ok, err := probe(a.owner.path()); err == nil && ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an owner that writes nothing does not make its file anew")
		}
	}
	if err := a.Finish(t.Context(), sampleDone(r)); err != nil {
		t.Error(err)
	}
}

// TestRenamedOpen: a database that is renamed while it is open can not be opened by its new name.
func TestRenamedOpen(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "l.db"), filepath.Join(dir, "m.db")
	a := openTest(t, path)
	r, _, err := a.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil {
		t.Fatal(err)
	}
	rename := func(from, to string, suffixes ...string) {
		for _, suffix := range suffixes {
			if err := os.Rename(from+suffix, to+suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func(want string) {
		t.Helper()
		out, err := start(t, "winner", nil, other).Output()
		if err != nil || !strings.HasPrefix(string(out), "refused") || !strings.Contains(string(out), want) {
			t.Errorf("got %s, %v; want it refused with %q", out, err, want)
		}
	}
	rename(path, other, "")
	refused("end all programs")
	rename(path, other, "-wal")
	refused("end all programs")
	rename(path, other, "-shm")
	refused("renamed")
	if _, err := Open(t.Context(), other, nil); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("in the same process: got %v; want ErrUnavailable", err)
	}
	rename(other, path, "", "-wal", "-shm")
	if err := a.Finish(t.Context(), sampleDone(r)); err != nil {
		t.Error(err)
	}
	out, err := start(t, "winner", nil, path).Output()
	if err != nil || !strings.HasPrefix(string(out), "acknowledged true") {
		t.Errorf("renamed back: got %s, %v; want it to work", out, err)
	}
}

// TestLockDeleted: stores take turns again after somebody deleted the lock file.
func TestLockDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	a := openTest(t, path)
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	b := openTest(t, path) // makes a new one
	for _, s := range []*Store{a, b} {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	if !a.turn.id.same(b.turn.id) {
		t.Error("they take turns with different files")
	}
	if err := a.turn.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(b.turn.f, true); err != nil || ok {
		t.Errorf("got %v, %v; want the turn taken", ok, err)
	}
	a.turn.give()
}
