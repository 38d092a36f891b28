package connect

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

func TestParseEtcd(t *testing.T) {
	hosts := func(h ...string) []string { return h }
	for _, c := range []struct {
		url  string
		want etcdURL
	}{
		{"etcd://h1:2379,h2:2379/prefix", etcdURL{endpoints: hosts("h1:2379", "h2:2379"), prefix: "prefix"}},
		{"etcds://h1,h2:1,h3", etcdURL{tls: true, endpoints: hosts("h1:2379", "h2:1", "h3:2379")}},
		{"ETCDS://Host.Example.com", etcdURL{tls: true, endpoints: hosts("Host.Example.com:2379")}},
		{"etcd://127.0.0.1:65535", etcdURL{endpoints: hosts("127.0.0.1:65535")}},
		{"etcd://[::1],[2001:db8::1]:23/p", etcdURL{endpoints: hosts("[::1]:2379", "[2001:db8::1]:23"), prefix: "p"}},
		{"etcd://etcd_1:2379", etcdURL{endpoints: hosts("etcd_1:2379")}},
		{"etcd://", etcdURL{}},
		{"etcd:///", etcdURL{}},
		{"etcd:///a/b", etcdURL{prefix: "a/b"}},
		{"etcd://h/", etcdURL{endpoints: hosts("h:2379")}},
		{"etcd://h/a/b/", etcdURL{endpoints: hosts("h:2379"), prefix: "a/b"}},
		{"etcd://h/%2Fa%20b%40c%3F+", etcdURL{endpoints: hosts("h:2379"), prefix: "/a b@c?+"}},
		{"etcd://me@h/p", etcdURL{endpoints: hosts("h:2379"), prefix: "p", user: "me"}},
		{"etcd://me%40home@h1,h2", etcdURL{endpoints: hosts("h1:2379", "h2:2379"), user: "me@home"}},
		{"etcd:///?user=me", etcdURL{user: "me"}},
		{"etcd://h?user=me%40home", etcdURL{endpoints: hosts("h:2379"), user: "me@home"}},
		{"etcds://h/p?ca=/a%20b/ca.pem&cert=c.pem&key=k.pem&server_name=etcd.internal", etcdURL{
			tls: true, endpoints: hosts("h:2379"), prefix: "p",
			params: map[string]string{"ca": "/a b/ca.pem", "cert": "c.pem", "key": "k.pem", "server_name": "etcd.internal"},
		}},
		{"etcd://h?ttl=15s&retention=720h&dial_timeout=1.5s&request_timeout=800ms", etcdURL{
			endpoints: hosts("h:2379"),
			params:    map[string]string{"ttl": "15s", "retention": "720h", "dial_timeout": "1.5s", "request_timeout": "800ms"},
		}},
		{"etcd://h?ca=C:%5Cca.pem", etcdURL{endpoints: hosts("h:2379"), params: map[string]string{"ca": `C:\ca.pem`}}},
	} {
		if c.want.params == nil {
			c.want.params = map[string]string{}
		}
		got, err := parse(c.url)
		if err != nil || got.etcd == nil {
			t.Errorf("parse(%q) = %+v, %v", c.url, got, err)
			continue
		}
		if diff := cmp.Diff(c.want, *got.etcd, cmp.AllowUnexported(etcdURL{})); diff != "" {
			t.Errorf("parse(%q) (-want +got):\n%s", c.url, diff)
		}
	}
}

