package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
	"github.com/ledger-once/ledger/internal/ancestor"
)

// An importer walks over the ancestor's file: once to count, and once to write.
type importer struct {
	*app
	file   *ancestor.File
	hasher *fingerprint.Hasher
	o      ancestor.Options
	mapped map[string]string // --tool-map
}

// A walked is what became of the calls.
type walked struct {
	fresh, there atomic.Int64 // carried over; recorded before
	left         int64        // out
	tools        map[string]*toolWalked
}

type toolWalked struct {
	name        string // here
	calls, left int64
}

// unmet returns those of the mapped tools of which there was no call, unless there were too many tools to tell.
func (w *walked) unmet(mapped map[string]string) []string {
	if len(w.tools) >= ledger.MaxSummaryTools {
		return nil
	}
	var all []string
	for _, old := range slices.Sorted(maps.Keys(mapped)) {
		if w.tools[old] == nil {
			all = append(all, old)
		}
	}
	return all
}

// walk carries each call over by put, which reports whether it was new, and tells leave of those that can not be carried over.
// What it has done counts also where it returns an error. progress has a %d for the number of calls.
func (im *importer) walk(ctx context.Context, put func(ancestor.Carried) (bool, error), leave func(*ancestor.Call, error) error, progress string) (*walked, error) {
	w := &walked{tools: map[string]*toolWalked{}}
	wctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pending sync.WaitGroup
	turns := make(chan struct{}, importers)
	live, shown := im.live(im.err), time.Now()
	first := true
	err := func() error {
		for c, err := range im.file.Calls(wctx) {
			if err != nil {
				return err
			}
			if first && c.Status != "success" { // of calls that become one here, the one that was done counts
				first = false
				pending.Wait()
			}
			carried, err := c.Carry(im.hasher, &im.o, time.Now())
			w.count(&c, im.o.Tool, err != nil)
			if err != nil {
				w.left++
				if leave != nil {
					if err := leave(&c, err); err != nil {
						return err
					}
				}
				continue
			}
			select {
			case turns <- struct{}{}:
			case <-wctx.Done():
			}
			if wctx.Err() != nil {
				return context.Cause(wctx)
			}
			pending.Go(func() {
				defer func() { <-turns }()
				switch fresh, err := put(carried); {
				case err != nil:
					stop(err)
				case fresh:
					w.fresh.Add(1)
				default:
					w.there.Add(1)
				}
			})
			if live.terminal && time.Since(shown) > 100*time.Millisecond {
				shown = time.Now()
				live.line(fmt.Sprintf(progress, w.fresh.Load()+w.there.Load()+w.left))
			}
		}
		return nil
	}()
	pending.Wait()
	live.end()
	if cause := context.Cause(wctx); cause != nil { // what made the file's reader stop
		err = cause
	}
	return w, err
}

// importers is how many calls are written at a time: they share the store's commits.
const importers = 32

func (w *walked) count(c *ancestor.Call, name func(string) string, left bool) {
	old := c.Tool
	t := w.tools[old]
	if t == nil && len(w.tools) >= ledger.MaxSummaryTools {
		old = "(others)"
		t = w.tools[old]
	}
	if t == nil {
		t = &toolWalked{}
		if old == c.Tool {
			t.name = name(old)
		}
		w.tools[old] = t
	}
	t.calls++
	if left {
		t.left++
	}
}

// printTools says how many calls of each tool there are, and what it will be called.
func (im *importer) printTools(w *walked) error {
	t := &table{screen: im.screen(im.out), columns: []column{
		{head: "TOOL THERE", least: 12}, {head: "HERE", least: 12}, {head: "CALLS", right: true}, {head: "LEFT OUT", right: true},
	}}
	for _, old := range slices.Sorted(maps.Keys(w.tools)) {
		c := w.tools[old]
		if err := t.row(cell{old, ""}, cell{c.name, ""}, count(c.calls, ""), count(c.left, yellow)); err != nil {
			return err
		}
	}
	return t.end()
}

// end says what became of the calls; verb is what did with the fresh ones. Its error carries the exit code for calls left out.
func (im *importer) end(w *walked, f format, verb string) error {
	to := im.out
	if f != asTable {
		to = im.err // the list alone is data
	}
	said := fmt.Sprintf("%s %s", calls(int(w.fresh.Load())), verb)
	if n := w.there.Load(); n > 0 {
		said += fmt.Sprintf("; %s recorded here already", calls(int(n)))
	}
	if w.left > 0 {
		said += fmt.Sprintf("; %s left out", calls(int(w.left)))
	}
	if _, err := fmt.Fprintf(to, "%s.\n", said); err != nil {
		return coded(err)
	}
	if w.left > 0 {
		return silent(exitDecide)
	}
	return nil
}

// A leftOutList lists the calls that are left out, while they are found.
type leftOutList struct {
	table  *table
	values *values
	n      int
}

func (im *importer) listLeftOut(f format) *leftOutList {
	if f != asTable {
		return &leftOutList{values: newValues(im.out, f)}
	}
	return &leftOutList{table: &table{screen: im.screen(im.out), columns: []column{
		{head: "LEFT OUT", least: 8}, {head: "TOOL THERE", least: 12}, {head: "WORKFLOW", least: 10, drop: 1}, {head: "STATUS"}, {head: "REASON", least: 20},
	}}}
}

type leftOutOut struct {
	ID       string `json:"id"` // the ancestor's
	Tool     string `json:"tool"`
	Workflow string `json:"workflow"`
	Status   string `json:"status"`
	Reason   string `json:"reason"`
}

func (l *leftOutList) add(c *ancestor.Call, reason error) error {
	l.n++
	if l.values != nil {
		return l.values.add(leftOutOut{c.ID, c.Tool, c.Workflow, c.Status, reason.Error()})
	}
	return l.table.row(cell{c.ID[:min(shortDigits, len(c.ID))], faint}, cell{c.Tool, ""}, cell{c.Workflow, ""}, cell{c.Status, ""}, cell{reason.Error(), yellow})
}

func (l *leftOutList) end() error {
	if l.values != nil {
		return l.values.end()
	}
	if err := l.table.end(); err != nil || l.n == 0 {
		return err
	}
	_, err := l.table.w.WriteString("\n")
	return errors.Join(err, l.table.w.Flush())
}
