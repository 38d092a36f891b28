package connect

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An etcdURL is what an etcd: or etcds: URL says by itself. It never holds a password.
type etcdURL struct {
	tls       bool     // the scheme is etcds
	endpoints []string // host:port; empty: the environment's
	prefix    string   // empty: the store's default
	user      string
	params    map[string]string // by the names in etcdParams, but user
}

const (
	etcdForm = `etcd://HOST:2379,HOST:2379/PREFIX?PARAMETERS (etcds:// for TLS; no host: those of ETCDCTL_ENDPOINTS)`
	// etcdParams lists what parseParam understands, for error messages.
	etcdParams = `ca=FILE, cert=FILE, key=FILE, server_name=NAME, user=NAME, ttl=15s, retention=720h, dial_timeout=5s, request_timeout=3s`

	noPassword = `a password does not belong in a URL, which ends up in process lists and logs; give the user's name alone, and set ` +
		EnvEtcdPassword + `, ETCDCTL_USER ("user:password") or ETCDCTL_PASSWORD in the environment`

	maxEtcdURLBytes = 8192
	etcdPort        = "2379"
)

// parseEtcd parses what follows the scheme and its colon. It does not use
// net/url, which has no lists of hosts, and whose errors repeat the URL. Errors
// repeat nothing of rest: a password that holds a slash or a
// question mark and was not escaped may turn up anywhere in it.
func parseEtcd(tls bool, rest string) (*etcdURL, error) {
	rest, ok := strings.CutPrefix(rest, "//")
	switch {
	case !ok:
		return nil, invalid("two slashes are missing after the scheme; write %s", etcdForm)
	case len(rest) > maxEtcdURLBytes:
		return nil, invalid("the URL has %d bytes after its scheme; at most %d are understood", len(rest), maxEtcdURLBytes)
	case strings.Contains(rest, "#"):
		return nil, invalid("the URL has a fragment; escape # as %%23, and write %s", etcdForm)
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path, "@") || strings.Contains(query, "@") {
		// The end of a password that was not escaped, most likely.
		return nil, invalid("the URL has an @ after its hosts; escape it as %%40 in a prefix or parameter; %s", noPassword)
	}

	u := &etcdURL{tls: tls, params: map[string]string{}}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, err := url.PathUnescape(authority[:at])
		if err != nil {
			return nil, invalid("the user's name has a bad percent escape")
		}
		if strings.Contains(authority[:at], "@") {
			return nil, invalid("the URL has more than one @ before its hosts; name the user once, and escape @ as %%40")
		}
		if err := checkUser(user); err != nil {
			return nil, err
		}
		u.user, authority = user, authority[at+1:]
		if authority == "" {
			return nil, invalid("no host follows the user; write etcd://USER@HOST:2379, or etcd:///PREFIX?user=USER")
		}
	}
	if authority != "" {
		for _, host := range strings.Split(authority, ",") {
			e, why := endpoint(host)
			if why != "" {
				return nil, invalid("host %d of the URL %s; write %s", len(u.endpoints)+1, why, etcdForm)
			}
			u.endpoints = append(u.endpoints, e)
		}
	}

	var err error
	switch {
	case path == "/" || strings.Contains(path, "//") || strings.HasPrefix(path, "/"):
		// Workers that differ in a slash would not see each other's records.
		return nil, invalid("the URL has two slashes in a row in its prefix; write one (a prefix that begins with a slash: %%2Fprefix)")
	default:
		if u.prefix, err = url.PathUnescape(strings.TrimSuffix(path, "/")); err != nil {
			return nil, invalid("the prefix has a bad percent escape; write %% as %%25")
		}
	}
	if !hasQuery {
		return u, nil
	}
	for i, item := range strings.Split(query, "&") {
		if err := u.parseParam(i+1, item); err != nil {
			return nil, err
		}
	}
	if (u.params["cert"] == "") != (u.params["key"] == "") {
		return nil, invalid("cert= and key= belong together; give both, or neither")
	}
	return u, nil
}

// parseParam takes parameter n of the query.
func (u *etcdURL) parseParam(n int, item string) error {
	rawName, rawValue, _ := strings.Cut(item, "=")
	name, err := url.QueryUnescape(rawName)
	value, err2 := url.QueryUnescape(rawValue)
	if err != nil || err2 != nil {
		return invalid("parameter %d has a bad percent escape; write %% as %%25", n)
	}
	switch name {
	case "ca", "cert", "key", "server_name", "user", "ttl", "retention", "dial_timeout", "request_timeout":
	default:
		switch lower := strings.ToLower(name); {
		case strings.Contains(lower, "pass"), lower == "pwd", lower == "pw":
			return invalid("parameter %d: %s", n, noPassword)
		case strings.Contains(lower, "insecure"), strings.Contains(lower, "verify"):
			return invalid("parameter %d: the server's certificate is always verified; name its authority with ca=FILE, and the name in it with server_name=NAME", n)
		}
		return invalid("parameter %d is not understood; use %s", n, etcdParams)
	}
	switch _, twice := u.params[name]; {
	case value == "":
		return invalid("the parameter %s is empty; give it a value, or leave it out: %s", name, etcdParams)
	case twice || name == "user" && u.user != "":
		return invalid("%s is given twice; give it once: %s", name, etcdParams)
	}
	switch name {
	case "user":
		u.user = value
		return checkUser(value)
	case "server_name":
		if !isHost(value) {
			return invalid("server_name is neither a host's name nor an address")
		}
	case "ttl", "retention", "dial_timeout", "request_timeout":
		if _, err := duration(value); err != nil {
			return invalid("the parameter %s %s", name, err)
		}
	}
	u.params[name] = value
	return nil
}

func checkUser(name string) error {
	switch {
	case strings.Contains(name, ":"):
		return invalid("%s", noPassword)
	case name == "":
		return invalid("the user's name is empty; give one, or leave out the @")
	case strings.ContainsRune(name, 0):
		return invalid("the user's name contains a NUL byte")
	}
	return nil
}

// endpoint completes host or host:port, or says what is wrong with it.
func endpoint(s string) (hostport, why string) {
	if s == "" {
		return "", "is empty"
	}
	if strings.Contains(s, "@") {
		return "", "has a user in it; name that in the URL (user=NAME) or ETCDCTL_USER"
	}
	host, port := s, etcdPort
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "has a bracket that does not close"
		}
		var rest string
		host, rest = s[1:end], s[end+1:]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return "", "has something else than an IPv6 address without a zone in its brackets"
		}
		if rest != "" && rest[0] != ':' {
			return "", "has something else than a port after its brackets"
		}
		if rest != "" {
			port = rest[1:]
		}
	case strings.Count(s, ":") > 1:
		return "", "has more than one colon (an IPv6 address stands in brackets: [::1]:2379)"
	case strings.Contains(s, ":"):
		host, port, _ = strings.Cut(s, ":")
		fallthrough
	default:
		if !isHost(host) || strings.Contains(host, ":") {
			return "", "is not a host's name or address (a password does not belong there)"
		}
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return "", "has a port that is not a number between 1 and 65535"
	}
	return net.JoinHostPort(host, port), ""
}

// isHost reports whether s may be an address, or a name in letters, digits, dots, dashes and underscores.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return !strings.Contains(s, "%")
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r < 0x80 && isLetter(byte(r)) || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

type durationError struct{}

func (durationError) Error() string {
	return "is not a duration above zero with its unit, such as 15s, 2m or 720h"
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, durationError{} // err would repeat s
	}
	return d, nil
}
