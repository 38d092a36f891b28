// Package connect turns a URL, or the environment, into a store or a ready
// guard. It is the only package of the library that reads the environment.
package connect

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// forms lists what Open understands, for error messages.
const forms = `a path such as ledger.db, sqlite:PATH, file:PATH, or memory:`

// scheme matches the scheme of a URL. One letter and a colon are a Windows
// drive, so a scheme has two letters at least.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):(.*)$`)

// Open returns the store that url names:
//
//	ledger.db, ./x/ledger.db, C:\x\ledger.db   a SQLite file, made if it is missing
//	sqlite:ledger.db, sqlite:/x/ledger.db      the same; the path is taken as it stands
//	file:ledger.db, file:///x/my%20ledger.db   the same; percent escapes are decoded
//	memory:                                    the memory of this process; gone with it
//
// It returns an error matching [ledger.ErrInvalid] for anything else; errors
// never contain credentials. A store that implements io.Closer must be closed
// after the guard that uses it.
func Open(ctx context.Context, url string) (ledger.Store, error) {
	store, err := open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return store, nil
}

func open(ctx context.Context, url string) (ledger.Store, error) {
	path, err := parse(url)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return ledger.NewMemory(), nil
	}
	store, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		return nil, err // not store: it is a nil pointer in an interface
	}
	return store, nil
}

// parse returns the path of the SQLite file that s names; "" for memory. Its errors do
// not repeat s, which may hold a password.
func parse(s string) (path string, err error) {
	m := scheme.FindStringSubmatch(s)
	switch {
	case s == "":
		return "", invalid("the URL is empty; use %s", forms)
	case strings.ContainsRune(s, 0):
		return "", invalid("the URL contains a NUL byte")
	case s == ":memory:":
		return "", invalid(`":memory:" is the name of SQLite; use "memory:"`)
	case m == nil && strings.Contains(s, "://"):
		return "", invalid("the URL has no valid scheme; use %s", forms)
	case m == nil:
		return s, nil
	}
	name, rest := strings.ToLower(m[1]), m[2]
	switch name {
	case "memory":
		if rest != "" {
			return "", invalid(`"memory:" takes nothing after the colon`)
		}
		return "", nil
	case "sqlite":
		return sqlitePath(rest)
	case "file":
		return filePath(s)
	case "etcd", "etcds", "embedded":
		return "", invalid("%s: is not available in this version; use %s", name, forms)
	default:
		return "", invalid("unknown scheme %q; use %s (a file whose name begins like that: ./NAME)", name, forms)
	}
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
