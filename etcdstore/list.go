package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// A page is held in memory whole, so it grows towards so many bytes, and shrinks
// at once. etcd does not tell sizes beforehand: a page of records that are greater than those before
// them may have more, but no more than maxPage of them.
const (
	firstPage = 16
	maxPage   = 256
	pageBytes = 1 << 20
	// tallyPage is how many keys of tallies are read at once.
	tallyPage = 4096
	// With more than manyRecords to come their keys are read first: at most maxMarked at once, and about markedBytes.
	manyRecords = 4 * maxPage
	markEvery   = 16
	maxMarked   = 1 << 15
	markedBytes = 4 << 20
)

// List implements [ledger.Store]. It yields in the order of the keys in etcd: by
// workflow, tool and fingerprint as ID.String escapes them, a tool's counter before its records. Filter.After
// is compared in that order too. Each page is as of one revision.
func (s *Store) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		if err := s.list(ctx, &f, func(r ledger.Record) bool { return yield(r, nil) }); err != nil {
			yield(ledger.Record{}, fmt.Errorf("etcdstore: list: %w", err))
		}
	}
}

// list returns nil when it is through, or when yield wants no more.
func (s *Store) list(ctx context.Context, f *ledger.Filter, yield func(ledger.Record) bool) error {
	match := *f
	match.After = ledger.ID{}
	records, counters := newPager(s, f, kindRecords), newPager(s, f, kindCounters)
	yielded := 0
	for {
		// Their heads are compared by key, so both have to be there.
		if err := records.fill(ctx); err != nil {
			return err
		}
		if err := counters.fill(ctx); err != nil {
			return err
		}
		next := records
		if c := counters.head(); c != nil && (records.head() == nil || c.path < records.head().path) {
			next = counters
		}
		if next.head() == nil {
			return nil
		}
		r, err := next.pop(s)
		if err != nil {
			return s.failure(err, true)
		}
		if !match.Match(&r) {
			continue
		}
		if yielded++; !yield(r) || yielded == f.Limit {
			return nil
		}
	}
}

// read carries out a page's lookup. It tries again for a while, and as long as ctx lasts.
func (s *Store) read(ctx context.Context, ops ...clientv3.Op) (answer, error) {
	if err := s.begin(ctx); err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	retry := newRetry()
	for tries := 1; ; tries++ {
		r, err := s.readOnce(ctx, ops)
		if err == nil {
			return answer{r.Succeeded, r.Header.Revision, r.Responses}, nil
		}
		switch v := verdictOf(err); {
		case s.life.Err() != nil:
			return answer{}, ledger.ErrClosed
		case errors.Is(err, rpctypes.ErrCompacted), v != ambiguous && v != again, tries == maxReads, ctx.Err() != nil:
			return answer{}, err
		}
		pause(ctx, retry)
	}
}

// maxReads is how often one page is read that can not be.
const maxReads = 10

func (s *Store) readOnce(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), s.opts.RequestTimeout)
	defer cancel()
	return s.client.Txn(ctx).Then(ops...).Commit()
}

// idOf parses the path of a key: what follows its kind.
func idOf(kind, path, key string) (ledger.ID, error) {
	id, err := ledger.ParseID(path)
	if err != nil || id.IsCounter() != (kind == kindCounters) {
		return id, fmt.Errorf("%w: the key %q is not one of ledger's (another program writes below its prefix? give ledger one of its own)", ledger.ErrUnavailable, key)
	}
	return id, nil
}

// pathOf cuts the directory off a key, and the writer off that of a counter.
func (k keyspace) pathOf(kind string, key []byte) string {
	path := strings.TrimPrefix(string(key), k.root+kind)
	if kind == kindCounters {
		path = path[:strings.LastIndexByte(path, '/')+1]
	}
	return path
}
