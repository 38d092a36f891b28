package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A Variant says what a cut keeps of what was not synced.
type Variant int

// The variants.
const (
	Dropped Variant = iota // nothing
	Paged                  // of each page of 4096 bytes what it was at a random moment
	Torn                   // the same of each sector of 512 bytes
	Kept                   // everything
)

// String returns the name of the variant.
func (v Variant) String() string { return [...]string{"dropped", "paged", "torn", "kept"}[v] }

// A cut is the end of the power while the call in a line of the trace was about to begin: what began before may
// have happened.
type cut struct {
	at      int
	variant Variant
	seed    uint64
}

func (c cut) String() string {
	if c.variant == Dropped || c.variant == Kept {
		return fmt.Sprintf("a power cut at line %d of the trace, with what was not synced %s", c.at, c.variant)
	}
	return fmt.Sprintf("a power cut at line %d of the trace, with what was not synced %s (seed %d)", c.at, c.variant, c.seed)
}

// chooser returns a function that says how many of n changes, one after the other, are kept.
func (c cut) chooser() func(n int) int {
	switch c.variant {
	case Dropped:
		return func(int) int { return 0 }
	case Kept:
		return func(n int) int { return n }
	}
	r := rand.New(rand.NewPCG(c.seed, uint64(c.at)))
	all := r.Float64() // the share that is kept whole: else a commit of several pages would hardly ever be
	return func(n int) int {
		if r.Float64() < all {
			return n
		}
		return r.IntN(n + 1)
	}
}

// synced returns the line of the beginning of the last sync that returned before the cut: what returned before that line is
// on the disk. Where syncs overlap it is the one that began last.
func synced(syncs []span, at int) int {
	last := 0
	for _, s := range syncs {
		if s.end < at {
			last = max(last, s.start)
		}
	}
	return last
}

// build writes into dir, which is empty, what the cut leaves. forgets is told which syncs did nothing; nil: none.
func (d *disk) build(dir string, c cut, forgets func(n *node) bool) error {
	keep := c.chooser()
	until := func(n *node) int {
		if forgets != nil && forgets(n) {
			return 0
		}
		return synced(n.syncs, c.at)
	}
	names := map[*node]map[string]*node{}
	var late []entry
	durable := func(e entry) bool {
		for _, x := range e.edits {
			if e.end >= until(x.in) {
				return false
			}
		}
		return true
	}
	for _, e := range d.entries {
		if e.start < c.at && !durable(e) {
			late = append(late, e)
		}
	}
	rest := keep(len(late))
	for _, e := range d.entries {
		if e.start >= c.at {
			continue
		}
		if !durable(e) {
			if rest--; rest < 0 {
				continue
			}
		}
		for _, x := range e.edits {
			if names[x.in] == nil {
				names[x.in] = map[string]*node{}
			}
			if x.to == nil {
				delete(names[x.in], x.name)
			} else {
				names[x.in][x.name] = x.to
			}
		}
	}
	var content map[*node][]byte = make(map[*node][]byte)
	for _, n := range d.files { // in their order, so that a seed gives the same again
		if !n.unmodelled() {
			content[n] = n.content(c, until(n), keep)
		}
	}
	return write(dir, d.root, names, content)
}

// content is what the cut leaves of a file that is synced until a line.
func (n *node) content(c cut, until int, keep func(int) int) []byte {
	var base []byte
	var late []change
	for _, x := range n.changes {
		switch {
		case x.end < until:
			base = x.apply(base)
		case x.start < c.at:
			late = append(late, x)
		}
	}
	if len(late) == 0 {
		return base
	}
	sizes := []int64{int64(len(base))}
	largest := sizes[0]
	for _, x := range late {
		size := x.off
		if x.data != nil {
			size = max(sizes[len(sizes)-1], x.off+int64(len(x.data)))
		}
		sizes = append(sizes, size)
		largest = max(largest, size)
	}
	unit := int64(4096)
	if c.variant == Torn {
		unit = 512
	}
	base = grow(base, largest)
	var touching []change
	for from := int64(0); from < largest; from += unit {
		touching = touching[:0]
		for _, x := range late {
			if x.data == nil && x.off < from+unit || x.data != nil && x.off < from+unit && x.off+int64(len(x.data)) > from {
				touching = append(touching, x)
			}
		}
		if len(touching) == 0 {
			continue
		}
		part := base[from:min(from+unit, largest)]
		for _, x := range touching[:keep(len(touching))] {
			x.into(part, from)
		}
	}
	return base[:sizes[keep(len(late))]]
}

// into applies the change to a part of the file that begins at from.
func (c *change) into(part []byte, from int64) {
	if c.data == nil {
		clear(part[min(max(c.off-from, 0), int64(len(part))):])
		return
	}
	if skip := from - c.off; skip > 0 {
		copy(part, c.data[skip:])
	} else {
		copy(part[-skip:], c.data)
	}
}

// write writes a directory with all that is in it.
func write(path string, dir *node, names map[*node]map[string]*node, content map[*node][]byte) error {
	for name, n := range names[dir] {
		var err error
		switch at := filepath.Join(path, name); {
		case n.dir:
			if err = os.Mkdir(at, 0o700); err == nil {
				err = write(at, n, names, content)
			}
		case !n.unmodelled():
			err = os.WriteFile(at, content[n], 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// faithful returns an error unless what is built with everything kept, at the end of the trace, equals the
// directory that the worker left.
func (d *disk) faithful(live, built string) error {
	if err := d.build(built, cut{at: d.length + 1, variant: Kept}, nil); err != nil {
		return err
	}
	var errs []error
	seen := 0
	compare := func(rel string) error {
		a, err := os.ReadFile(filepath.Join(live, rel))
		b, err2 := os.ReadFile(filepath.Join(built, rel))
		if err = errors.Join(err, err2); err == nil && string(a) != string(b) {
			err = fmt.Errorf("%s: %d bytes, and %d bytes in the replay, which differ", rel, len(a), len(b))
		}
		return err
	}
	for _, root := range []string{live, built} {
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err == nil && !(&node{name: rel}).unmodelled() {
				seen++
				err = compare(rel)
			}
			return err
		})
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the replay of the trace is not what the worker left, so the model is wrong: %w", err)
	}
	if seen == 0 {
		return errors.New("the worker left no files")
	}
	return nil
}
