package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// A Store keeps its records in an etcd cluster. It is one owner, with a
// session that is opened by its first claim. All methods are safe for concurrent use.
type Store struct {
	client *clientv3.Client
	owned  bool // the client is closed with the store
	opts   Options
	keys   keyspace
	writer string // names this store's tallies
	host   string
	pid    int

	life    context.Context // of everything in the background
	endLife context.CancelFunc
	workers sync.WaitGroup

	sessions  *sessions
	writes    *batcher
	lookups   *batcher
	hot       *hotset
	held      *held
	notices   *bucket // leases of change notices
	retention *bucket // leases of finished records; nil: they are kept for ever
	tallies   *tallies
	upkeep    *upkeep
	watches   *watches
	streams   streams

	closed    atomic.Bool
	closeOnce sync.Once
	closeDone chan struct{}
	closeErr  error
}

var (
	_ ledger.Store         = (*Store)(nil)
	_ ledger.Watcher       = (*Store)(nil)
	_ ledger.Leaser        = (*Store)(nil)
	_ ledger.SessionLister = (*Store)(nil)
)

// New returns a store on client, which the caller closes after the store. It
// asks the cluster for its version and for the schema of the records below the prefix. o may be nil.
//
// A client of your own must have MaxUnaryRetries 1: by default clientv3 sends a
// write again behind the store's back, and an earlier copy may land late. It should have a dial
// keep-alive and a quiet logger. Open sets all of these.
func New(ctx context.Context, client *clientv3.Client, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("etcdstore: open: %w", err)
	}
	if client == nil {
		return nil, fmt.Errorf("etcdstore: open: %w: the client is nil", ledger.ErrInvalid)
	}
	s, err := newStore(ctx, client, opts)
	if err != nil {
		return nil, fmt.Errorf("etcdstore: open: %w", err)
	}
	return s, nil
}

func newStore(ctx context.Context, client *clientv3.Client, opts Options) (*Store, error) {
	s := &Store{
		client: client, opts: opts, keys: keyspace{opts.Prefix + "/"}, pid: os.Getpid(), closeDone: make(chan struct{}),
		writer: newNonce(), hot: newHotset(), held: newHeld(),
	}
	s.host, _ = os.Hostname() // a label; liveness does not depend on it
	if err := s.greet(ctx); err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) { // the cluster is not to blame
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		return nil, err
	}
	s.life, s.endLife = context.WithCancel(context.Background())
	kv := newClientKV(client)
	s.writes = newBatcher(s.life, kv, opts.RequestTimeout)
	s.lookups = newBatcher(s.life, kv, opts.RequestTimeout)
	s.watches = newWatches(s)
	s.sessions = newSessions(s) // they watch
	s.notices = newBucket(s, noticeTTL, noticeTTL/2)
	if opts.Retention > 0 {
		s.retention = newBucket(s, opts.Retention+opts.Retention/8, opts.Retention/8)
		s.retention.beside = maxWriters + 1 // a record's counts, which end with it
	}
	s.tallies = newTallies(s)
	s.upkeep = newUpkeep(s)
	return s, nil
}

// String names the endpoints and the prefix; never credentials.
func (s *Store) String() string { return "etcd at " + s.at() + ", prefix " + s.opts.Prefix }

// at names the endpoints, without anything that may be secret.
func (s *Store) at() string { return strings.Join(bare(s.client.Endpoints()), ",") }

// Close gives the sessions' leases back, so that others can take over what they
// hold at once, and ends watches. Close the guard first: its Close waits for the tools that
// run, while this one takes their claims from them, and others may run the same calls beside them.
//
// Requests that are under way are waited for as long as RequestTimeout, then cut short; as
// long again may it take to give the leases back. Where that fails, the error says when the claims
// expire. Later calls return ErrClosed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		underWay, cancel := context.WithTimeout(context.Background(), s.opts.RequestTimeout)
		defer cancel()
		half, done := context.WithTimeout(underWay, s.opts.RequestTimeout/2)
		s.upkeep.drain(half)
		done()
		s.writes.close(underWay)
		s.lookups.close(underWay)
		// One request that hangs must not cost the others their wait for the leases.
		revokes, cancel := context.WithTimeout(context.Background(), s.opts.RequestTimeout)
		defer cancel()
		s.closeErr = s.sessions.close(revokes)
		s.endLife()
		<-s.writes.idle // what was not answered is at its end now
		<-s.lookups.idle
		s.workers.Wait()
		if s.owned {
			if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
				s.closeErr = errors.Join(s.closeErr, err)
			}
		}
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("etcdstore: close: %w", s.closeErr)
		}
		close(s.closeDone)
	})
	<-s.closeDone
	return s.closeErr
}

// begin says why an operation can not start.
func (s *Store) begin(ctx context.Context) error {
	if s.closed.Load() {
		return ledger.ErrClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), ledger.ErrNotWritten)
	}
	return nil
}
