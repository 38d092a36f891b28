package sqlitestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// TestOpenRefuses: what is no ledger is refused, left as it was, and the message
// names the file and what to do.
func TestOpenRefuses(t *testing.T) {
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	sql := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			c, err := openConn(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range statements {
				if err := c.run(q); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ledgerWith := func(q string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			s, err := Open(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sql(q)(t, path)
		}
	}
	for _, c := range []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"garbage", write(strings.Repeat("no database at all ", 100)), "no SQLite database"},
		{"text", write("{}"), "no SQLite database"},
		{"foreign", sql("CREATE TABLE users (name TEXT)"), "another program"},
		{"foreign, without tables", sql("PRAGMA application_id = 7"), "another program"},
		{"newer", ledgerWith("PRAGMA user_version = 99"), "upgrade this program"},
		{"version 0", ledgerWith("PRAGMA user_version = 0"), "never was"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		{"hard link", func(t *testing.T, path string) {
			write("")(t, path)
			if err := os.Link(path, path+"2"); err != nil {
				t.Skip(err)
			}
		}, "hard link"},
		{"truncated", func(t *testing.T, path string) {
			ledgerWith("SELECT 1")(t, path)
			if err := os.Truncate(path, 6000); err != nil {
				t.Fatal(err)
			}
		}, "corrupt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "hard link" && runtime.GOOS == "windows" {
				t.Skip("Windows does not tell without opening the file")
			}
			path := filepath.Join(t.TempDir(), "some.db")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			around, _ := filepath.Glob(path + "*")
			for kind, open := range map[string]func() (*Store, error){
				"Open":         func() (*Store, error) { return Open(t.Context(), path, nil) },
				"OpenReadOnly": func() (*Store, error) { return OpenReadOnly(t.Context(), path, nil) },
			} {
				if c.name == "truncated" && kind == "OpenReadOnly" {
					continue // which finds it when it reads there
				}
				s, err := open()
				if err == nil {
					s.Close()
					t.Fatalf("%s: got no error", kind)
				}
				if c.name == "hard link" && kind == "OpenReadOnly" && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v; want %q", kind, err, c.want)
				}
				if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: got %q; want it to name the file and say %q", kind, err, c.want)
				}
				if !errors.Is(err, ledger.ErrNotWritten) || !errors.Is(err, ledger.ErrInvalid) && !errors.Is(err, ledger.ErrUnavailable) {
					t.Errorf("%s: got %v; want ErrNotWritten, and ErrInvalid or ErrUnavailable", kind, err)
				}
			}
			if after, _ := os.ReadFile(path); string(before) != string(after) {
				t.Error("the file was changed")
			}
			if names, _ := filepath.Glob(path + ".owners/*"); len(names) > 0 {
				t.Errorf("owner files stay behind: %v", names)
			}
			if names, _ := filepath.Glob(path + "*"); len(names) != len(around) && c.name != "truncated" {
				t.Errorf("got %v; want what was there: %v", names, around)
			}
		})
	}
}

func TestOpenNowhere(t *testing.T) {
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "missing", "ledger.db"): "create it first",
		":memory:":         "ledger.NewMemory",
		"file:x.db?mode=1": "names no file",
	} {
		if _, err := Open(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", path, err, want)
		}
	}
	if _, err := OpenReadOnly(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), nil); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("read-only without a file: got %v; want ErrNotFound", err)
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "x"), &Options{MaxBatch: -1}); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("negative option: got %v; want ErrInvalid", err)
	}
	t.Chdir(t.TempDir())
	s := openTest(t, "")
	if filepath.Base(s.Path()) != "ledger.db" {
		t.Errorf("got %s; want ledger.db", s.Path())
	}
}

func TestOddNames(t *testing.T) {
	for _, name := range []string{"with space.db", "a?b=c&d.db", "50%25.db", "#x.db", "übung.db"} {
		if runtime.GOOS == "windows" && strings.ContainsAny(name, "?") {
			continue
		}
		path := filepath.Join(t.TempDir(), name)
		s := openTest(t, path)
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: got %v, %v; want the database there", name, info, err)
		}
	}
}

func TestEmptyFileBecomesALedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, path)
	if _, won, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil || !won {
		t.Errorf("got %v, %v", won, err)
	}
}

// TestPulledAway takes the files from under an open store.
func TestPulledAway(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows lets nobody delete an open file")
	}
	for _, c := range []struct {
		name  string
		spoil func(path string) error
		want  string
	}{
		{"deleted", os.Remove, "deleted"},
		{"renamed", func(path string) error { return os.Rename(path, path+".old") }, "deleted"},
		{"replaced", func(path string) error {
			if err := os.WriteFile(path+".new", make([]byte, 8192), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}, "another file"},
		{"truncated", func(path string) error { return os.Truncate(path, 0) }, "truncated"},
		{"hard-linked", func(path string) error { return os.Link(path, path+".other") }, "hard link"},
		{"log deleted", func(path string) error { return os.Remove(path + "-wal") }, "-wal"},
		{"log index deleted", func(path string) error { return os.Remove(path + "-shm") }, "-shm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, filepath.Join(t.TempDir(), "ledger.db"))
			r, _, err := s.Claim(t.Context(), sampleClaim(randomID()))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(s.Path()); err != nil {
				t.Fatal(err)
			}
			_, won, err := s.Claim(t.Context(), sampleClaim(randomID()))
			check := func(op string, err error) {
				if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v; want ErrUnavailable, ErrNotWritten and %q", op, err, c.want)
				}
			}
			if won {
				t.Error("won")
			}
			check("claim", err)
			check("finish", s.Finish(t.Context(), sampleDone(r)))
			check("tally", s.Tally(t.Context(), []ledger.Tally{{ID: r.ID, Attempts: 1}}))
			check("delete", s.Delete(t.Context(), r.ID, r.Version))
			if !strings.HasPrefix(c.name, "log") {
				_, err = s.Get(t.Context(), r.ID)
				check("get", err)
				for _, err := range s.List(t.Context(), ledger.Filter{}) {
					check("list", err)
				}
			}
		})
	}
}

// TestSymlinks: all names of a database are one store.
func TestSymlinks(t *testing.T) {
	dir, far := t.TempDir(), t.TempDir()
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(filepath.Join(far, "real.db"), link); err != nil {
		t.Skip(err)
	}
	a := openTest(t, link) // dangling: the target is created
	b := openTest(t, filepath.Join(far, "real.db"))
	if a.Path() != b.Path() {
		t.Errorf("got %s and %s; want one path", a.Path(), b.Path())
	}
	claim := sampleClaim(randomID())
	r, _, err := a.Claim(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), r.ID); err != nil || !got.Alive {
		t.Errorf("got alive %v, %v; want the other store's claim alive", got.Alive, err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("got %v beside the link; want nothing but it", names)
	}
	// A link that leads elsewhere later concerns new stores only.
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(far, "other.db"), link); err != nil {
		t.Fatal(err)
	}
	if err := a.Finish(t.Context(), sampleDone(r)); err != nil {
		t.Error(err)
	}
	c := openTest(t, link)
	if _, err := c.Get(t.Context(), r.ID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("got %v; want ErrNotFound in the new target", err)
	}
	loop := filepath.Join(dir, "loop.db")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), loop, nil); err == nil || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("got %v; want an error about symbolic links", err)
	}
}

