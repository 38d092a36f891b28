package cli

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/etcdstore"
)

// reopenAfter is how long a store that could not be reopened is left alone.
const reopenAfter = time.Second

// A reopener is a store that is opened again after it could not be used: a file that was deleted and made anew,
// an etcd that came back elsewhere. It is for who looks: a claim would not survive that.
type reopener struct {
	url  string
	open func(context.Context) (*ledgerAt, io.Closer, error)

	mu     sync.Mutex
	now    *opened // nil: none is open
	err    error   // why
	tried  time.Time
	closed bool
	drops  sync.WaitGroup
}

// An opened store is closed once nobody uses it.
type opened struct {
	ledger.Store
	closer io.Closer
	users  sync.WaitGroup
}

func newReopener(url string, s ledger.Store, c io.Closer, open func(context.Context) (*ledgerAt, io.Closer, error)) *reopener {
	return &reopener{url: url, open: open, now: &opened{Store: s, closer: c}}
}

// take returns the open store, whose users include the caller until it calls done with what became of it.
func (r *reopener) take(ctx context.Context) (*opened, func(error), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, nil, ledger.ErrClosed
	case r.now == nil && time.Since(r.tried) < reopenAfter:
		return nil, nil, r.err
	case r.now == nil:
		at, closer, err := r.open(ctx)
		r.tried = time.Now()
		if err != nil {
			if !errors.Is(err, ledger.ErrUnavailable) {
				err = errors.Join(ledger.ErrUnavailable, err)
			}
			r.err = err
			return nil, nil, err
		}
		r.now = &opened{Store: at.Store, closer: closer}
	}
	o := r.now
	o.users.Add(1)
	return o, func(err error) {
		o.users.Done()
		if ctx.Err() != nil {
			return // who asked had no more time; that says nothing of the store
		}
		if errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrClosed) {
			r.drop(o, err)
		}
	}, nil
}

// drop gives up a store that can not be used, and closes it once its last user is done.
func (r *reopener) drop(o *opened, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != o {
		return
	}
	r.now, r.err, r.tried = nil, err, time.Time{}
	r.drops.Go(func() {
		o.users.Wait()
		_ = o.closer.Close() // it could not be used
	})
}

// Close closes the store, once its users are done.
func (r *reopener) Close() error {
	r.mu.Lock()
	o := r.now
	r.now, r.closed = nil, true
	r.mu.Unlock()
	r.drops.Wait()
	if o == nil {
		return nil
	}
	o.users.Wait()
	return o.closer.Close()
}

func (r *reopener) Claim(ctx context.Context, c ledger.Claim) (rec ledger.Record, won bool, err error) {
	err = r.use(ctx, func(s ledger.Store) (err error) { rec, won, err = s.Claim(ctx, c); return err })
	return rec, won, err
}

func (r *reopener) Finish(ctx context.Context, done ledger.Record) error {
	return r.use(ctx, func(s ledger.Store) error { return s.Finish(ctx, done) })
}

func (r *reopener) Tally(ctx context.Context, counts []ledger.Tally) error {
	return r.use(ctx, func(s ledger.Store) error { return s.Tally(ctx, counts) })
}

func (r *reopener) Get(ctx context.Context, id ledger.ID) (rec ledger.Record, err error) {
	err = r.use(ctx, func(s ledger.Store) (err error) { rec, err = s.Get(ctx, id); return err })
	return rec, err
}

func (r *reopener) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	return r.use(ctx, func(s ledger.Store) error { return s.Delete(ctx, id, seen) })
}

func (r *reopener) use(ctx context.Context, do func(ledger.Store) error) error {
	o, done, err := r.take(ctx)
	if err != nil {
		return err
	}
	err = do(o.Store)
	done(err)
	return err
}

func (r *reopener) List(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return each(r, ctx, func(s ledger.Store) iter.Seq2[ledger.Record, error] { return s.List(ctx, f) })
}

// ListNewest lists in the store's own order where that knows no other.
func (r *reopener) ListNewest(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Record, error] {
	return each(r, ctx, func(s ledger.Store) iter.Seq2[ledger.Record, error] {
		if n, ok := s.(ledger.NewestLister); ok {
			return n.ListNewest(ctx, f)
		}
		return s.List(ctx, f)
	})
}

func (r *reopener) Summarize(ctx context.Context, f ledger.Filter) (sum ledger.Summary, err error) {
	err = r.use(ctx, func(s ledger.Store) (err error) { sum, err = ledger.Summarize(ctx, s, f); return err })
	return sum, err
}

func (r *reopener) Sessions(ctx context.Context) (all []ledger.Session, err error) {
	err = r.use(ctx, func(s ledger.Store) (err error) {
		if l, ok := s.(ledger.SessionLister); ok {
			all, err = l.Sessions(ctx)
		}
		return err
	})
	return all, err
}

// Size returns how many bytes the store takes, and how many it may; 0: not known.
func (r *reopener) Size(ctx context.Context) (bytes, quota int64, err error) {
	if path, ok, perr := connect.Path(r.url); perr == nil && ok && path != "" {
		for _, suffix := range []string{"", "-wal"} {
			info, serr := os.Stat(path + suffix)
			switch {
			case serr == nil:
				bytes += info.Size()
			case suffix == "":
				return 0, 0, serr
			}
		}
		return bytes, 0, nil
	}
	err = r.use(ctx, func(s ledger.Store) error {
		e, ok := s.(interface {
			Health(context.Context) (*etcdstore.Health, error)
		})
		if !ok {
			return nil
		}
		h, err := e.Health(ctx)
		if err != nil {
			return err
		}
		for _, m := range h.Members { // the greatest: it is the first to be full
			if m.DBSize > bytes {
				bytes, quota = m.DBSize, m.Quota
			}
		}
		return nil
	})
	return bytes, quota, err
}

var errNoWatch = errors.New("the store can not tell of changes")

func (r *reopener) Await(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	return r.use(ctx, func(s ledger.Store) error {
		if w, ok := s.(ledger.Watcher); ok {
			return w.Await(ctx, id, seen)
		}
		return errNoWatch
	})
}

func (r *reopener) Watch(ctx context.Context, o ledger.WatchOptions) iter.Seq2[ledger.Change, error] {
	return each(r, ctx, func(s ledger.Store) iter.Seq2[ledger.Change, error] {
		if w, ok := s.(ledger.Watcher); ok {
			return w.Watch(ctx, o)
		}
		return func(yield func(ledger.Change, error) bool) { yield(ledger.Change{}, errNoWatch) }
	})
}

// each yields what list does of the open store.
func each[T any](r *reopener, ctx context.Context, list func(ledger.Store) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		o, done, err := r.take(ctx)
		if err != nil {
			yield(none, err)
			return
		}
		var last error
		defer func() { done(last) }()
		for v, err := range list(o.Store) {
			last = err
			if !yield(v, err) {
				return
			}
		}
	}
}
