package ledger

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
)

// ListNewest implements [NewestLister]. It holds no lock while it yields.
func (m *Memory) ListNewest(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		ids, err := m.newest(ctx, f.After)
		f.After = ID{}
		yielded := 0
		for page := range slices.Chunk(ids, memoryPage) {
			var records []Record
			if records, err = m.page(ctx, &f, page); err != nil {
				break
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
		if err != nil {
			yield(Record{}, fmt.Errorf("memory: list: %w", err))
		}
	}
}

// newest returns the IDs of all records that came before that of after, the newest first.
func (m *Memory) newest(ctx context.Context, after ID) ([]ID, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.data.mu.Unlock()
	before := m.data.stored + 1
	if after != (ID{}) {
		last := m.data.records[after]
		if last == nil {
			return nil, ErrNotFound
		}
		before = last.number
	}
	type numbered struct {
		id     ID
		number int
	}
	var all []numbered
	for id, r := range m.data.records {
		if r.number < before {
			all = append(all, numbered{id, r.number})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return cmp.Compare(b.number, a.number) })
	ids := make([]ID, len(all))
	for i := range all {
		ids[i] = all[i].id
	}
	return ids, nil
}

// add stores an empty record.
func (d *memoryData) add(id ID) *memoryRecord {
	d.stored++
	r := &memoryRecord{number: d.stored}
	d.records[id] = r
	return r
}
