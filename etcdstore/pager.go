package etcdstore

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// A pager reads the keys of records, or of counters, page by page.
type pager struct {
	s        *Store
	kind     string
	from, to string // the keys to come, but for what is in page
	alive    string // the end of the running keys beside them
	size     int
	last     bool
	page     []pageItem

	// etcd counts all keys of a range, whatever the limit. So where many are to come, their keys are read first, some
	// thousands at once, and a page's range ends at one of these marks: else a listing would take the square of what it lists.
	many  bool
	marks []string // keys to come, every markEvery-th
}

// A pageItem is a record, or a counter, with what stands beside it.
type pageItem struct {
	path    string // of its key, by which it is ordered
	record  *mvccpb.KeyValue
	running bool
	tallies []*mvccpb.KeyValue
}

func newPager(s *Store, f *ledger.Filter, kind string) *pager {
	within := s.keys.within(kind, f)
	p := &pager{s: s, kind: kind, from: within, to: after(within), alive: after(s.keys.within(kindRunning, f)), size: firstPage}
	switch {
	case f.After == (ledger.ID{}):
	case kind == kindCounters: // the counter of its tool stands before a record
		counter := ledger.ID{Workflow: f.After.Workflow, Tool: f.After.Tool}
		p.from = max(p.from, after(s.keys.tallies(counter)))
	default:
		p.from = max(p.from, s.keys.record(f.After)+"\x00")
	}
	return p
}

func (p *pager) head() *pageItem {
	if len(p.page) == 0 {
		return nil
	}
	return &p.page[0]
}

// fill sees that there is a head, unless there is nothing more.
func (p *pager) fill(ctx context.Context) error {
	for len(p.page) == 0 && !p.last && p.from < p.to {
		read := p.readRecords
		if p.kind == kindCounters {
			read = p.readCounters
		}
		if err := read(ctx); err != nil {
			if errors.Is(err, rpctypes.ErrCompacted) {
				continue // between the requests of one page: at another revision, then
			}
			if ctx.Err() != nil {
				return ended(ctx)
			}
			return p.s.failure(err, true)
		}
	}
	return nil
}

// pop takes the head off, decoded.
func (p *pager) pop(s *Store) (ledger.Record, error) {
	item := p.page[0]
	p.page[0] = pageItem{} // what was yielded need not stay in memory
	p.page = p.page[1:]
	key := s.keys.root + p.kind + item.path
	if item.record == nil {
		key = string(item.tallies[0].Key)
	}
	id, err := idOf(p.kind, item.path, key)
	if err != nil {
		return ledger.Record{}, err
	}
	r := ledger.Record{ID: id}
	run := int64(0)
	if item.record != nil {
		if r, err = s.decode(id, item.record, item.running); err != nil {
			return r, err
		}
		run = item.record.CreateRevision
	}
	sum, err := s.sum(id, run, item.tallies)
	r.AddTally(sum)
	return r, err
}

// readRecords reads a page of records: they and the claims that are alive at one revision,
// and then the tallies at that revision.
func (p *pager) readRecords(ctx context.Context) error {
	to, runningTo, err := p.end(ctx)
	if err != nil {
		return err
	}
	keys := p.s.keys
	limit := clientv3.WithLimit(int64(p.size))
	ans, err := p.s.read(ctx,
		clientv3.OpGet(p.from, clientv3.WithRange(to), limit),
		// Each has its record, so that as many of them reach as far at least.
		clientv3.OpGet(keys.root+kindRunning+keys.pathOf(p.kind, []byte(p.from)), clientv3.WithRange(runningTo), limit, clientv3.WithKeysOnly()))
	if err != nil {
		return err
	}
	kvs := ans.kvs(0)
	alive := make(map[string]bool, len(ans.kvs(1)))
	for _, kv := range ans.kvs(1) {
		alive[keys.pathOf(kindRunning, kv.Key)] = true
	}
	page := make([]pageItem, len(kvs))
	bytes := 0
	for i, kv := range kvs {
		path := keys.pathOf(p.kind, kv.Key)
		page[i] = pageItem{path: path, record: kv, running: alive[path]}
		bytes += len(kv.Key) + len(kv.Value)
	}
	if err := p.addTallies(ctx, page, ans.revision); err != nil {
		return err
	}
	switch p.page = page; {
	case len(kvs) == p.size:
		p.from = string(kvs[len(kvs)-1].Key) + "\x00"
	case to == p.to:
		p.last = true
	default:
		p.from = to
	}
	if to == p.to {
		p.many = ans.responses[0].GetResponseRange().GetCount() > manyRecords
	}
	if len(kvs) > 0 {
		p.size = min(2*p.size, maxPage, max(1, pageBytes*len(kvs)/bytes))
	}
	return nil
}

