package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/snap"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// ErrMissed is matched by the error of a recorder that has missed a write, so that
// the run is not worth to be checked: the history that it had not seen yet was compacted away.
var ErrMissed = errors.New("writes were missed")

const (
	// askAfter is how long a watch may be silent until it is asked whether it lives.
	askAfter = 500 * time.Millisecond
	// giveUpAfter is how long it may be silent then: its member may be stopped.
	giveUpAfter = 2 * time.Second
)

// A Recorder writes down what a store writes.
type Recorder struct {
	client *clientv3.Client
	root   string
	out    *trace.Writer
	owners map[string]string // the session of each running key; of run alone
	cancel context.CancelFunc
	group  sync.WaitGroup
	close  func() error

	mu    sync.Mutex
	seen  int64         // all revisions up to this one are written down
	news  chan struct{} // closed when seen grows, or the recorder ends
	ended bool
	err   error // why it ended
}

// Record begins to write what happens to the records, the running keys and the sessions of the store with that
// prefix to a new file: each write and each deletion as a trace.Write, in the order of revisions and none left out. What
// stands there already would be missing; so Record returns an error if there is anything.
//
// A record is shown without what only reading fills in: Alive, Attempts and Blocked. A running key that is gone, by a
// finish or with its lease, is shown with the session that it had.
//
// It goes on until ctx ends, or Close: through changes of leader, and where members are killed, stopped or cut off. It
// looks at each revision of the cluster, of which none may be missing.
func Record(ctx context.Context, client *clientv3.Client, prefix, path string) (*Recorder, error) {
	r := &Recorder{client: client, root: root(prefix), owners: make(map[string]string), news: make(chan struct{})}
	for _, kind := range []string{records, running, sessions} {
		got, err := client.Get(ctx, r.root+kind, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return nil, fmt.Errorf("cluster: record %s: %w", r.root, err)
		}
		if got.Count > 0 {
			return nil, fmt.Errorf("cluster: record %s: there are %d keys below %s already, which would be missing; use another prefix", r.root, got.Count, r.root+kind)
		}
		if r.seen == 0 { // the others are read later: what is written between is seen by the watch
			r.seen = got.Header.Revision
		}
	}
	var err error
	if r.out, err = trace.Create(path, false); err != nil {
		return nil, fmt.Errorf("cluster: record %s: %w", r.root, err)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.close = sync.OnceValue(r.finish)
	r.group.Go(func() { r.end(r.run(ctx)) })
	return r, nil
}

// Seen returns the last revision that is written down, with all before it.
func (r *Recorder) Seen() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// CatchUp waits until everything is written down that was confirmed before it was called. It returns
// an error if ctx ends, or if the recorder did: ErrMissed, or another reason for which the file is not whole.
func (r *Recorder) CatchUp(ctx context.Context) error {
	now, err := r.revision(ctx)
	for err == nil {
		r.mu.Lock()
		seen, news, ended := r.seen, r.news, r.ended
		err = r.err
		r.mu.Unlock()
		switch {
		case seen >= now && err == nil:
			return nil
		case err != nil:
		case ended:
			err = errors.New("the recorder was closed")
		default:
			select {
			case <-news:
			case <-ctx.Done():
				err = fmt.Errorf("revision %d of %d is recorded: %w", seen, now, context.Cause(ctx))
			}
		}
	}
	return fmt.Errorf("cluster: record %s: %w", r.root, err)
}

// revision returns the cluster's revision as of now.
func (r *Recorder) revision(ctx context.Context) (int64, error) {
	for {
		try, cancel := context.WithTimeout(ctx, tryLimit)
		got, err := r.client.Get(try, "k")
		cancel()
		if err == nil {
			return got.Header.Revision, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		case <-time.After(tryAgain):
		}
	}
}

// Close ends the recording. What was not seen by then is not written; see CatchUp. It
// returns why the file is not whole, if that is known.
func (r *Recorder) Close() error { return r.close() }

func (r *Recorder) finish() error {
	r.cancel()
	r.group.Wait()
	err := errors.Join(r.err, r.out.Close())
	if err != nil {
		err = fmt.Errorf("cluster: record %s: %w", r.root, err)
	}
	return err
}

// end tells who waits.
func (r *Recorder) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.err = true, err
	close(r.news)
}

