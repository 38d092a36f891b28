package ledger

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Memory is a [Store] that lives in this process: the reference for the others,
// and the store for tests. Nothing survives the process. It also is a
// [Watcher], a [Leaser], a [SessionLister], a [NewestLister] and an io.Closer.
//
// A value is one owner; [Memory.Session] opens another one on the same data.
// It starts no goroutines.
type Memory struct {
	data    *memoryData
	session *memorySession // nil once closed
}

// memoryData is what the owners share; mu guards all of it and the sessions.
type memoryData struct {
	mu       sync.Mutex
	version  Version // of the last write; never goes back
	opened   int     // sessions so far
	stored   int     // records that ever came
	records  map[ID]*memoryRecord
	sessions map[string]*memorySession // the living
	writes   []memoryWrite             // a ring of the last ones, for Watch
	written  int                       // writes so far
	changed  chan struct{}             // closed and replaced by every write and every death
}

type memoryRecord struct {
	Record
	tally  Tally
	number int // grows with each record that comes, for ListNewest
}

type memorySession struct {
	Session
	lost chan struct{}
}

// memoryWrite holds no record: a watcher finds the latest where it stands, so
// that the ring stays small.
type memoryWrite struct {
	Change
	notice bool
}

// A watcher that lags by more writes than this gets a ChangeSync instead.
const memoryWrites = 1024

// How many records List reads under one lock.
const memoryPage = 256

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return (&memoryData{
		records:  map[ID]*memoryRecord{},
		sessions: map[string]*memorySession{},
		writes:   make([]memoryWrite, memoryWrites),
		changed:  make(chan struct{}),
	}).open()
}

// Session opens another owner on the same data, also after m was closed.
func (m *Memory) Session() *Memory { return m.data.open() }

func (d *memoryData) open() *Memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Memory{data: d, session: d.begin()}
}

// Claim implements [Store].
func (m *Memory) Claim(ctx context.Context, c Claim) (Record, bool, error) {
	err := c.Validate()
	if err == nil {
		err = m.lock(ctx)
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("memory: claim %s: %w", c.Next.ID, err)
	}
	d := m.data
	defer d.mu.Unlock()

	var seen Version
	stored := d.records[c.Next.ID]
	if stored != nil {
		seen = stored.Version
		alive := d.alive(&stored.Record)
		if alive && stored.Nonce == c.Next.Nonce {
			return d.read(stored), true, nil // sent again
		}
		if seen != c.Seen || alive && !c.Steal {
			return d.read(stored), false, nil
		}
	} else if c.Seen != 0 {
		return Record{}, false, nil
	} else {
		stored = d.add(c.Next.ID)
	}
	next := copyRecord(c.Next)
	next.Owner.Session, next.Owner.Host, next.Owner.PID = m.session.ID, m.session.Host, m.session.PID
	next.Version = d.write(ChangePut, next.ID, seen != 0)
	next.Fence = next.Version
	stored.Record = next
	return d.read(stored), true, nil
}

// Finish implements [Store].
func (m *Memory) Finish(ctx context.Context, done Record) error {
	err := done.Validate()
	if done.State == StateRunning {
		err = fmt.Errorf("%w: a finish can not write a running record: %w", ErrInvalid, ErrNotWritten)
	}
	if err == nil {
		err = m.lock(ctx)
	}
	if err != nil {
		return fmt.Errorf("memory: finish %s: %w", done.ID, err)
	}
	d := m.data
	defer d.mu.Unlock()

	next, stored := copyRecord(done), d.records[done.ID]
	switch {
	case stored == nil && done.State == StateNone:
		return nil // removed already: what it asks for stands
	case stored == nil || stored.Fence != done.Fence || stored.Nonce != done.Nonce:
		return fmt.Errorf("memory: finish %s: %w", done.ID, ErrFenced)
	case stored.State != StateRunning:
		if next.Version = stored.Version; reflect.DeepEqual(next, stored.Record) {
			return nil // sent again
		}
		return fmt.Errorf("memory: finish %s: %w", done.ID, ErrFenced)
	case done.State == StateNone:
		// Not a notice: nobody but the claim's owner knows a running record by heart.
		d.write(ChangeDelete, done.ID, false)
		delete(d.records, done.ID)
	default:
		next.Version = d.write(ChangePut, done.ID, false)
		stored.Record = next
	}
	return nil
}

