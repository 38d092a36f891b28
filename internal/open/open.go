// Package open opens stores for the commands: all that package connect
// understands, and an etcd that runs inside the command itself. It is apart from
// connect so that programs which import that do not compile a server.
package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

// Store opens the store that url names: as [connect.Open] does, or
//
//	embedded:./etcd-data    an etcd inside this process, with its data below a directory, made if it is missing
//
// The closer, never nil, closes the store and what was started for it. An error
// matches [ledger.ErrInvalid] where the URL can not be used, and
// [embedded.ErrInUse] where the directory's server already runs.
func Store(ctx context.Context, url string) (ledger.Store, io.Closer, error) {
	dir, ok, err := Dir(url)
	if err != nil {
		return nil, nil, err
	}
	if ok {
		e, err := Embedded(ctx, dir, nil)
		if err != nil {
			return nil, nil, err
		}
		return e.Store, e, nil
	}
	store, err := connect.Open(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	closer, ok := store.(io.Closer)
	if !ok {
		closer = io.NopCloser(nil)
	}
	return store, closer, nil
}

// Existing opens a store as Store does, but creates none: where a SQLite file or
// an embedded: directory is missing, it returns an error matching
// [ledger.ErrNotFound]. With look, a SQLite file is opened to look only: nothing in it can be changed.
func Existing(ctx context.Context, url string, look bool) (ledger.Store, io.Closer, error) {
	dir, ok, err := Dir(url)
	if err != nil {
		return nil, nil, err
	}
	if ok {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
			return nil, nil, fmt.Errorf("embedded:%s: %w: no etcd has its data there", dir, ledger.ErrNotFound)
		}
		return Store(ctx, url)
	}
	store, err := connect.OpenReadOnly(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	closer, ok := store.(io.Closer)
	if !ok {
		closer = io.NopCloser(nil)
	}
	if _, file, _ := connect.Path(url); !file || look {
		return store, closer, nil
	}
	// It is there, and a ledger. Who deletes it now can see that another was made.
	if err := closer.Close(); err != nil {
		return nil, nil, err
	}
	return Store(ctx, url)
}

// Dir returns the directory of an embedded: URL; ok says whether url is one.
func Dir(url string) (dir string, ok bool, err error) {
	const scheme = "embedded:"
	if len(url) < len(scheme) || !strings.EqualFold(url[:len(scheme)], scheme) {
		return "", false, nil
	}
	dir = url[len(scheme):]
	if after, slashes := strings.CutPrefix(dir, "//"); slashes {
		if !strings.HasPrefix(after, "/") {
			return "", true, fmt.Errorf("%w: embedded:// names a host; write embedded:DIR or embedded:///DIR", ledger.ErrInvalid)
		}
		dir = after
	}
	switch {
	case dir == "":
		return "", true, fmt.Errorf("%w: embedded: needs a directory, such as embedded:./etcd-data", ledger.ErrInvalid)
	case strings.ContainsAny(dir, "?\x00"):
		return "", true, fmt.Errorf("%w: embedded: takes no parameters after a question mark, and no NUL byte", ledger.ErrInvalid)
	}
	return dir, true, nil
}

// The server's timing. A server alone has no followers to tire with heartbeats,
// and a short election allows leases of 1 s.
const (
	heartbeat = 20 * time.Millisecond
	election  = 200 * time.Millisecond
)

// An Etcd is a server inside this process, and a store on it.
type Etcd struct {
	Store  *etcdstore.Store
	Server *embedded.Server
}

// Embedded starts the server of dir and opens a store on it. o may be nil. The
// environment does not count: its credentials and certificates are other servers'.
func Embedded(ctx context.Context, dir string, o *etcdstore.Options) (*Etcd, error) {
	server, err := embedded.Start(ctx, dir, &embedded.Options{Heartbeat: heartbeat, Election: election})
	if err != nil {
		return nil, err
	}
	store, err := etcdstore.Open(ctx, server.Endpoints(), o)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &Etcd{store, server}, nil
}

// Close closes the store, then the server. The data stay.
func (e *Etcd) Close() error { return errors.Join(e.Store.Close(), e.Server.Close()) }
