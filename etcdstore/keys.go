package etcdstore

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// keyspace names the keys below one prefix. Names are path-escaped, so that no
// workflow, tool or fingerprint reaches into another's keys, and `etcdctl get
// --prefix` reads well.
type keyspace struct{ root string } // ends in a slash

// The kinds of keys; each is a directory below the root.
const (
	kindRecords  = "records/"
	kindRunning  = "running/"
	kindSessions = "sessions/"
	kindTallies  = "tallies/"
	kindCounters = "counters/"
	kindChanges  = "changes/"
)

func (k keyspace) schema() string { return k.root + "schema" }

func (k keyspace) record(id ledger.ID) string  { return k.root + kindRecords + id.String() }
func (k keyspace) running(id ledger.ID) string { return k.root + kindRunning + id.String() }

// both are record and running.
func (k keyspace) both(id ledger.ID) (record, running string) {
	path := id.String()
	return k.root + kindRecords + path, k.root + kindRunning + path
}

func (k keyspace) change(id ledger.ID) string { return k.root + kindChanges + id.String() }

func (k keyspace) session(name string) string { return k.root + kindSessions + name }

// tallies is the prefix of the counts beside the record, or of the counter, of id.
func (k keyspace) tallies(id ledger.ID) string {
	if id.IsCounter() {
		return k.root + kindCounters + id.String() // ends in a slash: the fingerprint is empty
	}
	return k.root + kindTallies + id.String() + "/"
}

// tally is the key of one writer's counts. run is the revision that created the
// record, so that no count outlives it into another record of the same ID; 0 for a counter.
func (k keyspace) tally(id ledger.ID, run int64, writer string) string {
	if id.IsCounter() {
		return k.tallies(id) + writer
	}
	return k.tallies(id) + strconv.FormatInt(run, 10) + "/" + writer
}

// parse returns the ID in a key of that kind.
func (k keyspace) parse(kind, key string) (ledger.ID, error) {
	rest, ok := strings.CutPrefix(key, k.root+kind)
	if !ok {
		return ledger.ID{}, fmt.Errorf("the key %q is not one of %s%s", key, k.root, kind)
	}
	return ledger.ParseID(rest)
}

// within is the prefix of all keys of that kind that can match the filter.
func (k keyspace) within(kind string, f *ledger.Filter) string {
	p := k.root + kind
	if f.Workflow != "" {
		p += url.PathEscape(f.Workflow) + "/"
		if f.Tool != "" {
			p += url.PathEscape(f.Tool) + "/"
		}
	}
	return p
}

// after is the first key behind all that begin with prefix.
func after(prefix string) string { return clientv3.GetPrefixRangeEnd(prefix) }
