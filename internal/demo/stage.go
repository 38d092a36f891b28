package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/open"
)

// ErrStore is matched by the error for a store that can not be used for a demo.
var ErrStore = errors.New("choose another store")

const (
	// lease is that of the workers in etcd by default. Shorter ones are possible, but a busy
	// machine may keep a worker from renewing them in time.
	lease = 2 * time.Second
	// maxLease bounds what a URL may ask for: the demo waits for one to expire.
	maxLease = 30 * time.Second
	// cleanUpWithin bounds, beyond a lease, what the end may take.
	cleanUpWithin = 20 * time.Second
)

// A stage is the store of the pass with Ledger, as the coordinator has it: it
// only looks, and so has no session of its own.
type stage struct {
	store   ledger.Store
	info    StoreInfo
	workers start  // how the workers get there
	title   string // "in ..."
	left    string // what is there when all is over, for people; "" if nothing is
	closers []func() error

	died chan struct{} // closed when an embedded server ends; nil without one
	why  func() error
}

// openStage opens the store that o.Store names; dir is for what has no other place.
func openStage(ctx context.Context, o *Options, dir string) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	target, isEmbedded, err := open.Dir(o.Store)
	scheme, _, _ := strings.Cut(strings.ToLower(o.Store), ":")
	switch {
	case err != nil:
	case o.Store == "":
		err = s.embed(ctx, filepath.Join(dir, etcdDir), o.Lease)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w (or run it without etcd: --store sqlite:PATH)", err)
		}
		if o.Keep != "" {
			s.left = "embedded:" + filepath.Join(dir, etcdDir)
		}
	case isEmbedded:
		err = s.embed(ctx, target, o.Lease)
		s.left = "embedded:" + target
	case scheme == "etcd" || scheme == "etcds":
		err = s.connect(ctx, o.Store, o.Keep != "")
	case scheme == "memory":
		err = fmt.Errorf("%w: the demo's workers are processes of their own, which share no memory", ErrStore)
	default:
		err = s.file(ctx, o.Store)
	}
	if err != nil {
		if errors.Is(err, ledger.ErrInvalid) || errors.Is(err, embedded.ErrInUse) {
			err = fmt.Errorf("%w: %w", ErrStore, err)
		}
		return s, fmt.Errorf("demo: %w", err)
	}
	return s, nil
}

// file uses a SQLite file.
func (s *stage) file(ctx context.Context, url string) error {
	store, err := connect.Open(ctx, url)
	if err != nil {
		return err
	}
	s.store, s.workers.Ledger, s.left = store, url, url
	if c, ok := store.(io.Closer); ok {
		s.closers = append(s.closers, c.Close)
	}
	path := url
	if scheme, rest, ok := strings.Cut(url, ":"); ok && (scheme == "sqlite" || scheme == "file") {
		path = rest
	}
	s.info, s.title = StoreInfo{Kind: kindSQLite, At: path}, "in one SQLite file"
	return s.unused(ctx)
}

// embed starts a server inside this process.
func (s *stage) embed(ctx context.Context, dir string, lease time.Duration) error {
	e, err := open.Embedded(ctx, dir, &etcdstore.Options{TTL: lease})
	if err != nil {
		return err
	}
	s.store = e.Store
	s.workers.Etcd = &etcdStart{Endpoints: e.Server.Endpoints(), TTL: lease}
	s.info = StoreInfo{Kind: kindEmbedded, At: e.Server.Endpoints()[0], LeaseSeconds: lease.Seconds()}
	s.title = "in an etcd inside this process"
	s.why = e.Server.Err
	s.died = make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		<-e.Server.Done() // at the latest when it is closed
		close(s.died)
	})
	s.closers = append(s.closers, func() error {
		dead := e.Server.Err() != nil
		err := e.Close()
		watching.Wait()
		if dead {
			return nil // why has told it
		}
		return err
	})
	return s.unused(ctx)
}

// connect uses a cluster that is there, below a prefix that nobody else has.
func (s *stage) connect(ctx context.Context, url string, keep bool) error {
	mine, ttl, err := below(url, "demo-"+nonce())
	if err != nil {
		return err
	}
	store, err := connect.Open(ctx, mine)
	if err != nil {
		return err
	}
	s.store, s.workers.Ledger = store, mine
	if !keep {
		s.closers = append(s.closers, func() error { return s.cleanUp(ttl + cleanUpWithin) })
	} else {
		s.left = mine
	}
	if c, ok := store.(io.Closer); ok {
		s.closers = append(s.closers, c.Close)
	}
	s.info = StoreInfo{Kind: kindEtcd, At: fmt.Sprint(store), LeaseSeconds: ttl.Seconds()}
	s.title = "in your etcd cluster"
	return s.unused(ctx)
}

// below returns the etcd URL with one more segment in its prefix and a lease,
// and that lease. What is wrong with it is left to package connect to say.
func below(etcd, segment string) (string, time.Duration, error) {
	scheme, rest, ok := strings.Cut(etcd, "://")
	if !ok {
		return etcd, lease, nil
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, prefix, _ := strings.Cut(rest, "/")
	if prefix = strings.TrimSuffix(prefix, "/"); prefix == "" {
		prefix = "ledger"
	}
	ttl := lease
	given := false
	for item := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(item, "=")
		if n, err := url.QueryUnescape(name); err != nil || n != "ttl" {
			continue
		}
		given = true
		if v, err := url.QueryUnescape(value); err == nil {
			if d, err := time.ParseDuration(v); err == nil {
				ttl = d
			}
		}
	}
	if ttl > maxLease {
		return "", 0, fmt.Errorf("%w: a lease of %v; the demo waits until one expires: leave ttl out, or ask for %v at most", ErrStore, ttl, maxLease)
	}
	if !given {
		if query != "" {
			query += "&"
		}
		query += "ttl=" + ttl.String()
	}
	return scheme + "://" + authority + "/" + prefix + "/" + segment + "?" + query, ttl, nil
}

func nonce() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// unused refuses a store that has records already: the demo's calls would be their duplicates.
func (s *stage) unused(ctx context.Context) error {
	for _, err := range s.store.List(ctx, ledger.Filter{Limit: 1}) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: there are records in it already", ErrStore)
	}
	return nil
}

// close closes what was opened, in order. It may be called again.
func (s *stage) close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// cleanUp removes all records of the prefix that is the demo's own. A worker
// that was killed just now holds its claims until its lease expires. Sessions
// and notices have leases too, and go by themselves. What stays is one small key,
// the prefix's schema, which no method of a store removes.
func (s *stage) cleanUp(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := removeAll(ctx, s.store)
	if err != nil {
		return fmt.Errorf("demo: remove the demo's own records (%s): %w", s.info.At, err)
	}
	return nil
}

func removeAll(ctx context.Context, store ledger.Store) error {
	for {
		left := 0
		var running *ledger.Record
		for r, err := range store.List(ctx, ledger.Filter{}) {
			if err != nil {
				return err
			}
			err := store.Delete(ctx, r.ID, r.Version)
			switch {
			case err == nil, errors.Is(err, ledger.ErrNotFound):
			case errors.Is(err, ledger.ErrRunning):
				running = &r
			case errors.Is(err, ledger.ErrFenced):
				left++
			default:
				return err
			}
		}
		watcher, ok := store.(ledger.Watcher)
		switch {
		case running != nil && ok:
			if err := watcher.Await(ctx, running.ID, running.Version); err != nil {
				return err
			}
		case running != nil:
			return ledger.ErrRunning
		case left == 0:
			return nil
		}
	}
}
