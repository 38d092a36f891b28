package connect

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/leakcheck"
	"github.com/ledger-once/ledger/sqlitestore"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestParse(t *testing.T) {
	for _, c := range []struct{ url, path string }{
		{"memory:", ""},
		{"MEMORY:", ""},
		{"ledger.db", "ledger.db"},
		{"./x/ledger.db", "./x/ledger.db"},
		{"/var/lib/my ledger.db", "/var/lib/my ledger.db"},
		{"memory", "memory"},
		{"./memory:", "./memory:"},
		{"dir/a:b.db", "dir/a:b.db"},
		{"100%.db", "100%.db"},
		{"what?.db", "what?.db"},
		{`C:\x\ledger.db`, `C:\x\ledger.db`},
		{"c:/x/ledger.db", "c:/x/ledger.db"},
		{"C:ledger.db", "C:ledger.db"},
		{`\\host\share\ledger.db`, `\\host\share\ledger.db`},
		{"sqlite:ledger.db", "ledger.db"},
		{"SQLite:ledger.db", "ledger.db"},
		{"sqlite:./x/ledger.db", "./x/ledger.db"},
		{"sqlite:/x/ledger.db", "/x/ledger.db"},
		{"sqlite:///x/ledger.db", "/x/ledger.db"},
		{"sqlite:a%20b.db", "a%20b.db"},
		{`sqlite:C:\x\ledger.db`, `C:\x\ledger.db`},
		{"file:ledger.db", "ledger.db"},
		{"file:./x/ledger.db", "./x/ledger.db"},
		{"file:a%20b.db", "a b.db"},
		{"file:/x/ledger.db", "/x/ledger.db"},
		{"file:///x/my%20ledger.db", "/x/my ledger.db"},
		{"file://localhost/x/ledger.db", "/x/ledger.db"},
		{"file:///C:/x/ledger.db", "C:/x/ledger.db"},
		{"file:what%3F.db", "what?.db"},
	} {
		if got, err := parse(c.url); err != nil || got.path != c.path || got.etcd != nil {
			t.Errorf("parse(%q) = %+v, %v; want %q", c.url, got, err, c.path)
		}
	}
}

// No error may repeat what could be a password, wherever it stands.
func TestParseRefuses(t *testing.T) {
	const secret = "s3cret"
	for _, c := range []struct{ url, want string }{
		{"", "the URL is empty"},
		{":memory:", `use "memory:"`},
		{"memory:" + secret, "nothing after the colon"},
		{"memory://", "nothing after the colon"},
		{"embedded:", "embedded: is understood by the ledger command only"},
		{"embedded:./s3cret", "embedded: is understood by the ledger command only"},
		{"embedded://u:s3cret@h", "package etcdstore/embedded"},
		{"redis://u:s3cret@h/0", `unknown scheme "redis"; use a path such as ledger.db, sqlite:PATH, file:PATH, etcd://HOST:2379/PREFIX, etcds://HOST:2379/PREFIX, or memory:`},
		{"postgres:s3cret", `unknown scheme "postgres"`},
		{" etcd://u:s3cret@h", "no valid scheme"},
		{"://u:s3cret@h", "no valid scheme"},
		{"x://u:s3cret@h", "no valid scheme"},
		{"\netcd://u:s3cret@h", "no valid scheme"},
		{"sqlite:", "needs a path"},
		{"sqlite://", "names a host"},
		{"sqlite://ledger.db?key=s3cret", "names a host"},
		{"sqlite::memory:", `use "memory:"`},
		{"sqlite:ledger.db?key=s3cret", "no parameters"},
		{"file:", "needs a path"},
		{"file::memory:", `use "memory:"`},
		{"file:ledger.db?key=s3cret", "no parameters"},
		{"file:ledger.db?", "no parameters"},
		{"file:ledger.db#s3cret", "no parameters"},
		{"file://host/ledger.db", "names a host"},
		{"file://u:s3cret@localhost/ledger.db", "names a host"},
		{"file:%zzs3cret", "percent escape"},
		{"file:///x/%zzs3cret", "can not be parsed"},
		{"file:a%00b", "NUL"},
		{"a\x00b", "NUL"},
	} {
		got, err := parse(c.url)
		if !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), c.want) || got != (target{}) {
			t.Errorf("parse(%q) = %+v, %v; want ErrInvalid with %q", c.url, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("parse(%q): the error tells the secret: %v", c.url, err)
		}
		if _, err := Open(t.Context(), c.url); err == nil || !strings.HasPrefix(err.Error(), "connect: ") {
			t.Errorf("Open(%q): got error %v", c.url, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ledger.db", "sqlite:x", "file:///x?y", "etcd://u:p@h", `C:\x`, "file:%00", ":memory:",
		"etcd:///", "etcds://u@[::1],h2:1/a%2Fb?ca=x&ttl=15s", "etcd://h?cert=a&key=b#", "etcd://h//x", "etcd://h?ttl=%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parse(s)
		switch {
		case err != nil:
			if !errors.Is(err, ledger.ErrInvalid) || got != (target{}) {
				t.Errorf("parse(%q) = %+v, %v; want nothing and ErrInvalid", s, got, err)
			}
		case got.etcd != nil:
			checkParsed(t, s, got.etcd)
		case strings.ContainsRune(got.path, 0) || got.path == "" && !strings.EqualFold(s, "memory:"):
			t.Errorf("parse(%q) = %q", s, got.path)
		}
	})
}