// end returns where the range of the next page ends: of its records, and of the claims beside them.
func (p *pager) end(ctx context.Context) (to, runningTo string, err error) {
	if p.many && len(p.marks) == 0 {
		if err := p.mark(ctx); err != nil {
			return "", "", err
		}
	}
	for len(p.marks) > 0 && p.marks[0] <= p.from {
		p.marks = p.marks[1:]
	}
	if len(p.marks) == 0 {
		return p.to, p.alive, nil
	}
	to = p.marks[min(max(1, p.size/markEvery), len(p.marks))-1]
	return to, p.s.keys.root + kindRunning + p.s.keys.pathOf(p.kind, []byte(to)), nil
}

// mark reads the next keys.
func (p *pager) mark(ctx context.Context) error {
	limit := max(markEvery, min(maxMarked, markedBytes/len(p.from)))
	ans, err := p.s.read(ctx, clientv3.OpGet(p.from, clientv3.WithRange(p.to), clientv3.WithLimit(int64(limit)), clientv3.WithKeysOnly()))
	if err != nil {
		return err
	}
	kvs := ans.kvs(0)
	for i := markEvery; i < len(kvs); i += markEvery {
		p.marks = append(p.marks, string(kvs[i].Key))
	}
	p.many = len(kvs) == limit
	return nil
}

// addTallies reads the tallies of a page.
func (p *pager) addTallies(ctx context.Context, page []pageItem, revision int64) error {
	if len(page) == 0 {
		return nil
	}
	index := make(map[string]int, len(page))
	root := p.s.keys.root + kindTallies
	// The keys of tallies go on after the path of their record, so the last one of a page need not be that of its last record.
	from, to := root+page[0].path, ""
	for i := range page {
		index[page[i].path] = i
		to = max(to, after(root+page[i].path+"/"))
	}
	for {
		ans, err := p.s.read(ctx, clientv3.OpGet(from, clientv3.WithRange(to), clientv3.WithLimit(tallyPage), clientv3.WithRev(revision)))
		if err != nil {
			return err
		}
		kvs := ans.kvs(0)
		for _, kv := range kvs {
			if i, ok := index[recordPath(string(kv.Key[len(root):]))]; ok {
				page[i].tallies = append(page[i].tallies, kv)
			}
		}
		if len(kvs) < tallyPage {
			return nil
		}
		from = string(kvs[len(kvs)-1].Key) + "\x00"
	}
}

// recordPath cuts run and writer off the path of a tally.
func recordPath(path string) string {
	for slashes, i := 0, len(path)-1; i >= 0; i-- {
		if path[i] == '/' {
			if slashes++; slashes == 2 {
				return path[:i]
			}
		}
	}
	return ""
}

// readCounters reads a page of counters, each whole.
func (p *pager) readCounters(ctx context.Context) error {
	for size := 8 * p.size; ; size *= 2 { // one counter is some keys
		ans, err := p.s.read(ctx, clientv3.OpGet(p.from, clientv3.WithRange(p.to), clientv3.WithLimit(int64(size))))
		if err != nil {
			return err
		}
		kvs := ans.kvs(0)
		var page []pageItem
		for _, kv := range kvs {
			path := p.s.keys.pathOf(p.kind, kv.Key)
			if n := len(page); n == 0 || page[n-1].path != path {
				page = append(page, pageItem{path: path})
			}
			last := &page[len(page)-1]
			last.tallies = append(last.tallies, kv)
		}
		if len(kvs) < size {
			p.page, p.last = page, true
			return nil
		}
		// The last one may go on.
		if p.from = p.s.keys.root + p.kind + page[len(page)-1].path; len(page) > 1 {
			p.page, p.size = page[:len(page)-1], min(2*p.size, maxPage)
			return nil
		}
	}
}
