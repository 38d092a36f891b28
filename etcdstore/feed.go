package etcdstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// What a watcher may be behind by: so many events, or bytes of them.
const (
	feedEvents = 4096
	feedBytes  = 8 << 20
)

// A feed holds what one watch has told until its caller takes it. The client
// of etcd would hold as much as there is, without a bound.
type feed struct {
	bell chan struct{} // holds a token when there is something to take

	mu      sync.Mutex
	awaited int // watches that do not stand yet; before that nothing is told
	events  []*clientv3.Event
	bytes   int
	missed  bool // there were changes before events that are not among them
	failed  error
}

// ring is called with mu held.
func (f *feed) ring() {
	if f.awaited > 0 && f.failed == nil {
		return
	}
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// push adds events. If there are too many, none of them are told but that there were some.
func (f *feed) push(events []*clientv3.Event) {
	bytes := 0
	for _, e := range events {
		bytes += len(e.Kv.Key) + len(e.Kv.Value)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) > 0 && (len(f.events)+len(events) > feedEvents || f.bytes+bytes > feedBytes) {
		f.events, f.bytes, f.missed = nil, 0, true
	}
	f.events, f.bytes = append(f.events, events...), f.bytes+bytes
	f.ring()
}

// sync drops what there is and says that changes may have been missed; first
// is said once by each watch, as soon as it stands.
func (f *feed) sync(first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if first {
		f.awaited--
	}
	f.events, f.bytes, f.missed = nil, 0, true
	f.ring()
}

func (f *feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
	f.ring()
}

// take returns all there is. missed is told before the events.
func (f *feed) take() (events []*clientv3.Event, missed bool, failed error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, missed = f.events, f.missed
	f.events, f.bytes, f.missed = nil, 0, false
	return events, missed, f.failed
}

// A source is a watch that feeds: of all keys of that kind, but for those events.
type source struct {
	kind   string
	filter []clientv3.OpOption
}

// sources are what o is told from.
func sources(o *ledger.WatchOptions) []source {
	if !o.Notices {
		return []source{{kindRecords, nil}}
	}
	return []source{
		{kindChanges, []clientv3.OpOption{clientv3.WithFilterDelete()}}, // the end of a notice is no news
		{kindRecords, []clientv3.OpOption{clientv3.WithFilterPut()}},    // whoever deletes them, a lease too
	}
}

// feed begins the watches for o. stop ends them, and waits for their end.
func (w *watches) feed(o *ledger.WatchOptions) (f *feed, stop func(), err error) {
	from := sources(o)
	f = &feed{bell: make(chan struct{}, 1), awaited: len(from)}
	ctx, cancel := context.WithCancel(w.s.life)
	var running sync.WaitGroup
	stop = func() {
		cancel()
		running.Wait()
	}
	for _, src := range from {
		running.Add(1)
		started := w.tasks.start(func() {
			defer running.Done()
			if err := w.pump(ctx, w.s.keys.within(src.kind, &o.Filter), src.filter, f); err != nil {
				f.fail(err)
			}
		})
		if !started {
			running.Done()
			stop()
			return nil, nil, ledger.ErrClosed
		}
	}
	return f, stop, nil
}

// pump feeds f until ctx ends, or an error that lasts.
func (w *watches) pump(ctx context.Context, prefix string, filter []clientv3.OpOption, f *feed) error {
	opts := append([]clientv3.OpOption{clientv3.WithRange(after(prefix)), clientv3.WithCreatedNotify(), clientv3.WithProgressNotify()}, filter...)
	stands := false
	next := int64(0) // the first revision that was not told; 0: from now on
	retry := newRetry()
	for {
		err := w.follow(ctx, prefix, func(r *clientv3.WatchResponse) bool {
			retry.Reset()
			switch {
			case r.Created && next == 0:
				f.sync(!stands)
				stands = true
				next = r.Header.Revision + 1
			case len(r.Events) > 0:
				// Where a watch without events was cut off, the client asks for what was there before it once more.
				news := slices.IndexFunc(r.Events, func(e *clientv3.Event) bool { return e.Kv.ModRevision >= next })
				if news < 0 {
					break
				}
				f.push(r.Events[news:])
				next = r.Events[len(r.Events)-1].Kv.ModRevision + 1
			case r.IsProgressNotify():
				next = max(next, r.Header.Revision+1)
			}
			return true
		}, append(opts[:len(opts):len(opts)], clientv3.WithRev(next))...)
		switch {
		case ctx.Err() != nil:
			return nil
		case w.s.client.Ctx().Err() != nil:
			return errors.New("the client was closed")
		case errors.Is(err, rpctypes.ErrCompacted):
			next = 0
		case lasting(err):
			return err
		}
		pause(ctx, retry)
	}
}
