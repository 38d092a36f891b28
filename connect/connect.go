// Package connect turns a URL, or the environment, into a store or a ready
// guard. It is the only package of the library that reads the environment.
package connect

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// forms lists what Open understands, for error messages.
const forms = `a path such as ledger.db, sqlite:PATH, file:PATH, etcd://HOST:2379/PREFIX, etcds://HOST:2379/PREFIX, or memory:`

// scheme matches the scheme of a URL. One letter and a colon are a Windows
// drive, so a scheme has two letters at least.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):(.*)$`)

// Open returns the store that url names:
//
//	ledger.db, ./x/ledger.db, C:\x\ledger.db   a SQLite file, made if it is missing
//	sqlite:ledger.db, sqlite:/x/ledger.db      the same; the path is taken as it stands
//	file:ledger.db, file:///x/my%20ledger.db   the same; percent escapes are decoded
//	etcd://h1:2379,h2:2379,h3:2379/prefix      an etcd cluster
//	etcds://h1,h2,h3/prefix?ca=ca.pem          the same, over TLS
//	etcd:///prefix                             the same; the environment names the endpoints
//	memory:                                    the memory of this process; gone with it
//
// It returns an error matching [ledger.ErrInvalid] for anything else; errors
// never contain credentials. A store that implements io.Closer must be closed
// after the guard that uses it.
//
// # etcd
//
// A port defaults to 2379, the prefix to "ledger". An IPv6 address stands in
// brackets. Percent escapes in the prefix are decoded. Parameters follow a
// question mark, each at most once:
//
//	ca               file of the authorities (PEM) that sign the servers' certificates. Defaults to the system's
//	cert, key        files of the client certificate and its key (PEM). Default to none
//	server_name      the name in the servers' certificates. Defaults to each endpoint's host
//	user             the name to log in with; also user@ before the hosts. Defaults to no login
//	ttl              lease of a worker, such as 15s. Defaults to etcdstore's
//	retention        how long finished records are kept, such as 720h; after it the call may run again! Defaults to for ever
//	dial_timeout     how long Open waits for an endpoint. Defaults to etcdstore's
//	request_timeout  bound of one request. Defaults to etcdstore's
//
// TLS is used with etcds://, and with etcd:// if one of ca, cert, key and
// server_name is given. Without TLS, records and password travel in the clear.
// It is version 1.2 or later, and the server's certificate is always verified.
// The files are read at once: what can not be used is refused
// with the file's name, and an expired certificate is [ledger.ErrUnavailable].
// A renewed client certificate is picked up with the next connection; the
// authorities are read only here.
//
// A password in the URL is refused: it would end up in process lists and logs.
// For etcd URLs, and for no other, Open reads the environment; the URL wins. The names are those of etcdctl:
//
//	LEDGER_ETCD_PASSWORD              the password; wins over the two below
//	ETCDCTL_USER                      "user", or "user:password"
//	ETCDCTL_PASSWORD                  the password of ETCDCTL_USER, or of the URL's user if that is not set
//	ETCDCTL_ENDPOINTS                 for URLs without a host: host:port, http://host:port (no TLS), https://host:port (TLS), by commas. Defaults to 127.0.0.1:2379
//	ETCDCTL_CACERT, _CERT, _KEY       as ca, cert, key; cert and key are taken together from one place. Ignored where the endpoints say http://
//	ETCDCTL_DIAL_TIMEOUT              as dial_timeout
//	ETCDCTL_COMMAND_TIMEOUT           as request_timeout
//	ETCDCTL_INSECURE_TRANSPORT        "false" asks for TLS, as etcds:// does; "true" is etcdctl's default and changes nothing
//	ETCDCTL_INSECURE_SKIP_TLS_VERIFY  refused if it is true and TLS is used
//
// The password of another user than the URL's is never sent.
func Open(ctx context.Context, url string) (ledger.Store, error) {
	store, err := open(ctx, url, os.Getenv, nil)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return store, nil
}

// Path returns the path of the SQLite file that url names, without looking at it;
// ok is false where url names another store. It returns an error matching
// [ledger.ErrInvalid] for what Open does not understand.
func Path(url string) (path string, ok bool, err error) {
	t, err := parse(url)
	if err != nil {
		return "", false, fmt.Errorf("connect: %w", err)
	}
	return t.path, t.path != "", nil
}

