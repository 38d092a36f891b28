package world

import (
	"sync"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A journal writes effects in the order in which they were added. Those that are
// waiting while an fsync runs share the next one.
type journal struct {
	to *trace.Writer

	mu   sync.Mutex
	next *batch

	turn sync.Mutex // held while a batch is written
}

// A batch is written with one write and one fsync. There is at most one that is not yet
// written: it stays next until a flush takes it, and that flush writes it before it gives up its turn.
type batch struct {
	lines   []any
	written bool // guarded by journal.turn
	err     error
}

// add puts e behind all that was added before, and returns what to flush.
func (j *journal) add(e trace.Effect) *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next == nil {
		j.next = &batch{}
	}
	j.next.lines = append(j.next.lines, e)
	return j.next
}

// flush returns once b is on the disk, or with the error that kept it from there.
func (j *journal) flush(b *batch) error {
	j.turn.Lock()
	defer j.turn.Unlock()
	if !b.written {
		j.mu.Lock()
		j.next = nil // it was b, the only one that is not written
		j.mu.Unlock()
		b.err = j.to.WriteAll(b.lines...)
		b.written = true
		b.lines = nil
	}
	return b.err
}
