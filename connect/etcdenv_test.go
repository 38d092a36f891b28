package connect

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

type vars map[string]string

func (v vars) get(name string) string { return v[name] }

func resolve(url string, env vars) (*cluster, error) {
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	return t.etcd.resolve(env.get)
}

func TestResolve(t *testing.T) {
	one := []string{"http://h:2379"}
	tlsOne := []string{"https://h:2379"}
	ca := func(from, path string) source { return source{from, path} }
	system := tlsFiles{ca: source{from: envCACert}, cert: source{from: envCert}, key: source{from: envKey}}
	with := func(change func(f *tlsFiles)) *tlsFiles {
		f := system
		if change != nil {
			change(&f)
		}
		return &f
	}
	for _, c := range []struct {
		url  string
		env  vars
		want cluster
	}{
		// Endpoints.
		{"etcd://h", nil, cluster{endpoints: one}},
		{"etcd://h,[::1]:1/p/q", nil, cluster{endpoints: []string{"http://h:2379", "http://[::1]:1"}, options: etcdstore.Options{Prefix: "p/q"}}},
		{"etcd:///p", nil, cluster{endpoints: []string{"http://127.0.0.1:2379"}, options: etcdstore.Options{Prefix: "p"}}},
		{"etcds:///", nil, cluster{endpoints: []string{"https://127.0.0.1:2379"}, tls: with(nil)}},
		{"etcd:///", vars{envEndpoints: "a, b:1 ,[::1]"}, cluster{endpoints: []string{"http://a:2379", "http://b:1", "http://[::1]:2379"}}},
		{"etcd:///", vars{envEndpoints: "http://h:2379/"}, cluster{endpoints: one}},
		{"etcd:///", vars{envEndpoints: "HTTPS://h"}, cluster{endpoints: tlsOne, tls: with(nil)}},
		{"etcds:///", vars{envEndpoints: "h"}, cluster{endpoints: tlsOne, tls: with(nil)}},
		{"etcd://h", vars{envEndpoints: "https://u:s3cret@other/?"}, cluster{endpoints: one}}, // not looked at

		// TLS.
		{"etcds://h", nil, cluster{endpoints: tlsOne, tls: with(nil)}},
		{"etcd://h?ca=x", nil, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) { f.ca = ca("ca=", "x") })}},
		{"etcd://h?server_name=x", nil, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) { f.serverName = "x" })}},
		{"etcd://h?cert=c&key=k", vars{envCert: "C", envKey: "K", envCACert: "CA"}, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) {
			f.ca, f.cert, f.key = source{envCACert, "CA"}, source{"cert=", "c"}, source{"key=", "k"}
		})}},
		{"etcd://h?ca=x", vars{envCACert: "CA"}, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) { f.ca = ca("ca=", "x") })}},
		{"etcd://h", vars{envCACert: "CA"}, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) { f.ca = ca(envCACert, "CA") })}},
		{"etcd://h", vars{envCert: "C", envKey: "K"}, cluster{endpoints: tlsOne, tls: with(func(f *tlsFiles) {
			f.cert, f.key = source{envCert, "C"}, source{envKey, "K"}
		})}},
		{"etcd://h", vars{envInsecureTransport: "false"}, cluster{endpoints: tlsOne, tls: with(nil)}},
		{"etcd://h", vars{envInsecureTransport: "true"}, cluster{endpoints: one}},
		{"etcds://h", vars{envInsecureTransport: "true"}, cluster{endpoints: tlsOne, tls: with(nil)}},
		{"etcd:///", vars{envEndpoints: "http://h", envCACert: "CA", envCert: "C", envInsecureTransport: "false"}, cluster{endpoints: one}},
		{"etcd://h", vars{envSkipVerify: "true"}, cluster{endpoints: one}},
		{"etcds://h", vars{envSkipVerify: "false"}, cluster{endpoints: tlsOne, tls: with(nil)}},

		// The login.
		{"etcd://h", vars{envUser: "me:pw:1"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw:1"}}},
		{"etcd://h", vars{envUser: "me", envPassword: "pw"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw"}}},
		{"etcd://h", vars{envUser: "me:old", EnvEtcdPassword: "pw"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw"}}},
		{"etcd://me@h", vars{EnvEtcdPassword: "pw", envPassword: "other", envUser: "root"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw"}}},
		{"etcd://h?user=me", vars{envPassword: "pw"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw"}}},
		{"etcd://h?user=me", vars{envUser: "me:pw"}, cluster{endpoints: one, options: etcdstore.Options{Username: "me", Password: "pw"}}},

		// Times.
		{"etcd://h?ttl=20s&retention=24h", nil, cluster{endpoints: one, options: etcdstore.Options{TTL: 20 * time.Second, Retention: 24 * time.Hour}}},
		{"etcd://h", vars{envDialTimeout: "7s", envCommandTimeout: "8s"}, cluster{endpoints: one, options: etcdstore.Options{DialTimeout: 7 * time.Second, RequestTimeout: 8 * time.Second}}},
		{"etcd://h?dial_timeout=1s&request_timeout=2s", vars{envDialTimeout: "bad", envCommandTimeout: "bad"},
			cluster{endpoints: one, options: etcdstore.Options{DialTimeout: time.Second, RequestTimeout: 2 * time.Second}}},
	} {
		got, err := resolve(c.url, c.env)
		if err != nil {
			t.Errorf("%s with %v: %v", c.url, c.env, err)
			continue
		}
		if diff := cmp.Diff(c.want, *got, cmp.AllowUnexported(cluster{}, tlsFiles{}, source{})); diff != "" {
			t.Errorf("%s with %v (-want +got):\n%s", c.url, c.env, diff)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, c := range []struct {
		url  string
		env  vars
		want string
	}{
		{"etcd:///", vars{envEndpoints: "http://a,b"}, "ETCDCTL_ENDPOINTS: the endpoints differ"},
		{"etcd:///", vars{envEndpoints: "http://a,https://b,http://c"}, "ETCDCTL_ENDPOINTS: the endpoints differ"},
		{"etcd:///", vars{envEndpoints: "u:s3cret@h"}, "ETCDCTL_ENDPOINTS: endpoint 1 has a user"},
		{"etcd:///", vars{envEndpoints: "http://u:s3cret@h:1"}, "ETCDCTL_ENDPOINTS: endpoint 1 has a user"},
		{"etcd:///", vars{envEndpoints: "http://h/s3cret"}, "ETCDCTL_ENDPOINTS: endpoint 1 is not"},
		{"etcd:///", vars{envEndpoints: "h,"}, "ETCDCTL_ENDPOINTS: endpoint 2 is empty"},
		{"etcd:///", vars{envEndpoints: "unix:///s3cret"}, "ETCDCTL_ENDPOINTS: endpoint 1 is neither"},
		{"etcd:///", vars{envEndpoints: "etcd://h"}, "ETCDCTL_ENDPOINTS: endpoint 1 is neither"},
		{"etcds:///", vars{envEndpoints: "http://h"}, "ETCDCTL_ENDPOINTS says http://"},
		{"etcd:///?ca=x", vars{envEndpoints: "http://h"}, "ETCDCTL_ENDPOINTS says http://"},

		{"etcd://h", vars{envCert: "s3cret"}, "ETCDCTL_CERT and ETCDCTL_KEY belong together"},
		{"etcds://h", vars{envKey: "s3cret"}, "ETCDCTL_CERT and ETCDCTL_KEY belong together"},
		{"etcd://h", vars{envInsecureTransport: "s3cret"}, "ETCDCTL_INSECURE_TRANSPORT is not understood"},
		{"etcds://h", vars{envSkipVerify: "s3cret"}, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY is not understood"},
		{"etcds://h", vars{envSkipVerify: "true"}, "always verified"},

		{"etcd://h", vars{envUser: "me"}, "LEDGER_ETCD_PASSWORD"},
		{"etcd://s3cret@h", nil, "LEDGER_ETCD_PASSWORD"},
		{"etcd://me@h", vars{envUser: "root:s3cret"}, "LEDGER_ETCD_PASSWORD"},
		{"etcd://me@h", vars{envUser: "root", envPassword: "s3cret"}, "LEDGER_ETCD_PASSWORD"},
		{"etcd://me@h", vars{envUser: ":s3cret"}, "LEDGER_ETCD_PASSWORD"},
		{"etcd://h", vars{envUser: "me:s3cret", envPassword: "s3cret"}, "use one of them"},
		{"etcd://h", vars{envPassword: "s3cret"}, "but no user"},
		{"etcd://h", vars{EnvEtcdPassword: "s3cret"}, "but no user"},
		{"etcd://h", vars{envUser: ":s3cret"}, "but no user"},

		{"etcd://h", vars{envDialTimeout: "s3cret"}, "ETCDCTL_DIAL_TIMEOUT is not a duration"},
		{"etcd://h", vars{envCommandTimeout: "0"}, "ETCDCTL_COMMAND_TIMEOUT is not a duration"},
	} {
		got, err := resolve(c.url, c.env)
		if got != nil || !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s with %v: got error %v; want ErrInvalid with %q", c.url, c.env, err, c.want)
		}
	}
}

// What etcdstore refuses before it dials tells no password either.
func TestOpenEtcdRefusesOptions(t *testing.T) {
	env := vars{envUser: "me:s3cret"}
	for _, c := range []struct{ url, want string }{
		{"etcd://h?ttl=1500ms", "TTL"},
		{"etcd://h?retention=1s", "retention"},
		{"etcd://h/%2F", "prefix"},
		{"etcd://h/" + strings.Repeat("x", 257), "prefix"},
		{"etcd://h/a%00b", "prefix"},
	} {
		s, err := open(t.Context(), c.url, env.get, nil)
		if s != nil || !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(fmt.Sprintf("%+v", err), "s3cret") {
			t.Errorf("%s: got %v, error %v; want ErrInvalid with %q", c.url, s, err, c.want)
		}
	}
}
