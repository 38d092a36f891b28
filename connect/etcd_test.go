package connect

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

func startEtcd(t *testing.T, o *embedded.Options) (s *embedded.Server, host string) {
	t.Helper()
	if o == nil {
		o = &embedded.Options{}
	}
	o.Heartbeat, o.Election = 20*time.Millisecond, 200*time.Millisecond
	s, err := embedded.Start(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, host, _ = strings.Cut(s.Endpoints()[0], "://")
	return s, host
}

// An opening is a URL, opened with an environment.
type opening struct {
	what string
	url  string
	env  vars
	want string // in the error; empty: there is none
}

func checkOpen(t *testing.T, openings []opening) {
	t.Helper()
	for _, c := range openings {
		s, err := open(t.Context(), c.url, c.env.get, nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want == "":
			if e, ok := s.(*etcdstore.Store); !ok || strings.Contains(fmt.Sprint(e), "s3cret") {
				t.Errorf("%s: got %T %v", c.what, s, s)
			}
			if err := s.(io.Closer).Close(); err != nil {
				t.Errorf("%s: close: %v", c.what, err)
			}
		case s != nil || !errors.Is(err, ledger.ErrUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret"):
			t.Errorf("%s: got %v, error %v; want ErrUnavailable with %q", c.what, s, err, c.want)
		}
	}
}

func TestOpenEtcd(t *testing.T) {
	server, host := startEtcd(t, nil)
	checkOpen(t, []opening{
		{"a URL", "etcd://" + host + "/in-url", nil, ""},
		{"one member down", "etcd://127.0.0.1:1," + host, nil, ""},
		{"the environment", "etcd:///in-env", vars{envEndpoints: server.Endpoints()[0]}, ""},
		{"a user where nobody needs one", "etcd://me@" + host, vars{EnvEtcdPassword: "s3cret"}, ""},
		{"TLS that is not there", "etcds://" + host, nil, "does not speak TLS"},
		{"nobody", "etcd://127.0.0.1:1", nil, "nobody listens there"},
	})
	env := vars{EnvStore: "etcd:///from-env", envEndpoints: host, EnvQuiet: "1"}
	_, closeGuard, err := fromEnv(t.Context(), nil, env.get)
	if err != nil {
		t.Fatal(err)
	}
	if err := closeGuard(t.Context()); err != nil {
		t.Error(err)
	}
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, prefix := range []string{"in-url/", "ledger/", "in-env/", "from-env/"} {
		if r, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || r.Count == 0 {
			t.Errorf("keys below %q: %v, %v; want some", prefix, r, err)
		}
	}
}

// A worker whose role is limited to its prefix logs in with a password.
func TestOpenEtcdWithPassword(t *testing.T) {
	server, host := startEtcd(t, nil)
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"root", "worker"} {
		must(client.UserAdd(t.Context(), user, "s3cret"))
		must(client.RoleAdd(t.Context(), user))
		must(client.UserGrantRole(t.Context(), user, user))
	}
	must(client.RoleGrantPermission(t.Context(), "worker", "mine/", clientv3.GetPrefixRangeEnd("mine/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(client.AuthEnable(t.Context()))

	checkOpen(t, []opening{
		{"user:password", "etcd://" + host + "/mine", vars{envUser: "worker:s3cret"}, ""},
		{"the user in the URL", "etcd://worker@" + host + "/mine", vars{EnvEtcdPassword: "s3cret"}, ""},
		{"the user as a parameter", "etcd:///mine?user=worker", vars{envEndpoints: host, EnvEtcdPassword: "s3cret", envUser: "root:other"}, ""},
		{"a wrong password", "etcd://worker@" + host + "/mine", vars{EnvEtcdPassword: "not-s3cret"}, "the user name or the password is wrong"},
		{"no login", "etcd://" + host + "/mine", nil, "wants a user name"},
		{"a prefix of others", "etcd://worker@" + host + "/theirs", vars{EnvEtcdPassword: "s3cret"}, "grant its role"},
	})
}

func TestOpenEtcdWithTLS(t *testing.T) {
	a := newAuthority(t, "ca", day(-1), day(1))
	var o embedded.Options
	o.TLS = &embedded.TLS{ClientCAFile: a.file}
	o.TLS.CertFile, o.TLS.KeyFile = a.issue("server", day(-1), day(1))
	_, host := startEtcd(t, &o)
	cert, key := a.issue("client", day(-1), day(1))
	oldCert, oldKey := a.issue("old", day(-3), day(-2))
	stranger := newAuthority(t, "stranger", day(-1), day(1))
	strangerCert, strangerKey := stranger.issue("client", day(-1), day(1))
	pair := "&cert=" + cert + "&key=" + key

	checkOpen(t, []opening{
		{"etcds", "etcds://" + host + "/p?ca=" + a.file + pair, nil, ""},
		{"etcd with files", "etcd://" + host + "/p?ca=" + a.file + pair, nil, ""},
		{"the environment", "etcd:///p", vars{envEndpoints: "https://" + host, envCACert: a.file, envCert: cert, envKey: key}, ""},
		{"the URL wins", "etcds://" + host + "?ca=" + a.file + pair, vars{envCACert: stranger.file, envCert: oldCert, envKey: oldKey}, ""},
		{"another name of the server", "etcds://" + host + "?ca=" + a.file + pair + "&server_name=etcd.internal", nil, ""},
		{"a wrong name of the server", "etcds://" + host + "?ca=" + a.file + pair + "&server_name=other.internal", nil, "for another name"},
		{"a wrong authority", "etcds://" + host + "?ca=" + stranger.file + pair, nil, "not signed by the given CA"},
		{"the system's authorities", "etcds://" + host + "?cert=" + cert + "&key=" + key, nil, "not signed by the given CA"},
		{"an expired client", "etcds://" + host + "?ca=" + a.file + "&cert=" + oldCert + "&key=" + oldKey, nil, "expired on"},
		{"a stranger", "etcds://" + host + "?ca=" + a.file + "&cert=" + strangerCert + "&key=" + strangerKey, nil, "etcd at https://"},
		{"no client certificate", "etcds://" + host + "?ca=" + a.file, nil, "etcd at https://"}, // TLS 1.3 tells a client too late to be sure that it reads it
		{"no TLS", "etcd://" + host, nil, "it may want TLS"},
	})
}