// OpenReadOnly is Open for who only looks: it makes no file, and returns an error
// matching [ledger.ErrNotFound] where there is none. Writes to a SQLite file are
// refused, as [sqlitestore.OpenReadOnly] says; not so those to an etcd, where a
// store that claims nothing leaves no trace, and a role can do better.
func OpenReadOnly(ctx context.Context, url string) (ledger.Store, error) {
	path, ok, err := Path(url)
	if err != nil {
		return nil, err
	}
	if !ok {
		return Open(ctx, url)
	}
	store, err := sqlitestore.OpenReadOnly(ctx, path, nil)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return store, nil
}

// open opens the store that url names. logger is for what the store has to say; nil silences it.
func open(ctx context.Context, url string, env func(string) string, logger *slog.Logger) (ledger.Store, error) {
	t, err := parse(url)
	switch {
	case err != nil:
		return nil, err
	case t.etcd != nil:
		return openEtcd(ctx, t.etcd, env, logger)
	case t.path == "":
		return ledger.NewMemory(), nil
	}
	store, err := sqlitestore.Open(ctx, t.path, nil)
	if err != nil {
		return nil, err // not store: it is a nil pointer in an interface
	}
	return store, nil
}

// A target is what a URL names: a cluster, or the SQLite file at path, or memory.
type target struct {
	etcd *etcdURL
	path string
}

// parse looks at nothing but s. Its errors do not repeat s, which may hold a password.
func parse(s string) (target, error) {
	m := scheme.FindStringSubmatch(s)
	switch {
	case s == "":
		return target{}, invalid("the URL is empty; use %s", forms)
	case strings.ContainsRune(s, 0):
		return target{}, invalid("the URL contains a NUL byte")
	case s == ":memory:":
		return target{}, invalid(`":memory:" is the name of SQLite; use "memory:"`)
	case m == nil && strings.Contains(s, "://"):
		return target{}, invalid("the URL has no valid scheme; use %s", forms)
	case m == nil:
		return target{path: s}, nil
	}
	var t target
	var err error
	name, rest := strings.ToLower(m[1]), m[2]
	switch name {
	case "memory":
		if rest != "" {
			err = invalid(`"memory:" takes nothing after the colon`)
		}
	case "sqlite":
		t.path, err = sqlitePath(rest)
	case "file":
		t.path, err = filePath(s)
	case "etcd", "etcds":
		t.etcd, err = parseEtcd(name == "etcds", rest)
	case "embedded":
		err = invalid("embedded: is understood by the ledger command only; a program starts package etcdstore/embedded, and Open takes %s", forms)
	default:
		err = invalid("unknown scheme %q; use %s (a file whose name begins like that: ./NAME)", name, forms)
	}
	if err != nil {
		return target{}, err
	}
	return t, nil
}

func sqlitePath(rest string) (string, error) {
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if !strings.HasPrefix(after, "/") {
			return "", invalid("sqlite:// names a host; write sqlite:PATH or sqlite:///PATH")
		}
		rest = after
	}
	switch {
	case rest == "":
		return "", invalid("sqlite: needs a path, such as sqlite:ledger.db")
	case rest == ":memory:":
		return "", invalid(`sqlite: has no store in memory; use "memory:"`)
	case strings.Contains(rest, "?"):
		return "", invalid("sqlite: takes no parameters after a question mark (a file whose name has one: give the path alone)")
	}
	return rest, nil
}

func filePath(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", invalid("the file: URL can not be parsed") // err would repeat it
	}
	switch {
	case u.Host != "" && u.Host != "localhost" || u.User != nil:
		return "", invalid("the file: URL names a host; write file:PATH or file:///PATH")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", invalid("file: takes no parameters or fragment; escape ? as %%3F and # as %%23")
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", invalid("the file: URL has a bad percent escape")
		}
	}
	switch {
	case path == "":
		return "", invalid("file: needs a path, such as file:ledger.db")
	case path == ":memory:":
		return "", invalid(`file: has no store in memory; use "memory:"`)
	case strings.ContainsRune(path, 0):
		return "", invalid("the path contains a NUL byte")
	}
	// file:///C:/x is the form of a Windows path.
	if len(path) > 2 && path[0] == '/' && path[2] == ':' && isLetter(path[1]) {
		path = path[1:]
	}
	return path, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ledger.ErrInvalid}, args...)...)
}