func TestParseEtcdRefuses(t *testing.T) {
	const password = "LEDGER_ETCD_PASSWORD, ETCDCTL_USER (\"user:password\") or ETCDCTL_PASSWORD"
	for _, c := range []struct{ url, want string }{
		{"etcd:", "write etcd://HOST:2379"},
		{"etcd:h1:2379", "two slashes are missing"},
		{"etcd:s3cret", "two slashes are missing"},
		{"etcd://" + strings.Repeat("s3cret", 2000), "at most 8192"},

		{"etcd://u:s3cret@h", password},
		{"ETCDS://u:s3cret@h1:2379,h2:2379/prefix", password},
		{"etcd://u:s3cret@", password},
		{"etcd://u:@h", password},
		{"etcd://:s3cret@h", password},
		{"etcd://u%3As3cret@h", password},
		{"etcd://u:s3c/s3cret@h", password},
		{"etcd://u:1/s3cret@h", password},
		{"etcd://u:1?s3cret@h", password},
		{"etcd://u:s3cret?@h", password},
		{"etcd://u:s3cret#@h", "fragment"},
		{"etcd://u:s3c@s3cret@h", "more than one @"},
		{"etcd://u:s3cret@h1,u:s3cret@h2", "more than one @"},
		{"etcd://u:%zzs3cret@h", "percent escape"},
		{"etcd://u:s3cret", "a port that is not a number"},
		{"etcd://h/p?user=u:s3cret", password},
		{"etcd://h/p?user=u%3as3cret", password},
		{"etcd://h/p?password=s3cret", password},
		{"etcd://h/p?PASSWD=s3cret", password},
		{"etcd://h/p?ttl=15s&pw=s3cret", "parameter 2: a password does not belong"},
		{"etcd://s3cret@", "no host follows the user"},
		{"etcd://@h", "name is empty"},
		{"etcd://s3cret%00@h", "NUL"},

		{"etcd://,h", "host 1 of the URL is empty"},
		{"etcd://h,", "host 2 of the URL is empty"},
		{"etcd://h1,,h3", "host 2 of the URL is empty"},
		{"etcd://s3cret !", "is not a host's name"},
		{"etcd://h, h2", "host 2 of the URL is not a host's name"},
		{"etcd://%68", "is not a host's name"},
		{"etcd://hö", "is not a host's name"},
		{"etcd://:2379", "is not a host's name"},
		{"etcd://h:", "a port that is not"},
		{"etcd://h:0", "a port that is not"},
		{"etcd://h:65536", "a port that is not"},
		{"etcd://h:+1", "a port that is not"},
		{"etcd://h:s3cret", "a port that is not"},
		{"etcd://::1:2379", "in brackets"},
		{"etcd://[::1", "does not close"},
		{"etcd://[::1]2379", "something else than a port"},
		{"etcd://[::1]:", "a port that is not"},
		{"etcd://[fe80::1%25eth0]:2379", "without a zone"},
		{"etcd://[127.0.0.1]", "IPv6"},
		{"etcd://[s3cret]", "IPv6"},
		{"etcd://http://h", "host 1"},

		{"etcd://h//", "two slashes"},
		{"etcd://h//s3cret", "%2Fprefix"},
		{"etcd://h/a//b", "two slashes"},
		{"etcd://h/a//", "two slashes"},
		{"etcd://h/%zzs3cret", "percent escape"},
		{"etcd://h/p#", "fragment"},
		{"etcd://h/p?ttl=15s#s3cret", "fragment"},

		{"etcd://h?", "parameter 1 is not understood; use ca=FILE, cert=FILE, key=FILE, server_name=NAME, user=NAME, ttl=15s, retention=720h, dial_timeout=5s, request_timeout=3s"},
		{"etcd://h?s3cret", "parameter 1 is not understood"},
		{"etcd://h?ttl=15s&s3cret=1", "parameter 2 is not understood"},
		{"etcd://h?ttl=15s&", "parameter 2 is not understood"},
		{"etcd://h?TTL=15s", "parameter 1 is not understood"},
		{"etcd://h?ttl=15s;ca=s3cret", "ttl is not a duration"},
		{"etcd://h?prefix=s3cret", "parameter 1 is not understood"},
		{"etcds://h?insecure_skip_verify=true", "always verified"},
		{"etcds://h?verify=s3cret", "always verified"},
		{"etcd://h?%zz=s3cret", "percent escape"},
		{"etcd://h?ca=%zzs3cret", "percent escape"},
		{"etcd://h?ca", "the parameter ca is empty"},
		{"etcd://h?ca=", "the parameter ca is empty"},
		{"etcd://h?user=", "the parameter user is empty"},
		{"etcd://h?ca=s3cret&ca=s3cret", "ca is given twice"},
		{"etcd://h?user=s3cret&user=s3cret", "user is given twice"},
		{"etcd://s3cret@h?user=s3cret", "user is given twice"},
		{"etcd://h?cert=s3cret", "belong together"},
		{"etcds://h?key=s3cret", "belong together"},
		{"etcds://h?server_name=s3cret:2379", "server_name is neither"},
		{"etcd://h?ttl=s3cret", "the parameter ttl is not a duration above zero"},
		{"etcd://h?ttl=15", "such as 15s"},
		{"etcd://h?ttl=0s", "above zero"},
		{"etcd://h?retention=-1h", "the parameter retention is not"},
		{"etcd://h?dial_timeout=1e99h", "the parameter dial_timeout is not"},
		{"etcd://h?request_timeout=99999999999h", "the parameter request_timeout is not"},
	} {
		got, err := parse(c.url)
		if !errors.Is(err, ledger.ErrInvalid) || !strings.Contains(err.Error(), c.want) || got != (target{}) {
			t.Errorf("parse(%q) = %+v, %v; want ErrInvalid with %q", c.url, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("parse(%q): the error tells the secret: %v", c.url, err)
		}
		if _, err := Open(t.Context(), c.url); err == nil || !strings.HasPrefix(err.Error(), "connect: ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Open(%q): got error %v", c.url, err)
		}
	}
}

// checkParsed checks what must hold of every URL that is understood.
func checkParsed(t *testing.T, s string, u *etcdURL) {
	t.Helper()
	for _, e := range u.endpoints {
		host, port, err := net.SplitHostPort(e)
		if n, err2 := strconv.Atoi(port); err != nil || err2 != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(e, "@/?# %") {
			t.Errorf("parse(%q): endpoint %q", s, e)
		}
	}
	if strings.Contains(u.user, ":") {
		t.Errorf("parse(%q): there is a password in the user's name", s)
	}
	for name, value := range u.params {
		if !strings.Contains(etcdParams, name+"=") || value == "" {
			t.Errorf("parse(%q): parameter %q=%q", s, name, value)
		}
	}
	if (u.params["cert"] == "") != (u.params["key"] == "") {
		t.Errorf("parse(%q): half a client certificate", s)
	}
}

// No error may repeat what could be a password, wherever it stands.
func FuzzParseKeepsSecrets(f *testing.F) {
	for _, s := range [][2]string{{"u:", "@h"}, {"u:p/", "@h"}, {"u:p?", "@h"}, {"h?ttl=", ""}, {"h/%zz", ""}, {"h:", ""}, {"[", "]"}, {"h?", "=1"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cr3tZ"
		for _, scheme := range []string{"etcd://", "etcds://", "etcd:", "file://", "sqlite:"} {
			if _, err := parse(scheme + before + secret + after); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("parse(%q) tells the secret: %v", scheme+before+secret+after, err)
			}
		}
	})
}