// Tally implements [Store].
func (m *Memory) Tally(ctx context.Context, counts []Tally) error {
	for _, t := range counts {
		if err := t.ID.Validate(); err != nil {
			return fmt.Errorf("memory: tally: %w", err)
		}
	}
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("memory: tally: %w", err)
	}
	defer m.data.mu.Unlock()
	for _, t := range counts {
		stored := m.data.records[t.ID]
		if stored == nil && t.ID.IsCounter() {
			stored = m.data.add(t.ID)
			stored.ID = t.ID
		}
		if stored != nil {
			stored.tally.Attempts += t.Attempts
			stored.tally.Executed += t.Executed
			stored.tally.Blocked += t.Blocked
		}
	}
	return nil
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, id ID) (Record, error) {
	if err := m.lock(ctx); err != nil {
		return Record{}, fmt.Errorf("memory: get %s: %w", id, err)
	}
	defer m.data.mu.Unlock()
	if stored := m.data.records[id]; stored != nil {
		return m.data.read(stored), nil
	}
	return Record{}, fmt.Errorf("memory: get %s: %w", id, ErrNotFound)
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, id ID, seen Version) error {
	err := id.Validate()
	if err == nil {
		err = m.lock(ctx)
	}
	if err != nil {
		return fmt.Errorf("memory: delete %s: %w", id, err)
	}
	defer m.data.mu.Unlock()
	switch stored := m.data.records[id]; {
	case stored == nil:
		err = ErrNotFound
	case m.data.alive(&stored.Record):
		err = ErrRunning
	case stored.Version != seen:
		err = ErrFenced
	default:
		m.data.write(ChangeDelete, id, true)
		delete(m.data.records, id)
		return nil
	}
	return fmt.Errorf("memory: delete %s: %w", id, err)
}

// List implements [Store]. It holds no lock while it yields.
func (m *Memory) List(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := m.lock(ctx); err != nil {
			yield(Record{}, fmt.Errorf("memory: list: %w", err))
			return
		}
		ids := slices.Collect(maps.Keys(m.data.records))
		m.data.mu.Unlock()
		slices.SortFunc(ids, ID.Compare)

		yielded := 0
		for page := range slices.Chunk(ids, memoryPage) {
			records, err := m.page(ctx, &f, page)
			if err != nil {
				yield(Record{}, fmt.Errorf("memory: list: %w", err))
				return
			}
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
				if yielded++; yielded == f.Limit {
					return
				}
			}
		}
	}
}

func (m *Memory) page(ctx context.Context, f *Filter, ids []ID) ([]Record, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.data.mu.Unlock()
	var records []Record
	for _, id := range ids {
		if stored := m.data.records[id]; stored != nil { // else deleted since
			if r := m.data.read(stored); f.Match(&r) {
				records = append(records, r)
			}
		}
	}
	return records, nil
}

// Close ends the owner: its running claims can be taken over, and later calls
// return [ErrClosed]. The data stays with the other owners.
func (m *Memory) Close() error {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	if m.session != nil {
		m.data.end(m.session)
		m.session = nil
	}
	return nil
}

// Expire loses the lease of the session, as a partition would: [Memory.LeaseLost]
// tells, its claims can be taken over, and later claims are made under a new session.
func (m *Memory) Expire() {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	if m.session != nil {
		m.data.end(m.session)
		m.session = m.data.begin()
	}
}

func (d *memoryData) begin() *memorySession {
	d.opened++
	host, _ := os.Hostname() // a label only; "" will do
	s := &memorySession{
		Session: Session{ID: fmt.Sprintf("memory-%d", d.opened), Host: host, PID: os.Getpid(), Started: memoryClock(time.Now()), Alive: true},
		lost:    make(chan struct{}),
	}
	d.sessions[s.ID] = s
	return s
}

func (d *memoryData) end(s *memorySession) {
	delete(d.sessions, s.ID)
	close(s.lost)
	d.broadcast()
}

// LeaseLost returns a channel that is closed by [Memory.Expire] and [Memory.Close].
// That of a session which does not live is closed already.
func (m *Memory) LeaseLost(session string) <-chan struct{} {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	if s := m.data.sessions[session]; s != nil {
		return s.lost
	}
	lost := make(chan struct{})
	close(lost)
	return lost
}

// Sessions returns the living owners, oldest first.
func (m *Memory) Sessions(ctx context.Context) ([]Session, error) {
	if err := m.lock(ctx); err != nil {
		return nil, fmt.Errorf("memory: sessions: %w", err)
	}
	defer m.data.mu.Unlock()
	var all []Session
	for _, s := range m.data.sessions {
		all = append(all, s.Session)
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Started.Compare(b.Started) })
	return all, nil
}

