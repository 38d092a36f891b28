package etcdstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ledger-once/ledger"
)

const (
	// maxWriters is how many writers' keys of one ID may stand before they are folded into one.
	maxWriters = 16
	// maxFold bounds the keys that are folded in one transaction.
	maxFold = 48
	// foldedWriter is the writer of the key that others are folded into. It never is a nonce.
	foldedWriter = "folded"
)

// storedTally is the value of a tally's key: absolute counts. Fields may be added to it.
type storedTally struct {
	V int `json:"v"`
	storedCounts
	Folded []foldedTally `json:"folded,omitempty"` // what the last fold took; of foldedWriter only
}

type storedCounts struct {
	Attempts int64 `json:"attempts,omitempty"`
	Executed int64 `json:"executed,omitempty"`
	Blocked  int64 `json:"blocked,omitempty"`
}

// A foldedTally is a key that was folded: what its writer has to know to go on.
type foldedTally struct {
	Writer string `json:"writer"`
	Mod    int64  `json:"mod"` // of the key
	storedCounts
}

func (c storedCounts) plus(d storedCounts) storedCounts {
	return storedCounts{c.Attempts + d.Attempts, c.Executed + d.Executed, c.Blocked + d.Blocked}
}

func (c storedCounts) minus(d storedCounts) storedCounts {
	return storedCounts{c.Attempts - d.Attempts, c.Executed - d.Executed, c.Blocked - d.Blocked}
}

func countsOf(t ledger.Tally) storedCounts { return storedCounts{t.Attempts, t.Executed, t.Blocked} }

func (s *Store) decodeTally(kv *mvccpb.KeyValue) (storedTally, error) {
	var t storedTally
	if err := json.Unmarshal(kv.Value, &t); err != nil || t.V < 1 {
		return t, fmt.Errorf("%w: the key %q is not one of ledger's counts (another program writes below the prefix %q? give ledger one of its own)", ledger.ErrUnavailable, kv.Key, s.opts.Prefix)
	}
	if t.V > 1 {
		return t, fmt.Errorf("%w: the counts in the key %q were written by a newer version of ledger; upgrade this program", ledger.ErrUnavailable, kv.Key)
	}
	return t, nil
}

// writerOf returns the writer in a key of tallies(id), and whether the key belongs to that run.
func (k keyspace) writerOf(id ledger.ID, run int64, kv *mvccpb.KeyValue) (string, bool) {
	writer, ok := strings.CutPrefix(string(kv.Key), k.tallies(id))
	if ok && !id.IsCounter() {
		writer, ok = strings.CutPrefix(writer, strconv.FormatInt(run, 10)+"/")
	}
	return writer, ok && !strings.Contains(writer, "/")
}

// sum adds the counts in kvs, which are keys of tallies(id), that belong to the
// record which the revision run created.
func (s *Store) sum(id ledger.ID, run int64, kvs []*mvccpb.KeyValue) (ledger.Tally, error) {
	var sum storedCounts
	for _, kv := range kvs {
		if _, ok := s.keys.writerOf(id, run, kv); !ok {
			continue
		}
		t, err := s.decodeTally(kv)
		if err != nil {
			return ledger.Tally{ID: id}, err
		}
		sum = sum.plus(t.storedCounts)
	}
	return ledger.Tally{ID: id, Attempts: sum.Attempts, Executed: sum.Executed, Blocked: sum.Blocked}, nil
}

// A tallied is what one writer knows of the counts of one ID. Its counts are
// what its own key has to say: nobody else writes that key, and whoever folds it away leaves
// word of how much that was. So a write is sent again with absolute counts until it stands,
// and counts once however often it lands.
type tallied struct {
	known  bool  // what follows is so, or was at rev
	stale  bool  // and has to be read again
	run    int64 // the revision that created the record; 0 for a counter
	guard  int64 // the mod revision of the record, or of a counter's notice
	lease  int64 // of the record
	rev    int64 // of the store, when this was so
	mod    int64 // of the own key; 0: there is none
	under  int64 // the lease of the own key
	fold   int64 // the mod revision of the key that others are folded into
	counts storedCounts

	others []*mvccpb.KeyValue // keys of other writers, the folded one among them; while it is worked on
}

// learn takes in what the cluster says of the ID. It reports false if there is no record to count for.
func (e *tallied) learn(s *Store, id ledger.ID, revision int64, heads, kvs []*mvccpb.KeyValue) (bool, error) {
	now := tallied{known: true, rev: revision}
	switch {
	case len(heads) > 0:
		now.guard, now.lease = heads[0].ModRevision, heads[0].Lease
		if id.IsCounter() {
			now.lease = 0 // that of the notice
		} else {
			now.run = heads[0].CreateRevision
		}
	case !id.IsCounter():
		*e = tallied{}
		return false, nil
	}
	var own, fold *mvccpb.KeyValue
	for _, kv := range kvs {
		switch writer, ok := s.keys.writerOf(id, now.run, kv); {
		case !ok:
		case writer == s.writer:
			own, now.mod, now.under = kv, kv.ModRevision, kv.Lease
		default:
			if writer == foldedWriter {
				fold, now.fold = kv, kv.ModRevision
			}
			now.others = append(now.others, kv)
		}
	}
	same := e.known && e.run == now.run
	if id.IsCounter() && now.guard != 0 && now.guard != e.guard {
		same = false // it was removed since
	}
	switch {
	case own != nil && same: // it is ours, and so is what we know
		now.counts = e.counts
	case own != nil:
		t, err := s.decodeTally(own)
		if err != nil {
			return false, err
		}
		now.counts = t.storedCounts
	case same:
		gone, err := e.goneInto(s, fold)
		if err != nil {
			return false, err
		}
		now.counts = e.counts.minus(gone)
	}
	*e = now
	return true, nil
}

// goneInto returns how much of the own key, which is not there, was folded.
func (e *tallied) goneInto(s *Store, fold *mvccpb.KeyValue) (storedCounts, error) {
	if fold != nil {
		t, err := s.decodeTally(fold)
		if err != nil {
			return storedCounts{}, err
		}
		i := slices.IndexFunc(t.Folded, func(f foldedTally) bool { return f.Writer == s.writer })
		if i >= 0 && (e.mod > 0 && t.Folded[i].Mod >= e.mod || e.mod == 0 && t.Folded[i].Mod > e.rev) {
			return t.Folded[i].storedCounts, nil
		}
	}
	if e.mod > 0 {
		return e.counts, nil // long ago; or the counter was removed
	}
	return storedCounts{}, nil // it never was there
}

// crowded reports whether the keys of others have to be folded before another
// one is added, or because they would not end with the record.
func (e *tallied) crowded() bool {
	writers := len(e.others)
	if e.fold > 0 {
		writers--
	}
	if e.mod == 0 && writers >= maxWriters {
		return true
	}
	return slices.ContainsFunc(e.others, func(kv *mvccpb.KeyValue) bool { return kv.Lease != e.lease })
}
