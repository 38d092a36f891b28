package connect

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// The variables of etcdctl that etcd URLs understand. See Open.
const (
	envEndpoints         = "ETCDCTL_ENDPOINTS"
	envCACert            = "ETCDCTL_CACERT"
	envCert              = "ETCDCTL_CERT"
	envKey               = "ETCDCTL_KEY"
	envUser              = "ETCDCTL_USER"
	envPassword          = "ETCDCTL_PASSWORD"
	envDialTimeout       = "ETCDCTL_DIAL_TIMEOUT"
	envCommandTimeout    = "ETCDCTL_COMMAND_TIMEOUT"
	envInsecureTransport = "ETCDCTL_INSECURE_TRANSPORT"
	envSkipVerify        = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY"
)

func openEtcd(ctx context.Context, u *etcdURL, env func(string) string, logger *slog.Logger) (ledger.Store, error) {
	c, err := u.resolve(env)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		if c.options.TLS, err = c.tls.config(time.Now()); err != nil {
			return nil, err
		}
	}
	c.options.Logger = logger
	store, err := etcdstore.Open(ctx, c.endpoints, &c.options)
	if err != nil {
		return nil, err // not store: it is a nil pointer in an interface
	}
	return store, nil
}

// A cluster is what an etcdURL and the environment say together.
type cluster struct {
	endpoints []string          // all http://, or all https:// if tls is set
	options   etcdstore.Options // all but TLS and Logger
	tls       *tlsFiles
}

// resolve adds the environment to u. It reads no files.
func (u *etcdURL) resolve(env func(string) string) (*cluster, error) {
	c := &cluster{options: etcdstore.Options{Prefix: u.prefix}}
	hosts, scheme, err := u.hosts(env)
	if err == nil {
		c.tls, err = u.tlsFiles(env, scheme)
	}
	if err == nil {
		c.options.Username, c.options.Password, err = u.login(env)
	}
	if err != nil {
		return nil, err
	}
	scheme = "http"
	if c.tls != nil {
		scheme = "https"
	}
	for _, h := range hosts {
		c.endpoints = append(c.endpoints, scheme+"://"+h)
	}
	for _, d := range []struct {
		param, variable string
		to              *time.Duration
	}{
		{"ttl", "", &c.options.TTL},
		{"retention", "", &c.options.Retention},
		{"dial_timeout", envDialTimeout, &c.options.DialTimeout},
		{"request_timeout", envCommandTimeout, &c.options.RequestTimeout},
	} {
		name, value := d.param, u.params[d.param]
		if value == "" && d.variable != "" {
			name, value = d.variable, env(d.variable)
		}
		if value == "" {
			continue
		}
		if *d.to, err = duration(value); err != nil {
			return nil, invalid("%s %s", name, err)
		}
	}
	return c, nil
}

// hosts returns the endpoints as host:port, and the scheme that the environment
// gives them: "http", "https", or "" where it is left to the URL.
func (u *etcdURL) hosts(env func(string) string) (hosts []string, scheme string, err error) {
	if len(u.endpoints) > 0 {
		return u.endpoints, "", nil
	}
	list := env(envEndpoints)
	if list == "" {
		return []string{"127.0.0.1:" + etcdPort}, "", nil
	}
	var schemes []string
	for i, e := range strings.Split(list, ",") {
		e = strings.TrimSpace(e)
		s, rest, ok := strings.Cut(e, "://")
		if !ok {
			s, rest = "", e
		}
		s = strings.ToLower(s)
		if ok && s != "http" && s != "https" {
			return nil, "", invalid("%s: endpoint %d is neither HOST:PORT nor http://HOST:PORT nor https://HOST:PORT", envEndpoints, i+1)
		}
		h, why := endpoint(strings.TrimSuffix(rest, "/"))
		if why != "" {
			return nil, "", invalid("%s: endpoint %d %s; use HOST:PORT, http://HOST:PORT or https://HOST:PORT", envEndpoints, i+1, why)
		}
		hosts, schemes = append(hosts, h), append(schemes, s)
	}
	if len(slices.Compact(schemes)) > 1 {
		return nil, "", invalid("%s: the endpoints differ in http:// and https://; give all the same", envEndpoints)
	}
	return hosts, schemes[0], nil
}

// tlsFiles says whether TLS is used (nil: it is not), and with which files.
func (u *etcdURL) tlsFiles(env func(string) string, scheme string) (*tlsFiles, error) {
	asked := u.tls
	for _, name := range []string{"ca", "cert", "key", "server_name"} {
		asked = asked || u.params[name] != ""
	}
	switch {
	case asked && scheme == "http":
		return nil, invalid("the URL asks for TLS, but %s says http://; use https:// there, or no scheme", envEndpoints)
	case asked:
		scheme = "https"
	}
	if scheme == "http" {
		return nil, nil
	}
	f := &tlsFiles{
		ca: source{"ca=", u.params["ca"]}, cert: source{"cert=", u.params["cert"]}, key: source{"key=", u.params["key"]},
		serverName: u.params["server_name"],
	}
	if f.ca.path == "" {
		f.ca = source{envCACert, env(envCACert)}
	}
	if f.cert.path == "" { // then there is no key= either
		f.cert, f.key = source{envCert, env(envCert)}, source{envKey, env(envKey)}
		if (f.cert.path == "") != (f.key.path == "") {
			return nil, invalid("%s and %s belong together; set both, or neither", envCert, envKey)
		}
	}
	if scheme == "" {
		insecure, err := boolean(env, envInsecureTransport, true)
		if err != nil || insecure && f.ca.path == "" && f.cert.path == "" {
			return nil, err
		}
	}
	skip, err := boolean(env, envSkipVerify, false)
	if err == nil && skip {
		err = invalid("%s: the server's certificate is always verified; unset it, and name the authority with ca=FILE or %s", envSkipVerify, envCACert)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// login returns the user and the password. A password that the environment has
// for one user is not sent for another.
func (u *etcdURL) login(env func(string) string) (user, password string, err error) {
	envName, envInline, inline := strings.Cut(env(envUser), ":")
	separate := env(envPassword)
	if user = u.user; user == "" {
		user = envName
	}
	switch own := env(EnvEtcdPassword); {
	case own != "":
		password = own
	case envName != "" && user != envName:
	case inline && separate != "":
		return "", "", invalid("%s holds a password, and %s is set too; use one of them", envUser, envPassword)
	case inline && envName != "":
		password = envInline
	default:
		password = separate
	}
	switch {
	case user == "" && (password != "" || inline):
		return "", "", invalid("there is a password in the environment, but no user; name one in the URL (user=NAME) or %s", envUser)
	case user != "" && password == "":
		// clientv3 would not log in, and not say so.
		return "", "", invalid(`the user has no password in the environment; set %s, %s ("user:password") or %s (one who is known by a client certificate needs no name)`,
			EnvEtcdPassword, envUser, envPassword)
	}
	return user, password, nil
}

func boolean(env func(string) string, name string, otherwise bool) (bool, error) {
	v := env(name)
	if v == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, invalid("%s is not understood; use true or false", name)
	}
	return b, nil
}
