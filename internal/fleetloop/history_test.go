//go:build linux

package fleetloop

import (
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// The keys of one call, as the cluster has them.
type keys struct{ record, running string }

func (f *fleet) id(tool, key string) ledger.ID {
	f.Helper()
	id, err := f.ids.ID(f.ctx, ledger.Call{Tool: tool, Key: key})
	if err != nil {
		f.Fatal(err)
	}
	return id
}

func (f *fleet) keys(tool, key string) keys {
	f.Helper()
	id := f.id(tool, key).String()
	return keys{f.job.Prefix + "/records/" + id, f.job.Prefix + "/running/" + id}
}

// get returns the key, nil if there is none, and the revision at which that was so.
func (f *fleet) get(key string) (*mvccpb.KeyValue, int64) {
	f.Helper()
	r, err := f.client.Get(f.ctx, key)
	if err != nil {
		f.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return nil, r.Header.Revision
	}
	return r.Kvs[0], r.Header.Revision
}

// history returns all that ever happened to the key.
func (f *fleet) history(key string) []*clientv3.Event {
	f.Helper()
	_, now := f.get(key)
	// A second key tells that the watch has come as far as now.
	mark, err := f.client.Put(f.ctx, key+"#", "")
	if err != nil {
		f.Fatal(err)
	}
	var all []*clientv3.Event
	ch := f.client.Watch(f.ctx, key, clientv3.WithRange(key+"$"), clientv3.WithRev(1))
	for r := range ch {
		if err := r.Err(); err != nil {
			f.Fatal(err)
		}
		for _, e := range r.Events {
			if e.Kv.ModRevision >= mark.Header.Revision {
				return all
			}
			if string(e.Kv.Key) == key && e.Kv.ModRevision <= now {
				all = append(all, e)
			}
		}
	}
	f.Fatalf("the watch of %s ended before revision %d", key, mark.Header.Revision)
	return nil
}

// leaseLives reports whether the cluster says that the lease has time left.
func (f *fleet) leaseLives(lease int64) bool {
	f.Helper()
	r, err := f.client.TimeToLive(f.ctx, clientv3.LeaseID(lease))
	if err != nil {
		f.Fatal(err)
	}
	return r.TTL > 0
}

// tookOver checks by the cluster's history that the call was claimed by the
// first fence, that its claim ended with its lease, and that the second claim
// came after that.
func (f *fleet) tookOver(tool, key string, lease int64, first, second ledger.Version) {
	f.Helper()
	var ended int64
	seen := map[ledger.Version]bool{}
	for _, e := range f.history(f.keys(tool, key).running) {
		rev := ledger.Version(e.Kv.ModRevision)
		switch {
		case e.Type == clientv3.EventTypePut && rev == first:
			if e.Kv.Lease != lease {
				f.Errorf("%s %s: the first claim is under lease %x; want %x", tool, key, e.Kv.Lease, lease)
			}
			seen[first] = true
		case e.Type == clientv3.EventTypeDelete && ended == 0:
			ended = e.Kv.ModRevision
		case e.Type == clientv3.EventTypePut && rev == second:
			if ended == 0 || e.Kv.Lease == lease {
				f.Errorf("%s %s: claimed at %d under lease %x; the claim under lease %x ended at %d", tool, key, rev, e.Kv.Lease, lease, ended)
			}
			seen[second] = true
		case e.Type == clientv3.EventTypePut:
			f.Errorf("%s %s: claimed at %d; want claims at %d and %d only", tool, key, rev, first, second)
		}
	}
	if !seen[first] || !seen[second] || first >= second {
		f.Errorf("%s %s: claims by fences %d and %d are to follow each other; the history has %v", tool, key, first, second, seen)
	}
}

// tick is how often a condition is looked at that nothing tells of.
const tick = 10 * time.Millisecond

// until returns once the condition holds.
func (f *fleet) until(what string, holds func() bool) {
	f.Helper()
	t := time.NewTicker(tick)
	defer t.Stop()
	for !holds() {
		select {
		case <-t.C:
		case <-f.ctx.Done():
			f.Fatalf("%s: not so until the test ended", what)
		}
	}
}

// wantEffects checks the journal of one call.
func (f *fleet) wantEffects(key string, fences ...ledger.Version) {
	f.Helper()
	var got []ledger.Version
	for _, e := range f.effects()[key] {
		got = append(got, e.Fence)
	}
	if !slices.Equal(got, fences) {
		f.Errorf("%s: the journal has effects by fences %v; want %v", key, got, fences)
	}
}
