package embedded

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/internal/testcert"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t), testcert.New(t)
	server := ca.Server(t)
	o := quick()
	o.TLS = &TLS{CertFile: server.CertFile, KeyFile: server.KeyFile, ClientCAFile: ca.File}
	s := startServer(t, t.TempDir(), o)
	for _, tt := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"good", ca.ClientConfig(t, ca.Client(t, "ada")), true},
		{"no certificate", ca.ClientConfig(t, testcert.Pair{}), false},
		{"expired", ca.ClientConfig(t, ca.ExpiredClient(t, "ada")), false},
		{"of another authority", ca.ClientConfig(t, other.Client(t, "ada")), false},
		{"not trusting the server", other.ClientConfig(t, ca.Client(t, "ada")), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := s.Client(tt.config)
			c = client(t, c, err)
			ctx, cancel := context.WithTimeout(t.Context(), wait(tt.ok))
			defer cancel()
			if _, err := c.Put(ctx, "k", "v"); (err == nil) != tt.ok {
				t.Errorf("got %v, want success to be %v", err, tt.ok)
			}
		})
	}
}

// wait is short for what is refused: a client tries again for as long as it may.
func wait(ok bool) time.Duration {
	if ok {
		return 10 * time.Second
	}
	return 500 * time.Millisecond
}

// A certificate's common name is its user.
func TestTLSUser(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t)
	server := ca.Server(t)
	o := quick()
	o.TLS = &TLS{CertFile: server.CertFile, KeyFile: server.KeyFile, ClientCAFile: ca.File}
	s := startServer(t, t.TempDir(), o)
	c, err := s.Client(ca.ClientConfig(t, ca.Client(t, "root")))
	root := client(t, c, err)
	for _, do := range []func() error{
		func() error { _, err := root.RoleAdd(t.Context(), "root"); return err },
		func() error { _, err := root.RoleAdd(t.Context(), "mine"); return err },
		func() error {
			_, err := root.RoleGrantPermission(t.Context(), "mine", "mine/", "mine0", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error {
			_, err := root.UserAddWithOptions(t.Context(), "root", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error {
			_, err := root.UserAddWithOptions(t.Context(), "ada", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := root.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "ada", "mine"); return err },
		func() error { _, err := root.AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	c, err = s.Client(ca.ClientConfig(t, ca.Client(t, "ada")))
	ada := client(t, c, err)
	put(t, ada, "mine/k", "v")
	if _, err := ada.Put(t.Context(), "yours/k", "v"); err == nil {
		t.Error("ada may write what is not hers")
	}
	// A start does not need to be anybody.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	startServer(t, filepath.Dir(s.dir), o)
	want(t, ada, "mine/k", "v")
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t)
	a, b := ca.Server(t), ca.Server(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o   Options
		say string
	}{
		{Options{Heartbeat: -time.Second}, "Heartbeat is -1s"},
		{Options{Heartbeat: time.Microsecond}, "Heartbeat is 1µs"},
		{Options{Election: time.Second + 1}, "Election is"},
		{Options{Heartbeat: 100 * time.Millisecond, Election: 200 * time.Millisecond}, "from 5 heartbeats"},
		{Options{Election: time.Minute}, "to 50s"},
		{Options{AuthTokenTTL: time.Millisecond}, "AuthTokenTTL is 1ms"},
		{Options{QuotaBytes: -1}, "QuotaBytes is -1"},
		{Options{TLS: &TLS{CertFile: a.CertFile}}, "both a CertFile and a KeyFile"},
		{Options{TLS: &TLS{CertFile: a.CertFile, KeyFile: b.KeyFile}}, a.CertFile},
		{Options{TLS: &TLS{CertFile: a.CertFile, KeyFile: a.KeyFile, ClientCAFile: "/no/such"}}, "/no/such"},
		{Options{TLS: &TLS{CertFile: a.CertFile, KeyFile: a.KeyFile, ClientCAFile: empty}}, empty},
	} {
		dir := filepath.Join(t.TempDir(), "untouched")
		_, err := Start(t.Context(), dir, &tt.o)
		wantError(t, err, dir, tt.say)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was made for nothing", dir)
		}
	}
}
