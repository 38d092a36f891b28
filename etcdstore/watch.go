package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/ledger-once/ledger"
)

// streams number those that carry the watches: all of them share one. The login
// that a stream began with may end; new watches then have to begin another one.
type streams struct{ n atomic.Int64 }

// with returns the context for watches on a stream.
func (s *streams) with(ctx context.Context, stream int64) context.Context {
	if stream == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "ledger-stream", strconv.FormatInt(stream, 10)) // clientv3 tells streams apart by it
}

// failed is told why a watch on that stream ended.
func (s *streams) failed(stream int64, err error) {
	if verdictOf(watchError(err)) == again {
		s.n.CompareAndSwap(stream, stream+1)
	}
}

// watches are what a store has asked the cluster to tell it.
type watches struct {
	s     *Store
	tasks *tasks

	mu     sync.Mutex
	vigils map[ledger.ID]*vigil
}

func newWatches(s *Store) *watches {
	return &watches{s: s, tasks: newTasks(s), vigils: make(map[ledger.ID]*vigil)}
}

// errAgain: nothing is wrong that would not pass.
var errAgain = errors.New("look again")

// follow watches key, and hands on what it is told until ctx ends, the watch
// fails, or handle reports false. It returns why the watch failed, if it did; it
// never tells when it was merely cut off from the cluster: it goes on where it was.
func (w *watches) follow(ctx context.Context, key string, handle func(*clientv3.WatchResponse) bool, opts ...clientv3.OpOption) error {
	ctx, cancel := context.WithCancel(ctx)
	stream := w.s.streams.n.Load()
	// Without asking for a leader, a member that is cut off says nothing, for ever.
	ch := w.s.client.Watch(w.s.streams.with(clientv3.WithRequireLeader(ctx), stream), key, opts...)
	defer func() {
		cancel()
		for range ch { // until its end: then nothing of it is left
		}
	}()
	for r := range ch {
		if err := r.Err(); err != nil {
			err = watchError(err)
			w.s.streams.failed(stream, err)
			return err
		}
		if !handle(&r) {
			return nil
		}
	}
	return errAgain
}

// watchError returns err as another request would have told it: what the server
// says of a watch that is not permitted comes as a mere text.
func watchError(err error) error {
	for _, e := range []error{rpctypes.ErrGRPCPermissionDenied, rpctypes.ErrGRPCUserEmpty, rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision} {
		if strings.HasSuffix(err.Error(), rpctypes.ErrorDesc(e)) {
			return rpctypes.Error(e)
		}
	}
	return err
}

// lasting reports whether a watch that failed with err would do so again.
func lasting(err error) bool { return err != nil && err != errAgain && verdictOf(err) == denied }

// Watch implements [ledger.Watcher]. A notice comes without its record. All
// deletions are told, those of a finish that removes its record and of [Options.Retention] among
// them. A notice of a claim and one of a deletion may come in either order; their Versions tell.
//
// Nothing is lost while the cluster is out of reach: the watch goes on where it was, and says
// so with a ChangeSync where the cluster has compacted what it had to tell meanwhile. The same goes for a
// caller who is behind by more than 4,096 changes, or 8 MiB of them.
func (s *Store) Watch(ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	o.Filter.After, o.Filter.Limit = ledger.ID{}, 0
	return func(yield func(ledger.Change, error) bool) {
		err := s.watch(ctx, &o, func(c ledger.Change) bool { return yield(c, nil) })
		if err != nil {
			yield(ledger.Change{}, fmt.Errorf("etcdstore: watch: %w", err))
		}
	}
}

// watch returns nil when yield wants no more.
func (s *Store) watch(ctx context.Context, o *ledger.WatchOptions, yield func(ledger.Change) bool) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	f, stop, err := s.watches.feed(o)
	if err != nil {
		return err
	}
	defer stop()
	for {
		select {
		case <-f.bell:
		case <-ctx.Done():
			return ended(ctx)
		case <-s.life.Done():
			return ledger.ErrClosed
		}
		events, missed, failed := f.take()
		if missed && !yield(ledger.Change{Kind: ledger.ChangeSync}) {
			return nil
		}
		for i, e := range events {
			events[i] = nil // what was told need not stay in memory
			c, ok, err := s.change(e, o)
			if err != nil {
				return s.failure(err, true)
			}
			if ok && !yield(c) {
				return nil
			}
			switch {
			case ctx.Err() != nil:
				return ended(ctx)
			case s.life.Err() != nil:
				return ledger.ErrClosed
			}
		}
		if failed != nil {
			return s.failure(failed, true)
		}
	}
}

// change is what an event tells a watcher; ok is false if it is none of theirs.
func (s *Store) change(e *clientv3.Event, o *ledger.WatchOptions) (c ledger.Change, ok bool, err error) {
	byName := ledger.Filter{Workflow: o.Filter.Workflow, Tool: o.Filter.Tool, Fingerprint: o.Filter.Fingerprint}
	if o.Notices && e.Type != clientv3.EventTypeDelete {
		c = s.parseNotice(e.Kv)
		return c, c.Kind == ledger.ChangeSync || byName.Match(&ledger.Record{ID: c.ID}), nil
	}
	id, err := s.keys.parse(kindRecords, string(e.Kv.Key))
	if err != nil {
		return c, false, err
	}
	c = ledger.Change{Kind: ledger.ChangeDelete, ID: id, Version: ledger.Version(e.Kv.ModRevision)}
	if e.Type == clientv3.EventTypeDelete { // of a record that is gone only the ID can be compared
		return c, byName.Match(&ledger.Record{ID: id}), nil
	}
	c.Kind = ledger.ChangePut
	r, err := s.decode(id, e.Kv, true) // a running one is written by its living owner only
	if err != nil {
		return c, false, err
	}
	r.AddTally(ledger.Tally{})
	c.Record = &r
	return c, o.Filter.Match(&r), nil
}