// TestMigrations opens a database of every schema version there was.
func TestMigrations(t *testing.T) {
	for from := range migrations {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			old := sampleClaim(randomID()).Next
			retried := sampleDone(sampleClaim(randomID()).Next)
			retried.Owner.Caller, retried.Key = "somebody", "a key"
			if from > 0 {
				c, err := openConn(path, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range migrations[:from] {
					if err := c.run(m); err != nil {
						t.Fatal(err)
					}
				}
				data, err := recordjson.Encode(&old)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.run(`INSERT INTO records (rec, version, state, started, nonce, owner, workflow, tool, fingerprint, data) VALUES (1, 1, 2, ?, ?, 'gone', ?, ?, ?, ?)`,
					micros(old.Started), old.Nonce, old.ID.Workflow, old.ID.Tool, old.ID.Fingerprint, text(data)); err != nil {
					t.Fatal(err)
				}
				retried.Starts, retried.Executed = 3, 2
				if data, err = recordjson.Encode(&retried); err != nil {
					t.Fatal(err)
				}
				if err := c.run(`INSERT INTO records (rec, version, state, started, nonce, owner, key, workflow, tool, fingerprint, data) VALUES (2, 2, 1, ?, ?, 'gone', ?, ?, ?, ?, ?);
					INSERT INTO tallies (rec, attempts, executed, blocked) VALUES (2, 5, 0, 5)`,
					micros(retried.Started), retried.Nonce, retried.Key, retried.ID.Workflow, retried.ID.Tool, retried.ID.Fingerprint, text(data)); err != nil {
					t.Fatal(err)
				}
				if from >= 3 { // whose programs wrote these as well
					if err := c.run(`UPDATE tallies SET more_starts = 2, more_executed = 1 WHERE rec = 2; UPDATE totals SET calls = 4 WHERE tool = '';
						INSERT INTO totals (tool, calls) SELECT tool, 1 FROM records WHERE workflow IS NOT NULL ON CONFLICT (tool) DO UPDATE SET calls = calls + 1`); err != nil {
						t.Fatal(err)
					}
				}
				err = errors.Join(c.run("INSERT INTO records (rec, version, state, mark, notes) VALUES (3, 3, -1, 0, x'')"), c.run(fmt.Sprintf("PRAGMA application_id = %d", applicationID)), c.run(fmt.Sprintf("PRAGMA user_version = %d", from)), c.close())
				if err != nil {
					t.Fatal(err)
				}
			}
			s := openTest(t, path)
			if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
				t.Error(err)
			}
			if from == 0 {
				return
			}
			sum, err := s.Summarize(t.Context(), ledger.Filter{})
			if want := (ledger.Stats{Actions: 3, Attempts: 10, Executed: 2, Blocked: 5, InDoubt: 1, Running: 1}); err != nil || sum.Stats != want {
				t.Errorf("got %+v, %v; want %+v", sum.Stats, err, want)
			}
			for _, f := range []ledger.Filter{{Caller: retried.Owner.Caller}, {Key: retried.Key}, {Since: retried.Started}} {
				same(t, s, f)
			}
			got, err := s.Get(t.Context(), old.ID)
			if err != nil || got.Status() != ledger.StateInDoubt {
				t.Fatalf("got %v, %v; want the old record in doubt", got.Status(), err)
			}
			again := sampleClaim(old.ID)
			again.Seen = got.Version
			r, won, err := s.Claim(t.Context(), again)
			if err != nil || !won {
				t.Fatalf("got %v, %v; want a takeover", won, err)
			}
			if err := s.Finish(t.Context(), sampleDone(r)); err != nil {
				t.Error(err)
			}
		})
	}
}

// again does what an owner that makes its file anew just now may get in the way of.
func again(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// TestOwners: the file of a living owner is kept, a dead one's is swept, and one that somebody deletes comes back.
func TestOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	a := openTest(t, path)
	dead := filepath.Join(a.owner.dir, "8b0e6a3c-3c3e-4a53-9b61-2f2d8f7f0d11")
	if err := os.WriteFile(dead, []byte(`{"host":"h","pid":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(a.owner.dir, unnamed+"x")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	sessions, err := a.Sessions(t.Context())
	if err != nil || len(sessions) != 2 {
		t.Fatalf("got %v, %v; want two sessions", sessions, err)
	}
	for _, s := range sessions {
		if s.Alive != (s.ID == a.owner.session) {
			t.Errorf("got %+v", s)
		}
	}
	b := openTest(t, path)
	for _, gone := range []string{dead, old} {
		if _, err := os.Stat(gone); !os.IsNotExist(err) {
			t.Errorf("%s: got %v; want it swept", gone, err)
		}
	}
	r, _, err := a.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		again(t, func() error { return os.RemoveAll(a.owner.dir) })
		if _, _, err := a.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Get(t.Context(), r.ID); err != nil || !got.Alive {
		t.Errorf("got %v, %v; want the owner alive after its next write", got.Alive, err)
	}
	if f := a.OwnerFile(); f == nil || f.Name() == "" {
		t.Error("no owner file")
	}
}