func closeStore(t *testing.T, s ledger.Store) {
	t.Helper()
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpen(t *testing.T) {
	s, err := Open(t.Context(), "memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if _, ok := s.(*ledger.Memory); !ok {
		t.Errorf("memory: is a %T", s)
	}
	t.Chdir(t.TempDir())
	for _, url := range []string{"a.db", "sqlite:b.db", "file:c%2ddash.db"} {
		s, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.(*sqlitestore.Store); !ok {
			t.Errorf("%s is a %T", url, s)
		}
		closeStore(t, s)
	}
	for _, name := range []string{"a.db", "b.db", "c-dash.db"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(t.Context(), "none/x.db"); err == nil || !strings.Contains(err.Error(), "connect: ") || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing directory: got error %v", err)
	}
}

// runs reports whether the call runs, and the record's workflow.
func runs(t *testing.T, g *ledger.Guard) (bool, string) {
	t.Helper()
	ran := false
	res, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "send_sms", Args: 1}, func(context.Context) (int, error) {
		ran = true
		return 1, nil
	})
	if err != nil && !errors.Is(err, ledger.ErrDuplicate) {
		t.Fatal(err)
	}
	return ran, res.Record.ID.Workflow
}

func TestFromEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	for i, c := range []struct {
		env      map[string]string
		file     string
		workflow string
		ran      bool
	}{
		{nil, "ledger.db", "default", true},
		{nil, "ledger.db", "default", false},
		{map[string]string{EnvDB: "other.db"}, "other.db", "default", true},
		{map[string]string{EnvWorkflow: "run-42"}, "ledger.db", "run-42", true},
		{map[string]string{EnvQuiet: "1"}, "ledger.db", "default", false},
		{map[string]string{EnvQuiet: "0", EnvDB: "", EnvStore: "", EnvWorkflow: ""}, "ledger.db", "default", false},
		{map[string]string{EnvStore: "file:st%6fre.db", EnvDB: "/no/such/dir"}, "store.db", "default", true},
		{map[string]string{EnvStore: "memory:"}, "", "default", true},
		{map[string]string{EnvStore: "memory:"}, "", "default", true},
	} {
		for _, name := range []string{EnvDB, EnvStore, EnvWorkflow, EnvQuiet} {
			t.Setenv(name, c.env[name])
		}
		g, closeGuard, err := FromEnv(t.Context())
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		ran, workflow := runs(t, g)
		if ran != c.ran || workflow != c.workflow {
			t.Errorf("%d: ran %v in %q, want %v in %q", i, ran, workflow, c.ran, c.workflow)
		}
		if err := closeGuard(t.Context()); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if c.file != "" {
			if _, err := os.Stat(c.file); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if _, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "x"}, func(context.Context) (int, error) { return 0, nil }); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%d: after close: got error %v, want ErrClosed", i, err)
		}
	}
}

func TestFromEnvRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		name, value string
		want        string
	}{
		{EnvQuiet, "yes", `connect: LEDGER_QUIET: invalid: "yes" is not understood; use 1 or true, 0 or false`},
		{EnvWorkflow, strings.Repeat("x", 257), "LEDGER_WORKFLOW: "},
		{EnvWorkflow, "\xff", "LEDGER_WORKFLOW: "},
		{EnvStore, "etcd://u:s3cret@h", "connect: LEDGER_STORE: invalid: a password does not belong in a URL"},
		{EnvStore, "redis://u:s3cret@h", "LEDGER_STORE: "},
		{EnvDB, "etcd://u:s3cret@h", "connect: LEDGER_DB: invalid: it is the path of a file; a URL belongs in LEDGER_STORE"},
		{EnvDB, "memory:", "a URL belongs in LEDGER_STORE"},
		{EnvDB, filepath.Join("no", "such", "dir", "x.db"), "LEDGER_DB: "},
	} {
		env := func(name string) string {
			if name == c.name {
				return c.value
			}
			return ""
		}
		g, closeGuard, err := fromEnv(t.Context(), nil, env)
		if g != nil || closeGuard != nil || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s=%q: got %v, error %v; want %q", c.name, c.value, g, err, c.want)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFromEnvWith(t *testing.T) {
	for _, name := range []string{EnvDB, EnvWorkflow, EnvQuiet} {
		t.Setenv(name, "")
	}
	t.Setenv(EnvStore, "memory:")
	o := &ledger.Options{Workflow: "mine", Policies: map[string]ledger.Policy{"send_sms": {Max: 2}}}
	g, closeGuard, err := FromEnvWith(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} {
		if ran, workflow := runs(t, g); ran != want || workflow != "mine" {
			t.Errorf("call %d: ran %v in %q, want %v in mine", i+1, ran, workflow, want)
		}
	}
	if err := closeGuard(t.Context()); err != nil {
		t.Error(err)
	}
	if o.Logger != nil {
		t.Error("the options were changed")
	}
	if _, _, err := FromEnvWith(t.Context(), &ledger.Options{MaxResult: -1}); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("bad options: got error %v, want ErrInvalid", err)
	}
}

type closer struct{ closed int }

func (c *closer) Close() error { c.closed++; return nil }

func TestCloseBoth(t *testing.T) {
	g, err := ledger.New(ledger.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	store := &closer{}
	closeGuard := closeBoth(g, store)
	for range 2 {
		if err := closeGuard(t.Context()); err != nil || store.closed != 1 {
			t.Errorf("got %v, closed %d times; want nil, once", err, store.closed)
		}
	}
}

// A store that is closed under a running tool would give its claim away.
func TestCloseBothLeavesTheStoreToARunningTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := ledger.New(ledger.NewMemory(), nil)
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		go ledger.Do(context.Background(), g, ledger.Call{Tool: "stubborn"}, func(context.Context) (int, error) {
			<-release
			return 0, nil
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		store := &closer{}
		if err := closeBoth(g, store)(ctx); !errors.Is(err, ledger.ErrRunning) || store.closed != 0 {
			t.Errorf("got %v, closed %d times; want ErrRunning, never", err, store.closed)
		}
		close(release)
	})
}

// Who only looks makes nothing, and changes nothing.
func TestOpenReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := OpenReadOnly(t.Context(), "sqlite:"+path); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a missing file: got %v, want ErrNotFound", err)
	}
	if _, err := OpenReadOnly(t.Context(), "sqlite:"+filepath.Join(path, "missing", "ledger.db")); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a missing directory: got %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after looking: %v", err)
	}
	if _, err := OpenReadOnly(t.Context(), "redis://h"); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	made, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer made.(io.Closer).Close()
	store, err := OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.(io.Closer).Close()
	err = store.Tally(t.Context(), []ledger.Tally{{ID: ledger.ID{Workflow: "w", Tool: "t"}, Attempts: 1}})
	if !errors.Is(err, ledger.ErrNotWritten) {
		t.Errorf("a write: got %v, want ErrNotWritten", err)
	}
}

func TestPath(t *testing.T) {
	for url, want := range map[string]string{
		"x/ledger.db": "x/ledger.db", "sqlite:///x.db": "/x.db", "file:my%20x.db": "my x.db", "memory:": "", "etcd://h/p": "",
	} {
		if path, ok, err := Path(url); path != want || ok != (want != "") || err != nil {
			t.Errorf("Path(%q) = %q, %v, %v; want %q", url, path, ok, err, want)
		}
	}
	if _, _, err := Path("redis://h"); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}