// run watches until ctx ends, and then returns nil. Another error is for good.
func (r *Recorder) run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := r.watch(metadata.AppendToOutgoingContext(ctx, "chaos-recorder", r.root+strconv.Itoa(attempt))) // a stream of its own
		if err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tryAgain):
		}
	}
}

// watch writes down what it is told until the watch fails, and then returns nil. An error is for good.
func (r *Recorder) watch(ctx context.Context) error {
	// A member that is cut off from its leader would say nothing, for ever.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	opening := time.AfterFunc(giveUpAfter, cancel) // Watch waits until the member answers
	// All keys: so that no revision can be missing without being missed.
	told := r.client.Watch(ctx, "", clientv3.WithFromKey(), clientv3.WithRev(r.seen+1))
	defer func() {
		cancel()
		for range told { // until its end: then nothing of it is left
		}
	}()
	opening.Stop()
	tick := time.NewTicker(askAfter)
	defer tick.Stop()
	for heard := time.Now(); ; {
		select {
		case x, ok := <-told:
			switch {
			case !ok:
				return nil
			case x.CompactRevision != 0:
				return fmt.Errorf("%w: the history up to revision %d is compacted, and %d is the last that was seen", ErrMissed, x.CompactRevision, r.seen)
			case x.Err() != nil:
				return nil
			}
			if err := r.write(x.Events); err != nil {
				return err
			}
			heard = time.Now()
		case <-tick.C:
			silent := time.Since(heard)
			if silent > giveUpAfter {
				return nil
			}
			if silent > askAfter {
				ask, cancel := context.WithTimeout(ctx, askAfter)
				_ = r.client.RequestProgress(ask) // without an answer, it was the last question
				cancel()
			}
		}
	}
}

// write writes down whole revisions.
func (r *Recorder) write(events []*clientv3.Event) error {
	if len(events) == 0 {
		return nil // it lives
	}
	at, last := trace.Now(), r.seen // which only this goroutine changes
	for _, e := range events {
		rev := e.Kv.ModRevision
		if rev <= r.seen {
			continue // seen before the watch began anew
		}
		if rev != last && rev != last+1 {
			return fmt.Errorf("%w: revision %d is followed by %d", ErrMissed, last, rev)
		}
		last = rev
		w, err := r.line(e)
		if err == nil && w != nil {
			w.Rev, w.At, w.Gone = rev, at, e.Type == mvccpb.DELETE
			err = r.out.Write(w)
		}
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen < last {
		r.seen = last
		close(r.news)
		r.news = make(chan struct{})
	}
	return nil
}

// line returns what to write of an event; nil: nothing.
func (r *Recorder) line(e *clientv3.Event) (*trace.Write, error) {
	key, ok := strings.CutPrefix(string(e.Kv.Key), r.root)
	if !ok {
		return nil, nil
	}
	put := e.Type == mvccpb.PUT
	if name, ok := strings.CutPrefix(key, records); ok {
		w := &trace.Write{Key: "record", Name: name}
		if !put {
			return w, nil
		}
		id, err := ledger.ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", e.Kv.Key, err)
		}
		record, err := recordjson.Decode(id, ledger.Version(e.Kv.ModRevision), e.Kv.Value)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", e.Kv.Key, err)
		}
		w.Record, w.Lease = snap.Of(&record), e.Kv.Lease
		return w, nil
	}
	if name, ok := strings.CutPrefix(key, running); ok {
		if put {
			r.owners[name] = string(e.Kv.Value)
		}
		w := &trace.Write{Key: "running", Name: name, Session: r.owners[name], Lease: e.Kv.Lease}
		if !put {
			delete(r.owners, name)
		}
		return w, nil
	}
	if name, ok := strings.CutPrefix(key, sessions); ok {
		return &trace.Write{Key: "session", Name: name, Session: name, Lease: e.Kv.Lease}, nil
	}
	return nil, nil
}
