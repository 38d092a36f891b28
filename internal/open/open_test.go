package open

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestDir(t *testing.T) {
	for _, tt := range []struct {
		url, dir string
		ok       bool
		err      string
	}{
		{"embedded:data", "data", true, ""},
		{"Embedded:/x/data", "/x/data", true, ""},
		{"embedded:///x/data", "/x/data", true, ""},
		{"embedded:", "", true, "needs a directory"},
		{"embedded://", "", true, "names a host"},
		{"embedded://host/x", "", true, "names a host"},
		{"embedded:data?ttl=2s", "", true, "no parameters"},
		{"embedded:a\x00b", "", true, "NUL"},
		{"embedded", "", false, ""},
		{"./embedded:data", "", false, ""},
		{"etcd://h/p", "", false, ""},
		{"", "", false, ""},
	} {
		dir, ok, err := Dir(tt.url)
		if dir != tt.dir || ok != tt.ok || (err == nil) != (tt.err == "") {
			t.Errorf("Dir(%q) = %q, %v, %v; want %q, %v, %q", tt.url, dir, ok, err, tt.dir, tt.ok, tt.err)
		}
		if err != nil && (!errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("Dir(%q): got error %v, want ErrInvalid with %q", tt.url, err, tt.err)
		}
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{"memory:", filepath.Join(dir, "ledger.db"), "sqlite:" + filepath.Join(dir, "other.db")} {
		store, closer, err := Store(t.Context(), url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if _, err := store.Get(t.Context(), ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("%s: got error %v, want ErrNotFound", url, err)
		}
		if err := closer.Close(); err != nil {
			t.Errorf("%s: close: %v", url, err)
		}
	}
	for _, url := range []string{"", "embedded:", "nonsense://x"} {
		if _, _, err := Store(t.Context(), url); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%q: got error %v, want ErrInvalid", url, err)
		}
	}
}

// The records outlive the server; while it runs nobody else starts another.
func TestStoreEmbedded(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers")
	}
	t.Setenv("ETCDCTL_USER", "somebody:else") // of another cluster
	t.Setenv("ETCDCTL_CACERT", "/nowhere/ca.pem")
	dir := filepath.Join(t.TempDir(), "data")
	id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}
	store, closer, err := Store(t.Context(), "embedded:"+dir)
	if err != nil {
		t.Fatal(err)
	}
	next := ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "n", Token: "k"}
	claimed, won, err := store.Claim(t.Context(), ledger.Claim{Next: next})
	if err != nil || !won {
		t.Fatalf("claim: %v, %v", won, err)
	}
	if _, _, err := Store(t.Context(), "embedded:"+dir); !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("twice: got error %v, want ErrInUse that names the directory", err)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}

	store, closer, err = Store(t.Context(), "embedded:"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := store.Get(t.Context(), id)
	if err != nil || r.Version != claimed.Version || r.Alive {
		t.Errorf("after a restart: version %d, alive %v, %v; want %d, not alive", r.Version, r.Alive, err, claimed.Version)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Store(t.Context(), "embedded:"+file); err == nil || !strings.Contains(err.Error(), "it is a file") {
		t.Errorf("a file: got error %v", err)
	}
}

// What is not there is not made; what is there is opened to look, or to change.
func TestExisting(t *testing.T) {
	dir := t.TempDir()
	file, etcd := "sqlite:"+filepath.Join(dir, "ledger.db"), "embedded:"+filepath.Join(dir, "etcd")
	for _, url := range []string{file, etcd} {
		for _, look := range []bool{true, false} {
			if _, _, err := Existing(t.Context(), url, look); !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("%s, look %v: got %v, want ErrNotFound", url, look, err)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("made: %v, %v", left, err)
	}
	for _, url := range []string{file, etcd} {
		_, closer, err := Store(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
		for _, look := range []bool{true, false} {
			store, closer, err := Existing(t.Context(), url, look)
			if err != nil {
				t.Fatal(err)
			}
			err = store.Tally(t.Context(), []ledger.Tally{{ID: ledger.ID{Workflow: "w", Tool: "t"}, Attempts: 1}})
			if refused := look && url == file; refused != (err != nil) {
				t.Errorf("%s, look %v: a write returned %v", url, look, err)
			}
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