// Await implements [Watcher].
func (m *Memory) Await(ctx context.Context, id ID, seen Version) error {
	for {
		if err := m.lock(ctx); err != nil {
			return fmt.Errorf("memory: await %s: %w", id, err)
		}
		stored, changed := m.data.records[id], m.data.changed
		stands := stored != nil && stored.Version == seen && m.data.alive(&stored.Record)
		m.data.mu.Unlock()
		if !stands {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Watch implements [Watcher]. Writes of one record are gathered while the
// caller is busy; one that lags by more than 1024 writes gets a ChangeSync.
func (m *Memory) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change, error] {
	o.Filter.After = ID{}
	return func(yield func(Change, error) bool) {
		next := -1
		for {
			changes, now, changed, err := m.since(ctx, next, &o)
			if err != nil {
				yield(Change{}, fmt.Errorf("memory: watch: %w", err))
				return
			}
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
			}
			if now == next {
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
			next = now
		}
	}
}

// since returns what the write number next and later ones tell a watcher, the
// number that comes after them, and a channel that closes when there is more.
func (m *Memory) since(ctx context.Context, next int, o *WatchOptions) ([]Change, int, <-chan struct{}, error) {
	if err := m.lock(ctx); err != nil {
		return nil, 0, nil, err
	}
	d := m.data
	defer d.mu.Unlock()
	if next < 0 || d.written-next > len(d.writes) {
		return []Change{{Kind: ChangeSync}}, d.written, d.changed, nil
	}
	var changes []Change
	for ; next < d.written; next++ {
		w := d.writes[next%len(d.writes)]
		c, subject := w.Change, Record{ID: w.ID}
		f := Filter{Workflow: o.Filter.Workflow, Tool: o.Filter.Tool, Fingerprint: o.Filter.Fingerprint}
		if !o.Notices && c.Kind == ChangePut {
			stored := d.records[c.ID]
			if stored == nil || stored.Version != c.Version {
				continue // written again since: that one follows
			}
			subject, f = d.read(stored), o.Filter
			c.Record = &subject
		}
		if (w.notice || !o.Notices) && f.Match(&subject) {
			changes = append(changes, c)
		}
	}
	return changes, next, d.changed, nil
}

// lock takes the lock, or returns an error after which nothing was written.
func (m *Memory) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrNotWritten)
	}
	m.data.mu.Lock()
	if m.session == nil {
		m.data.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// write notes a write and returns its version.
func (d *memoryData) write(kind ChangeKind, id ID, notice bool) Version {
	d.version++
	d.writes[d.written%len(d.writes)] = memoryWrite{Change{Kind: kind, ID: id, Version: d.version}, notice}
	d.written++
	d.broadcast()
	return d.version
}

func (d *memoryData) broadcast() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *memoryData) alive(r *Record) bool {
	return r.State == StateRunning && d.sessions[r.Owner.Session] != nil
}

func (d *memoryData) read(stored *memoryRecord) Record {
	r := copyRecord(stored.Record)
	r.Alive = d.alive(&r)
	r.AddTally(stored.tally)
	return r
}

// copyRecord returns r as stores keep it: slices of its own, times in UTC cut
// to microseconds, without what is filled in on reading.
func copyRecord(r Record) Record {
	r.Args, r.Result = bytes.Clone(r.Args), bytes.Clone(r.Result)
	for _, t := range []*time.Time{&r.Created, &r.Started, &r.Finished, &r.Succeeded} {
		*t = memoryClock(*t)
	}
	if r.Error != nil {
		failure := *r.Error
		r.Error = &failure
	}
	if r.Settled != nil {
		settled := *r.Settled
		settled.At = memoryClock(settled.At)
		r.Settled = &settled
	}
	r.Log = append([]Attempt(nil), r.Log...)
	for i := range r.Log {
		r.Log[i].Started, r.Log[i].Ended = memoryClock(r.Log[i].Started), memoryClock(r.Log[i].Ended)
	}
	r.Attempts, r.Blocked, r.Alive = 0, 0, false
	return r
}

func memoryClock(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

var (
	_ Store         = (*Memory)(nil)
	_ Watcher       = (*Memory)(nil)
	_ Leaser        = (*Memory)(nil)
	_ SessionLister = (*Memory)(nil)
	_ NewestLister  = (*Memory)(nil)
)
